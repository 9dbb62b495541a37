"""The client's side: sessions, their workers as seen from outside, and who waits for what."""
