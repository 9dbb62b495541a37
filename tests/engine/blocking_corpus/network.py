"""Cells that talk to other machines: HTTP, mail, files and sockets."""

HTTP: list[tuple[str, str, str]] = [
    # requests
    ("requests.get", "import requests", "requests.get('http://x').json()"),
    ("requests.get", "", "import requests\nr = requests.get('http://x', timeout=3)\nr.json()"),
    ("requests.get", "", "import requests as rq\nrq.get('u')"),
    ("requests.post", "", "from requests import post as send\nsend('u')"),
    ("requests.Session.get", "import requests\ns = requests.Session()", "s.get('u')"),
    ("requests.Session.get", "", "import requests\ns = requests.Session()\ns.get('u')"),
    ("requests.Session.get", "import requests", "with requests.Session() as s:\n    s.get('u')"),
    ("requests.Session.get", "", "import requests\nwith requests.Session() as s:\n    s.get('u')"),
    ("requests.Session.post", "import requests", "requests.session().post('u')"),
    ("requests.Session.get", "import requests\nclass S(requests.Session): pass\ns = S()", "s.get('u')"),
    (
        "requests.Session.get",
        "import requests\nclass Api:\n    def __init__(self): self.s = requests.Session()\napi = Api()",
        "api.s.get('u')",
    ),
    (
        "requests.Session.get",
        "import requests\nclass Api:\n    def __init__(self): self.s = requests.Session()\n    def load(self): return self.s.get('u')\napi = Api()",
        "api.load()",
    ),
    (
        "requests.Session.get",
        "import requests",
        "class Api:\n    def __init__(self): self.s = requests.Session()\n    def load(self): return self.s.get('u')\nApi().load()",
    ),
    ("requests.get", "import requests", "pages = [requests.get(u).text for u in urls]"),
    ("requests.get", "import requests", "''.join(requests.get(u).text for u in 'ab')"),
    ("requests.get", "import requests\ndef load(u): return requests.get(u)", "list(map(load, ['a']))"),
    (
        "requests.get",
        "",
        "try:\n    import requests\nexcept ImportError:\n    requests = None\nrequests.get('u')",
    ),
    ("requests.Session.get", "import requests\ndef make(): return requests.Session()", "make().get('u')"),
    (
        "requests.Session.get",
        "import requests\nclass S(requests.Session):\n    def get(self, u): return super().get(u)\ns = S()",
        "s.get('u')",
    ),
    (
        "requests.Response.iter_content",
        "import requests\nr = requests.Response()",
        "for part in r.iter_content(9): pass",
    ),
    # httpx, urllib, urllib3, http.client
    ("httpx.get", "import httpx", "httpx.get('u')"),
    ("httpx.get", "", "import httpx\nhttpx.get('u').raise_for_status()"),
    ("httpx.Client.get", "import httpx\nc = httpx.Client()", "c.get('u')"),
    ("httpx.Client.get", "", "import httpx\nwith httpx.Client() as c:\n    c.get('u')"),
    ("httpx.Client.get", "from httpx import Client", "Client().get('u')"),
    ("httpx.Client.stream", "import httpx\nc = httpx.Client()", "with c.stream('GET', 'u') as r: pass"),
    ("urllib.request.urlopen", "import urllib.request", "urllib.request.urlopen('u').read()"),
    ("urllib.request.urlopen", "", "from urllib.request import urlopen\nurlopen('u')"),
    ("urllib.request.urlopen", "", "import urllib.request as r\nwith r.urlopen('u') as f:\n    f.read()"),
    ("urllib.request.urlretrieve", "", "import urllib.request\nurllib.request.urlretrieve('u', 'f')"),
    (
        "urllib.request.OpenerDirector.open",
        "import urllib.request\no = urllib.request.build_opener()",
        "o.open('u')",
    ),
    (
        "urllib3.PoolManager.request",
        "import urllib3\npool = urllib3.PoolManager()",
        "pool.request('GET', 'u')",
    ),
    ("urllib3.request", "", "import urllib3\nurllib3.request('GET', 'u')"),
    (
        "http.client.HTTPSConnection.request",
        "",
        "import http.client\nc = http.client.HTTPSConnection('h')\nc.request('GET', '/')",
    ),
    (
        "http.client.HTTPConnection.getresponse",
        "import http.client\nc = http.client.HTTPConnection('h')",
        "c.getresponse()",
    ),
    ("smtplib.SMTP", "", "import smtplib\nsmtplib.SMTP('h')"),
    ("ftplib.FTP", "", "from ftplib import FTP\nwith FTP('h') as f:\n    f.login()"),
]

SOCKETS: list[tuple[str, str, str]] = [
    ("socket.socket.recv", "import socket", "socket.socket().recv(10)"),
    ("socket.socket.recv", "import socket\ns = socket.socket()", "s.recv(10)"),
    ("socket.socket.connect", "", "import socket\ns = socket.socket()\ns.connect(('h', 80))"),
    ("socket.socket.accept", "import socket\ns = socket.socket()", "c, a = s.accept()"),
    ("socket.create_connection", "import socket", "socket.create_connection(('h', 80)).sendall(b'')"),
    ("socket.getaddrinfo", "", "import socket\nsocket.getaddrinfo('h', 80)"),
    ("socket.socket.recv", "import socket\na, b = socket.socketpair()", "a.recv(1)"),
    ("socket.socket.recv", "import socket\ns = socket.socket()\nget = s.recv", "get(1)"),
    (
        "socket.socket.recv",
        "import socket\nclass C:\n    __slots__ = ('s',)\nc = C()\nc.s = socket.socket()",
        "c.s.recv(1)",
    ),
    ("select.select", "", "import select\nselect.select([], [], [], 1)"),
    ("selectors.SelectSelector.select", "", "import selectors\nselectors.SelectSelector().select()"),
]
