"""Ray itself: sessions, stages, training runs, retries, and what the console shows."""
