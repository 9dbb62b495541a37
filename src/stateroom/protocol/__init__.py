"""What crosses between a session and its worker, and when; no I/O."""
