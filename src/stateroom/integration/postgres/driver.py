"""What is used of ``resonate-pg`` and psycopg, in one place, and what to do where they are missing.

Importing this module raises ImportError with that advice. The package imports it before all others of its
own: who wants PostgreSQL is to be told of its extra, not of the smaller one.
"""

from __future__ import annotations

from ...errors import ConfigError
from ..new_enough import check_python

check_python()

try:
    import psycopg
    import psycopg.conninfo
    from resonate_pg import PostgresConnection
    from resonate_pg.connection import DEQUEUE_EXECUTE_SQL, PROCESS_TIMEOUTS_SQL
    from resonate_pg.wire import execute_message
except ModuleNotFoundError as error:
    raise ImportError(
        f"durable sessions on PostgreSQL need resonate-pg ({error.name} is missing): "
        "pip install 'stateroom[postgres]'"
    ) from error

__all__ = [
    "DEQUEUE_EXECUTE_SQL",
    "PROCESS_TIMEOUTS_SQL",
    "PostgresConnection",
    "check_dsn",
    "describe",
    "execute_message",
    "psycopg",
]


def check_dsn(dsn: str) -> None:
    """Raise :class:`ConfigError` for what cannot be the address of a database."""
    try:
        psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.Error as error:
        raise ConfigError(
            f"this is no address of a database: {str(error).strip()}; "
            "give postgresql://user@host/name, or key=value pairs"
        ) from None


def describe(dsn: str) -> str:
    """Which database is meant, without its password."""
    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    return f"{parts.get('dbname', '')!r} at {parts.get('host', 'localhost')}:{parts.get('port', 5432)}"
