"""What blocks: the built-in list, by public module, class and name.

``""`` holds a module's functions and the classes whose construction blocks; the other keys are
classes with their methods. ``*`` is every public name, ``-name`` an exception to it. Dunder methods
are listed where a ``with`` or ``for`` statement would wait in them.
"""

from __future__ import annotations

__all__ = ["ASYNC_MODULE_PARTS", "BLOCKING_CALLS", "FOLLOWED_PACKAGES", "PUBLIC_PACKAGES"]

_LOCK = "acquire __enter__"
_FILE = "read read1 readline readlines readinto readall write writelines flush truncate __next__"
_HTTP_VERBS = "get post put patch delete head options request send"
_SOCKET = (
    "accept connect connect_ex recv recv_into recvfrom recvfrom_into recvmsg recvmsg_into"
    " send sendall sendto sendmsg sendfile do_handshake read write unwrap"
)
_DB_CURSOR = (
    "execute executemany executescript fetchone fetchmany fetchall callproc copy copy_from copy_to"
    " copy_expert stream nextset __next__ __iter__"
)
_DB_CONNECTION = (
    "execute executemany executescript commit rollback backup iterdump connect wait notifies"
    " query ping begin __exit__"
)

BLOCKING_CALLS: dict[str, dict[str, str]] = {
    "builtins": {"": "input open breakpoint"},
    "stateroom.worker.input": {"InputBroker": "input getpass"},  # what `input` is in a worker
    "time": {"": "sleep"},
    "io": {
        "": "open open_code FileIO",
        "TextIOWrapper": _FILE,
        "BufferedReader": _FILE + " peek",
        "BufferedWriter": _FILE,
        "BufferedRandom": _FILE,
        "BufferedRWPair": _FILE,
        "FileIO": _FILE,
    },
    "codecs": {"": "open"},
    "gzip": {"": "open", "GzipFile": _FILE},
    "bz2": {"": "open", "BZ2File": _FILE},
    "lzma": {"": "open", "LZMAFile": _FILE},
    "fileinput": {"": "input FileInput"},
    "os": {
        "": "system popen wait wait3 wait4 waitpid waitid read readv pread write writev pwrite fsync"
        " fdatasync sync sendfile copy_file_range spawnl spawnle spawnlp spawnlpe spawnv spawnve"
        " spawnvp spawnvpe lockf walk fwalk",
    },
    "fcntl": {"": "flock lockf"},
    "pty": {"": "spawn"},
    "tempfile": {
        "": "NamedTemporaryFile TemporaryFile SpooledTemporaryFile TemporaryDirectory mkstemp mkdtemp",
        "_TemporaryFileWrapper": _FILE,
    },
    "getpass": {"": "getpass unix_getpass fallback_getpass win_getpass"},
    "signal": {"": "pause sigwait sigwaitinfo sigtimedwait"},
    "pdb": {"": "set_trace run runcall runeval post_mortem pm", "Pdb": "set_trace cmdloop"},
    "pathlib": {
        "Path": "open read_text read_bytes write_text write_bytes glob rglob walk copy copy_into move"
        " move_into",
    },
    "shutil": {"": "copy copy2 copyfile copyfileobj copytree rmtree move make_archive unpack_archive"},
    "glob": {"": "glob iglob"},
    "socket": {
        "": "create_connection getaddrinfo gethostbyname gethostbyname_ex gethostbyaddr getnameinfo"
        " getfqdn create_server",
        "socket": _SOCKET,
        "SocketIO": _FILE,
    },
    "ssl": {"": "get_server_certificate", "SSLSocket": _SOCKET, "SSLContext": ""},
    "select": {"": "select poll_wait", "epoll": "poll", "poll": "poll", "kqueue": "control"},
    "selectors": {
        "BaseSelector": "select",
        "DefaultSelector": "select",
        "SelectSelector": "select",
        "PollSelector": "select",
        "EpollSelector": "select",
        "KqueueSelector": "select",
    },
    "socketserver": {"BaseServer": "serve_forever handle_request shutdown"},
    "subprocess": {
        "": "run call check_call check_output getoutput getstatusoutput Popen",
        "Popen": "wait communicate __exit__",
    },
    "urllib.request": {
        "": "urlopen urlretrieve",
        "OpenerDirector": "open",
        "URLopener": "open retrieve",
    },
    "urllib.robotparser": {"RobotFileParser": "read"},
    "http.client": {
        "HTTPConnection": "connect request getresponse send endheaders",
        "HTTPSConnection": "connect request getresponse send endheaders",
        "HTTPResponse": "read read1 readinto readline peek __next__",
    },
    "http.server": {"": "test", "HTTPServer": "serve_forever handle_request"},
    "xmlrpc.client": {"ServerProxy": "*", "_Method": "__call__"},
    "wsgiref.simple_server": {"WSGIServer": "serve_forever handle_request"},
    "ftplib": {
        "": "FTP FTP_TLS",
        "FTP": "* -set_debuglevel -set_pasv -close",
    },
    "smtplib": {"": "SMTP SMTP_SSL LMTP", "SMTP": "* -set_debuglevel -close __exit__"},
    "imaplib": {"": "IMAP4 IMAP4_SSL IMAP4_stream", "IMAP4": "*"},
    "poplib": {"": "POP3 POP3_SSL", "POP3": "* -set_debuglevel -close"},
    "nntplib": {"": "NNTP NNTP_SSL", "NNTP": "*"},
    "telnetlib": {"": "Telnet", "Telnet": "* -set_debuglevel -close"},
    "sqlite3": {"": "connect", "Connection": _DB_CONNECTION, "Cursor": _DB_CURSOR},
    "dbm": {"": "open"},
    "shelve": {"": "open"},
    "threading": {
        "Thread": "join",
        "Timer": "join",
        "Lock": _LOCK,
        "lock": _LOCK,
        "LockType": _LOCK,
        "RLock": _LOCK,
        "_RLock": _LOCK,
        "Condition": _LOCK + " wait wait_for",
        "Event": "wait",
        "Barrier": "wait",
        "Semaphore": _LOCK,
        "BoundedSemaphore": _LOCK,
    },
    "queue": {
        "Queue": "get put join",
        "LifoQueue": "get put join",
        "PriorityQueue": "get put join",
        "SimpleQueue": "get",
    },
    "multiprocessing": {
        "": "Manager wait",
        "BaseProcess": "join",
        "Process": "join",
        "SpawnProcess": "join",
        "ForkProcess": "join",
        "ForkServerProcess": "join",
        "Pool": "apply map starmap join __exit__",
        "ThreadPool": "apply map starmap join __exit__",
        "ApplyResult": "get wait",
        "AsyncResult": "get wait",
        "MapResult": "get wait",
        "IMapIterator": "next __next__ __iter__",
        "Queue": "get put join",
        "JoinableQueue": "get put join",
        "SimpleQueue": "get put",
        "Connection": "recv recv_bytes recv_bytes_into send send_bytes poll",
        "Listener": "accept",
        "Client": "*",
        "SemLock": _LOCK,
        "Lock": _LOCK,
        "RLock": _LOCK,
        "Semaphore": _LOCK,
        "BoundedSemaphore": _LOCK,
        "Condition": _LOCK + " wait wait_for",
        "Event": "wait",
        "Barrier": "wait",
    },
    "concurrent.futures": {
        "": "wait as_completed",
        "Future": "result exception",
        "Executor": "map shutdown __exit__",
        "ThreadPoolExecutor": "map shutdown __exit__",
        "ProcessPoolExecutor": "map shutdown __exit__",
        "InterpreterPoolExecutor": "map shutdown __exit__",
    },
    "asyncio": {
        "": "run",
        "Runner": "run __exit__",
        "BaseEventLoop": "run_until_complete run_forever",
        "AbstractEventLoop": "run_until_complete run_forever",
    },
    "uvloop": {"": "run", "Loop": "run_until_complete run_forever"},
    "trio": {"": "run"},
    "anyio": {"": "run"},
    "requests": {
        "": "get post put patch delete head options request session_request",
        "Session": _HTTP_VERBS,
        "HTTPAdapter": "send",
        "Response": "iter_content iter_lines",
    },
    "httpx": {
        "": "get post put patch delete head options request stream",
        "Client": _HTTP_VERBS + " stream",
        "Response": "read iter_bytes iter_text iter_lines iter_raw",
    },
    "urllib3": {
        "": "request",
        "PoolManager": "request urlopen request_encode_url request_encode_body",
        "ProxyManager": "request urlopen",
        "HTTPConnectionPool": "request urlopen",
        "HTTPSConnectionPool": "request urlopen",
        "RequestMethods": "request",
        "HTTPResponse": "read stream readinto",
    },
    "httplib2": {"Http": "request"},
    "pycurl": {"Curl": "perform perform_rs perform_rb", "CurlMulti": "perform select"},
    "websocket": {
        "": "create_connection",
        "WebSocket": "connect recv recv_data send ping",
        "WebSocketApp": "run_forever",
    },
    "psycopg": {
        "": "connect",
        "Connection": _DB_CONNECTION,
        "Cursor": _DB_CURSOR,
        "ServerCursor": _DB_CURSOR,
        "ClientCursor": _DB_CURSOR,
    },
    "psycopg2": {
        "": "connect _connect",
        "connection": _DB_CONNECTION,
        "cursor": _DB_CURSOR,
        "SimpleConnectionPool": "getconn",
        "ThreadedConnectionPool": "getconn",
    },
    "pymysql": {
        "": "connect Connection Connect",
        "Connection": _DB_CONNECTION,
        "Cursor": _DB_CURSOR,
    },
    "MySQLdb": {
        "": "connect Connection Connect",
        "Connection": _DB_CONNECTION,
        "Cursor": _DB_CURSOR,
        "BaseCursor": _DB_CURSOR,
    },
    "pyodbc": {"": "connect", "Connection": _DB_CONNECTION, "Cursor": _DB_CURSOR},
    "oracledb": {"": "connect", "Connection": _DB_CONNECTION, "Cursor": _DB_CURSOR},
    "pymongo": {
        "Collection": "insert_one insert_many update_one update_many replace_one delete_one"
        " delete_many find_one find_one_and_update find_one_and_replace find_one_and_delete"
        " count_documents estimated_document_count distinct aggregate create_index"
        " create_indexes drop drop_index bulk_write rename index_information watch",
        "Database": "command list_collection_names list_collections create_collection drop_collection",
        "MongoClient": "list_database_names list_databases server_info drop_database",
        "Cursor": "next to_list explain distinct __next__ __iter__",
        "CommandCursor": "next to_list __next__ __iter__",
    },
    "redis": {
        "Redis": "* -pipeline -pubsub -lock -register_script -close -get_encoder",
        "StrictRedis": "* -pipeline -pubsub -lock -register_script -close",
        "Pipeline": "execute",
        "PubSub": "get_message listen subscribe psubscribe run_in_thread",
        "Lock": _LOCK,
    },
    "pymemcache": {"Client": "*"},
    "kafka": {"KafkaConsumer": "poll __next__", "KafkaProducer": "flush"},
    "pika": {"": "BlockingConnection", "BlockingChannel": "* -close"},
    "boto3": {"": "client resource", "Session": "client resource"},
    "botocore": {"BaseClient": "*", "ClientCreator": "*"},
    "paramiko": {
        "SSHClient": "connect exec_command invoke_shell open_sftp",
        "SFTPClient": "get put open listdir stat remove rename mkdir file",
        "Channel": "recv send sendall exec_command recv_exit_status connect",
        "ChannelFile": _FILE,
        "BufferedFile": _FILE,
        "Transport": "connect start_client open_session",
    },
    "zmq": {"Socket": "recv recv_multipart recv_string recv_json recv_pyobj poll", "Poller": "poll"},
    "serial": {"": "Serial", "Serial": "read readline read_until write"},
    "grpc": {"": "channel_ready_future"},
    "watchdog": {"Observer": "join"},
}

