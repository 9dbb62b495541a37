"""The parts of durable sessions on PostgreSQL."""

from . import driver as driver
