"""Runs code in a namespace: what a cell means. Usable in-process, without a session."""
