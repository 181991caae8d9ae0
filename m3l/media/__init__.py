"""From media files to key frames: fetch, sniff, decode in a sandboxed process, sample, select."""
