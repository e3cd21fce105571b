"""Serve a bundle on loopback, and check its answers, alone and under load."""

import http.client
import json
import os
import re
import runpy
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import psutil
import pytest
from bundled import keep_table

from pipelines import export, predict

for package in ("fastapi", "uvicorn", "onnxruntime"):
    pytest.importorskip(package, reason="needs the extra [serve]")

SERVE = Path(__file__).parents[2] / "examples" / "serve.py"
CLIENTS, REQUESTS = 4, int(os.environ.get("LOAD_REQUESTS", "25"))  # of each client
YAML = """
format: table
files: [rows.csv]
missing: [none, "-1"]
label: click
fields:
  user: category
  shop: {kind: category, hash: 7}
  age: number
  price: {kind: number, scale: log}
  income: {kind: number, scale: bins, bins: 4}
  hour: {kind: time, column: when}
  tags: {kind: list, separator: " "}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Serve an untrained fm; yield its rows, what `predict` says of them, and its process."""
    root = tmp_path_factory.mktemp("served")
    rng = np.random.default_rng(0)
    columns = {
        "user": rng.choice(["ann", "bob", "12", "none", "once"], 200),
        "shop": rng.integers(9, size=200).astype(str),
        "age": rng.integers(18, 90, 200),
        "price": rng.lognormal(3, 1, 200).round(2),
        "income": rng.integers(1000, 9000, 200),
        "when": rng.integers(1_600_000_000, 1_700_000_000, 200),
        "tags": [" ".join(rng.choice(["a", "b", "c"], size)) for size in rng.integers(0, 4, 200)],
    }
    table = pl.DataFrame({name: pl.Series(list(cells)) for name, cells in columns.items()})
    table.with_columns(click=pl.Series(rng.integers(2, size=200))).write_csv(root / "rows.csv")
    keep_table(root, "shop", YAML)
    export.main(root / "bundle")
    predict.main(str(root / "rows.csv"), root / "bundle", root / "scores.parquet")
    scores = pl.read_parquet(root / "scores.parquet")["probability"].to_list()
    command = [sys.executable, SERVE, root / "bundle", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = iter(process.stderr.readline, "")
            port = next(int(found[1]) for line in said if (found := re.search(r"http://127\.0\.0\.1:(\d+)", line)))
            yield SimpleNamespace(rows=table.to_dicts(), scores=scores, port=port, process=process)
        finally:
            process.terminate()


def post(connection, body):
    connection.request("POST", "/predict", body if isinstance(body, bytes) else json.dumps(body))
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


@pytest.fixture
def ask(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    yield lambda body: post(connection, body)
    connection.close()


def test_rows_have_the_probabilities_of_the_bundle_without_torch(server, ask):
    status, answer = ask(server.rows)
    assert status == 200
    assert answer["probability"] == pytest.approx(server.scores, abs=1e-5)
    assert len({*server.scores}) > 100
    shuffled = [dict(reversed([*row.items()])) | {"more": 1} for row in server.rows[:3]]
    shuffled[0] |= {"user": 12.0}
    shuffled[1] |= {"tags": server.rows[1]["tags"].split()}
    expected = ask([server.rows[0] | {"user": "12"}, *server.rows[1:3]])
    assert ask(shuffled) == expected
    assert not [each.path for each in psutil.Process(server.process.pid).memory_maps() if "libtorch" in each.path]


def test_a_missing_value_is_null_or_one_of_the_bundle_s_marks(server, ask):
    row = dict.fromkeys(server.rows[0])
    assert ask([row]) == ask([row | {"user": "none", "age": -1, "shop": " "}])
    assert ask([row]) != ask([row | {"age": -2}])


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"age": "old"}, [{"type": "float_parsing", "loc": [1, "age"]}]),
        ({"user": ["ann"]}, [{"type": "string_type", "loc": [1, "user"]}]),
        ({"user": None, "age": ...}, [{"type": "missing", "loc": [1, "age"], "msg": "Field required"}]),
        ({"when": "soon"}, "field hour: when such as 'soon' in row 2 is no time by the format 'unix'"),
        ({"price": float("inf")}, "field price: row 2 has 'inf', which is no finite number"),
    ],
)
def test_a_bad_row_is_named(server, ask, change, detail):
    bad = {key: value for key, value in (server.rows[1] | change).items() if value is not ...}
    status, answer = ask([server.rows[0], bad])
    assert status == 422
    if isinstance(detail, list):
        (found,), (expected,) = answer["detail"], detail
        assert {key: found[key] for key in expected} == expected
    else:
        assert answer["detail"] == detail


@pytest.mark.parametrize(
    ("body", "status"),
    [
        *[(body, 422) for body in ([], b"{", b"", b"\xff", b"[" * 100_000, b'[{"user": "\\ud800"}]')],
        (b'[{"user": 1' + b"0" * 5000 + b"}]", 422),
        (b" " * (1 << 20) + b"[]", 413),
    ],
    ids=range(8),
)
def test_no_rows_no_json_and_too_much_of_it_are_refused(server, ask, body, status):
    assert ask(body)[0] == status


def test_the_types_of_the_columns_can_be_asked(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", "/openapi.json")
    content = json.loads(connection.getresponse().read())
    connection.close()
    body = content["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    properties = body["items"]["properties"]
    assert {"type": "array", "items": {"type": "string"}} in properties.pop("tags")["anyOf"]
    types = {name: column["anyOf"][0]["type"] for name, column in properties.items()}
    numbers = dict.fromkeys(("age", "price", "income"), "number")
    assert types == {"user": "string", "shop": "string", **numbers, "when": "string"}
    assert (body["items"]["required"], body["maxItems"]) == ([*types, "tags"], 1000)


def test_what_can_t_be_served_is_one_line(tmp_path):
    with pytest.raises(SystemExit, match=r"^no .*model\.onnx: run factorbench export --bundle "):
        runpy.run_path(str(SERVE))["main"](tmp_path)


def test_a_batch_is_bounded(server, ask):
    row = dict.fromkeys(server.rows[0], 1) | {"tags": ["a"]}
    assert ask([row] * 1000)[0] == 200
    status, answer = ask([row] * 1001)
    assert (status, answer["detail"][0]["type"]) == (422, "too_long")


@pytest.mark.parametrize("num_rows", [1, 100])
def test_under_load_all_answers_are_right(server, num_rows):
    def client(_):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        seconds = []
        for _ in range(REQUESTS):
            start = time.perf_counter()
            status, answer = post(connection, server.rows[:num_rows])
            seconds.append(time.perf_counter() - start)
            assert status == 200
            assert answer["probability"] == pytest.approx(server.scores[:num_rows], abs=1e-5)
        connection.close()
        return seconds

    start = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        seconds = np.concatenate(list(pool.map(client, range(CLIENTS))))
    rate = CLIENTS * REQUESTS / (time.perf_counter() - start)
    print(
        f"{num_rows} rows a request, {CLIENTS} clients: {rate:,.0f} requests a second, "
        f"median {np.median(seconds) * 1e3:.1f} ms, p99 {np.quantile(seconds, 0.99) * 1e3:.1f} ms"
    )
