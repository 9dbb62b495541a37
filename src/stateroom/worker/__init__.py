"""The process that a session runs its cells in."""
