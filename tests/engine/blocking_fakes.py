"""Stand-ins for packages that need not be installed, laid out as the real ones are.

What the detector looks at is where a class or function is defined, by which names it is offered,
and what is a coroutine; all of that is as in the real package. Calling them does nothing.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager

SOURCES: dict[str, str] = {
    "requests.sessions": """
class Session:
    def __init__(self): self.headers = {}
    def request(self, method, url): return None
    def get(self, url): return self.request("GET", url)
    def post(self, url): return self.request("POST", url)
    def mount(self, prefix, adapter): pass
    def close(self): pass
    def __enter__(self): return self
    def __exit__(self, *args): pass
def session(): return Session()
""",
    "requests.models": """
class Request:
    def __init__(self, method, url): pass
    def prepare(self): return self
class Response:
    headers = {}
    def json(self): return {}
    def iter_content(self, size): yield b""
""",
    "requests.api": """
from . import sessions
def request(method, url):
    with sessions.Session() as session: return session.request(method, url)
def get(url, **kwargs): return request("get", url)
def post(url, **kwargs): return request("post", url)
""",
    "requests": """
from .api import get, post, request
from .sessions import Session, session
from .models import Request, Response
""",
    "httpx._client": """
class BaseClient:
    def build_request(self, method, url): return None
class Client(BaseClient):
    def request(self, method, url): return None
    def get(self, url): return self.request("GET", url)
    def stream(self, method, url): return None
    def close(self): pass
    def __enter__(self): return self
    def __exit__(self, *args): pass
class AsyncClient(BaseClient):
    async def request(self, method, url): return None
    async def get(self, url): return await self.request("GET", url)
    async def aclose(self): pass
    async def __aenter__(self): return self
    async def __aexit__(self, *args): pass
""",
    "httpx._api": """
from ._client import Client
def get(url): return Client().get(url)
def post(url): return Client().get(url)
""",
    "httpx": """
from ._api import get, post
from ._client import Client, AsyncClient
class URL:
    def __init__(self, url): pass
    def join(self, url): return self
""",
    "urllib3.poolmanager": """
class PoolManager:
    def request(self, method, url): return None
    def clear(self): pass
""",
    "urllib3": "from .poolmanager import PoolManager\ndef request(method, url): return None",
    "psycopg.cursor": """
class Cursor:
    def execute(self, query): return self
    def fetchall(self): return []
    def __enter__(self): return self
    def __exit__(self, *args): pass
""",
    "psycopg.connection": """
from .cursor import Cursor
class Connection:
    @classmethod
    def connect(cls, conninfo=""): return cls()
    def cursor(self): return Cursor()
    def execute(self, query): return Cursor().execute(query)
    def commit(self): pass
    def close(self): pass
    def __enter__(self): return self
    def __exit__(self, *args): pass
""",
    "psycopg.connection_async": """
class AsyncConnection:
    @classmethod
    async def connect(cls, conninfo=""): return cls()
    async def execute(self, query): return None
""",
    "psycopg": """
from .connection import Connection
from .connection_async import AsyncConnection
connect = Connection.connect
class sql:
    class SQL:
        def __init__(self, text): pass
        def format(self, *args): return self
""",
    "psycopg2.extensions": """
class cursor:
    def execute(self, query): pass
    def fetchone(self): pass
    def __enter__(self): return self
    def __exit__(self, *args): pass
class connection:
    def cursor(self): return cursor()
    def commit(self): pass
    def close(self): pass
""",
    "psycopg2": """
from . import extensions
def connect(dsn=""): return extensions.connection()
""",
    "redis.commands.core": "class CoreCommands:\n    def get(self, name): pass\n    def set(self, name, value): pass",
    "redis.client": """
from .commands.core import CoreCommands
class Redis(CoreCommands):
    def pipeline(self): return Pipeline()
    def close(self): pass
class Pipeline(Redis):
    def execute(self): return []
""",
    "redis.asyncio.client": """
from ..commands.core import CoreCommands
class Redis(CoreCommands):
    async def ping(self): pass
""",
    "redis.asyncio": "from .client import Redis",
    "redis": "from .client import Redis",
    "pymongo.collection": "class Collection:\n    def find_one(self, query): pass\n    def insert_one(self, d): pass",
    "pymongo.database": """
from .collection import Collection
class Database:
    def __getattr__(self, name): return Collection()
    def __getitem__(self, name): return Collection()
""",
    "pymongo.mongo_client": """
from .database import Database
class MongoClient:
    def __getattr__(self, name): return Database()
    def __getitem__(self, name): return Database()
    def close(self): pass
""",
    "pymongo": "from .mongo_client import MongoClient",
    "boto3": """
class _S3:
    def list_buckets(self): pass
_S3.__module__ = "botocore.client"; _S3.__name__ = "S3"
def client(name): return _S3()
""",
    "paramiko.client": """
class SSHClient:
    def connect(self, host): pass
    def exec_command(self, command): pass
    def set_missing_host_key_policy(self, policy): pass
    def close(self): pass
""",
    "paramiko": "from .client import SSHClient",
    "tenacity": """
import functools
def retry(f):
    @functools.wraps(f)
    def wrapped(*args): return f(*args)
    return wrapped
""",
    "slowlib.jobs": "class Job:\n    def go(self): pass\ndef work(): pass",
    "slowlib": "from .jobs import Job, work\ndef fast(): pass",
}


def _make(name: str) -> types.ModuleType:
    module = types.ModuleType(name)
    prefix = name + "."
    is_package = any(other.startswith(prefix) for other in SOURCES)
    module.__package__ = name if is_package else name.rpartition(".")[0]
    if is_package:
        module.__path__ = []
    return module


def _packages() -> set[str]:
    return {".".join(name.split(".")[:depth]) for name in SOURCES for depth in range(1, name.count(".") + 2)}


@contextmanager
def fake_packages() -> Iterator[None]:
    """Put the stand-ins into ``sys.modules``, in place of the real ones where there are any."""
    roots = {name.partition(".")[0] for name in SOURCES}
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in roots}
    made = {name: _make(name) for name in _packages()}
    sys.modules.update(made)
    for name in sorted(made, key=lambda name: -name.count(".")):
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(made[parent], child, made[name])
    try:
        for name, source in SOURCES.items():
            path = f"/site-packages/{name.replace('.', '/')}.py"
            exec(compile(source, path, "exec"), made[name].__dict__)
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] in roots]:
            del sys.modules[name]
        sys.modules.update(hidden)


@contextmanager
def no_packages() -> Iterator[None]:
    """Take the packages out of ``sys.modules``: a cell that imports them is judged by names alone."""
    roots = {name.partition(".")[0] for name in SOURCES}
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in roots}
    try:
        yield
    finally:
        sys.modules.update(hidden)
