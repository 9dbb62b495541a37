"""What people and programs meet stateroom through: thin, each behind an extra of its own."""
