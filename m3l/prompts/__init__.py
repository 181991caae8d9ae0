"""Prompts with one modality masked, and their tensors."""
