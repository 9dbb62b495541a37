"""Data of large packages goes beside the stream and comes back equal; run where they are installed."""

from __future__ import annotations

import numpy as np
import pytest


def test_numpy(again):
    main = again("""
import numpy as np
a = np.arange(20_000.0)
f = np.asfortranarray(a.reshape(100, 200))
r = a.copy(); r.flags.writeable = False
s = a[::2]
o = np.array([a, {"x": a}, None], dtype=object)
t = np.zeros(3, dtype=[("x", "i4"), ("y", "U5")])
rng = np.random.default_rng(5); rng2 = np.random.default_rng(5)
m = np.ma.masked_array([1, 2], [True, False])
e = np.empty((0, 3))
""")
    assert main.get("(f == a.reshape(100, 200)).all() and f.flags.f_contiguous")
    assert main.get("not r.flags.writeable and a.flags.writeable")
    assert main.get("(s == a[::2]).all() and o[0] is a and o[1]['x'] is a and t.dtype.names == ('x', 'y')")
    assert main.get("rng.random() == rng2.random() and m.sum() == 2 and e.shape == (0, 3)")
    assert isinstance(main.get("a"), np.ndarray)


def test_pandas(again):
    pytest.importorskip("pandas")
    main = again("""
import pandas as pd
df = pd.DataFrame({"n": range(50_000), "x": 0.5, "s": ["a", "b"] * 25_000, "d": pd.date_range("2020", periods=50_000, freq="h")})
same = df.copy()
view = {"df": df}
""")
    assert main.get("df.equals(same) and view['df'] is df and list(df.dtypes) == list(same.dtypes)")
    main.run("df.loc[0, 'x'] = 3.0")
    assert main.get("df['x'].iloc[0]") == 3.0


def test_arrow(again):
    pytest.importorskip("pyarrow")
    main = again(
        "import pyarrow as pa\ntable = pa.table({'n': list(range(50_000)), 's': ['x'] * 50_000})\nother = {'t': table}"
    )
    assert main.get(
        "other['t'] is table and table.num_rows == 50_000 and table['n'][49_999].as_py() == 49_999"
    )
