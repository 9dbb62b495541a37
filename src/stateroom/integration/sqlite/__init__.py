"""The durable store in one SQLite file: its tables, and the promise server that works on them."""
