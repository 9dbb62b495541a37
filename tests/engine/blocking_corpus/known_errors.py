"""Cells that are known to be judged wrongly."""

KNOWN_MISSES: list[tuple[str, str, str]] = [
    # found only by running the code
    ("time.sleep", "import time", "getattr(time, 'sleep')(1)"),
    ("time.sleep", "", "__import__('time').sleep(1)"),
    ("time.sleep", "import time", "exec('time.sleep(1)')"),
    (
        "time.sleep",
        "import time\nclass A:\n    @property\n    def slow(self): time.sleep(1)\na = A()",
        "a.slow",
    ),
    ("time.sleep", "import time\nclass A:\n    def __add__(self, o): time.sleep(1)\na = A()", "a + a"),
    ("time.sleep", "import time\ng = (time.sleep(i) for i in [1])", "list(g)"),
]

KNOWN_FALSE_ALARMS: list[tuple[str, str]] = [
    # which branch runs is not asked
    ("import time\nDRY = True", "if not DRY:\n    time.sleep(1)"),
    ("import threading\nlock = threading.Lock()", "lock.acquire(blocking=False)"),
]
