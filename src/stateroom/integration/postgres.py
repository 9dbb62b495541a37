"""What is used of ``resonate-pg`` and psycopg, in one place, and what to do where they are missing.

Importing this module raises ImportError with that advice.
"""

from __future__ import annotations

try:
    import psycopg
    import psycopg.conninfo
    from resonate_pg import PostgresConnection
    from resonate_pg.connection import DEQUEUE_EXECUTE_SQL
    from resonate_pg.wire import execute_message
except ModuleNotFoundError as error:
    raise ImportError(
        f"durable sessions on PostgreSQL need resonate-pg ({error.name} is missing): "
        "pip install 'stateroom[postgres]'"
    ) from error

__all__ = ["DEQUEUE_EXECUTE_SQL", "PostgresConnection", "execute_message", "psycopg"]
