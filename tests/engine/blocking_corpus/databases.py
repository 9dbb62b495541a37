"""Cells that talk to databases, and to services that are reached likewise."""

DATABASES: list[tuple[str, str, str]] = [
    ("sqlite3.connect", "", "import sqlite3\nsqlite3.connect(':memory:').execute('select 1')"),
    (
        "sqlite3.Connection.execute",
        "import sqlite3\ncon = sqlite3.connect(':memory:')",
        "con.execute('select 1')",
    ),
    (
        "sqlite3.Cursor.execute",
        "import sqlite3\ncon = sqlite3.connect(':memory:')\ncur = con.cursor()",
        "cur.execute('select 1')",
    ),
    ("sqlite3.Connection.commit", "import sqlite3\ncon = sqlite3.connect(':memory:')", "con.commit()"),
    (
        "sqlite3.Cursor.fetchall",
        "import sqlite3\ncon = sqlite3.connect(':memory:')\ncur = con.cursor()",
        "rows = cur.fetchall()",
    ),
    (
        "sqlite3.Connection.__exit__",
        "import sqlite3\ncon = sqlite3.connect(':memory:')",
        "with con:\n    pass",
    ),
    (
        "sqlite3.Connection.execute",
        "import sqlite3\ndbs = {'a': sqlite3.connect(':memory:')}",
        "dbs['a'].execute('select 1')",
    ),
    ("psycopg.connect", "", "import psycopg\npsycopg.connect('db')"),
    ("psycopg.connect", "import psycopg", "psycopg.connect('db').execute('select 1')"),
    (
        "psycopg.Connection.execute",
        "import psycopg\ncon = psycopg.connect()",
        "con.execute('select 1').fetchall()",
    ),
    ("psycopg.Cursor.execute", "import psycopg\ncur = psycopg.connect().cursor()", "cur.execute('select 1')"),
    ("psycopg2.connect", "import psycopg2", "psycopg2.connect('db')"),
    (
        "psycopg2.cursor.execute",
        "import psycopg2\ncur = psycopg2.connect().cursor()",
        "cur.execute('select 1')",
    ),
    ("redis.Redis.get", "import redis\nr = redis.Redis()", "r.get('k')"),
    ("redis.Redis.set", "", "import redis\nr = redis.Redis()\nr.set('k', 1)"),
    ("redis.Pipeline.execute", "import redis\np = redis.Redis().pipeline()", "p.execute()"),
    ("pymongo.Collection.find_one", "import pymongo\nc = pymongo.MongoClient()", "c.db.users.find_one({})"),
    (
        "pymongo.Collection.find_one",
        "import pymongo\nusers = pymongo.MongoClient().db.users",
        "users.find_one({})",
    ),
    (
        "pymongo.Collection.insert_one",
        "import pymongo\nc = pymongo.MongoClient()",
        "c['db']['users'].insert_one({})",
    ),
    ("boto3.client", "", "import boto3\nboto3.client('s3').list_buckets()"),
    ("paramiko.SSHClient.connect", "import paramiko\nc = paramiko.SSHClient()", "c.connect('h')"),
]
