"""Media files to key frames: fetch, decode, sample, distil."""
