"""InstructBLIP with a T-Former and a likes head."""
