"""CLIP that finds a post's frames from its metadata."""
