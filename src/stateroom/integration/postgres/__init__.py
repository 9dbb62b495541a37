"""The parts of durable sessions on PostgreSQL."""
