"""Cells that use the machine: its processes and its files."""

PROCESSES: list[tuple[str, str, str]] = [
    ("subprocess.run", "import subprocess", "subprocess.run(['ls'])"),
    ("subprocess.run", "", "from subprocess import run\nrun(['ls'], check=True)"),
    ("subprocess.check_output", "", "import subprocess as sp\nsp.check_output(['ls']).decode()"),
    ("subprocess.Popen", "import subprocess", "subprocess.Popen(['ls']).wait()"),
    (
        "subprocess.Popen.communicate",
        "import subprocess, sys\np = subprocess.Popen.__new__(subprocess.Popen)\np.returncode = 0\np._child_created = False",
        "p.communicate()",
    ),
    ("os.system", "import os", "os.system('ls')"),
    ("os.system", "", "from os import system\nsystem('ls')"),
    ("os.waitpid", "import os", "os.waitpid(1, 0)"),
    ("os.popen", "import os", "os.popen('ls').read()"),
    ("os.read", "import os", "os.read(0, 1)"),
]

FILES: list[tuple[str, str, str]] = [
    ("open", "", "open('f')"),
    ("open", "", "with open('f') as f:\n    text = f.read()"),
    ("open", "", "import io\nio.open('f')"),
    ("open", "def load(p):\n    with open(p) as f:\n        return f.read()", "load('f')"),
    ("io.BufferedReader.read", "import os\nf = open(os.devnull, 'rb')", "f.read()"),
    ("io.TextIOWrapper.readlines", "import os\nf = open(os.devnull)", "f.readlines()"),
    ("io.TextIOWrapper.__next__", "import os\nf = open(os.devnull)", "for line in f: pass"),
    ("pathlib.Path.read_text", "from pathlib import Path", "Path('f').read_text()"),
    ("pathlib.Path.read_text", "", "from pathlib import Path\nPath('f').read_text().split()"),
    ("pathlib.Path.write_bytes", "import pathlib\np = pathlib.Path('f')", "p.write_bytes(b'')"),
    ("pathlib.Path.read_text", "import pathlib\np = pathlib.Path('f')", "(p / 'x').read_text()"),
    (
        "pathlib.Path.read_bytes",
        "import pathlib\np = pathlib.Path('f')",
        "p.parent.joinpath('x').read_bytes()",
    ),
    ("pathlib.Path.read_text", "import pathlib", "pathlib.Path.home().joinpath('x').read_text()"),
    (
        "pathlib.Path.open",
        "import pathlib\nbase = pathlib.Path('f')",
        "for name in 'ab':\n    with (base / name).open() as f:\n        f.read()",
    ),
    ("pathlib.Path.rglob", "import pathlib\np = pathlib.Path('f')", "list(p.rglob('*.py'))"),
    ("shutil.copy", "", "import shutil\nshutil.copy('a', 'b')"),
    ("shutil.rmtree", "import shutil", "shutil.rmtree('a')"),
]
