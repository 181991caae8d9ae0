"""The rows that travel between stages, their Arrow schemas, and the folders that hold them."""
