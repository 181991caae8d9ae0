"""What several tests share: tiny models, media, runs and servers."""
