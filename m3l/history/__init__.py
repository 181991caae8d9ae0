"""What is known about an account before each post: statistics, features, captions."""
