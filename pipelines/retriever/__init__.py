"""The two halves of `retrieve`."""
