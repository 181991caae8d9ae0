"""Tables of posts in and out: csv, xlsx, jsonl, parquet."""
