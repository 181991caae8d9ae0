"""What runs inside Ray's workers."""
