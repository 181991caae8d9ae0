"""Tables of posts, read and written: csv, xlsx, jsonl, parquet."""