PUBLIC_PACKAGES: dict[str, str] = {
    "_io": "io",
    "_pyio": "io",
    "posix": "os",
    "nt": "os",
    "_socket": "socket",
    "_ssl": "ssl",
    "_thread": "threading",
    "_queue": "queue",
    "_sqlite3": "sqlite3",
    "_signal": "signal",
    "_asyncio": "asyncio",
    "_multiprocessing": "multiprocessing",
    "MySQLdb._mysql": "MySQLdb",
}
"""Where the standard library really defines what it offers under a public name."""

PUBLIC_CLASSES = {
    "lock": "Lock",
    "LockType": "Lock",
    "_RLock": "RLock",
    "BaseProcess": "Process",
    "ApplyResult": "AsyncResult",
    "BaseEventLoop": "AbstractEventLoop",
    "_TemporaryFileWrapper": "NamedTemporaryFile",
}
"""Classes that are known by another name than their own."""

PUBLIC_NAMES = {
    "builtins.open": "open",
    "builtins.input": "input",
    "builtins.breakpoint": "breakpoint",
    "stateroom.worker.input.InputBroker.input": "input",
    "stateroom.worker.input.InputBroker.getpass": "getpass.getpass",
    "io.open": "open",
    "psycopg.Connection.connect": "psycopg.connect",
    "getpass.unix_getpass": "getpass.getpass",
    "getpass.fallback_getpass": "getpass.getpass",
    "getpass.win_getpass": "getpass.getpass",
}
"""Functions that are."""

ASYNC_MODULE_PARTS = frozenset({"asyncio", "aio", "_async", "asynchronous", "async_client"})
"""A submodule with such a part in its name holds the asynchronous face of a package."""

FOLLOWED_PACKAGES = frozenset({"pathlib", "pymongo", "botocore", "boto3", "xmlrpc"})
"""Packages whose attributes are objects of the package again: ``path.parent``, ``client.db.users``."""

HANDING_PACKAGES = frozenset(
    "asyncio boto3 botocore concurrent multiprocessing MySQLdb oracledb paramiko pathlib pika psycopg"
    " psycopg2 pymongo pymysql pyodbc redis select selectors socket sqlite3 ssl threading uvloop zmq".split()
)
"""Packages whose calls hand out objects that block: ``connection.cursor()``, ``executor.submit()``."""

RESULTS = {("requests", "session"): "Session"}
"""Functions of other packages that do so, with the class they return."""
