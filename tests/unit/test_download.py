import hashlib
import json
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import pytest

from pipelines.data.catalog import get_dataset, list_datasets
from pipelines.download import main
from pipelines.project.seeds import seed_for

PARAMS = "seed: 7\ndatasets: [frappe]\nmodels: [fm]\ntune: {num_trials: 1}\n"
LOG = "user\titem\ncnt\n" * 100


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a params.yaml, an empty cache and a mirror with a small Frappe."""
    mirror = tmp_path / "mirror"
    (tmp_path / "pipeline").mkdir()
    mirror.mkdir()
    with zipfile.ZipFile(mirror / "Mobile_Frappe.zip", "w") as archive:
        archive.writestr("Mobile_Frappe/frappe/frappe.csv", LOG)
        archive.writestr("Mobile_Frappe/frappe/meta.csv", "")
    digest = hashlib.sha256((mirror / "Mobile_Frappe.zip").read_bytes()).hexdigest()
    (mirror / "SHA256SUMS").write_text(f"{digest}  Mobile_Frappe.zip\n")
    monkeypatch.setenv("FACTORBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FACTORBENCH_MIRROR", str(mirror))
    path = tmp_path / "pipeline" / "params.yaml"
    path.write_text(PARAMS)
    return path


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_raw_files_go_beside_the_params(params: Path, program):
    arguments = ["--dataset", "frappe", "--params", str(params)]
    note = "note: Mobile_Frappe.zip is not the released file\n"
    command = [sys.executable, "-m", "pipelines.download", *arguments]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, note)
    assert program(main, *arguments)[::2] == (0, note)
    raw = params.parent / "data" / "raw" / "frappe"
    assert (raw / "frappe.csv").read_text() == LOG
    assert tree(params.parent) == {"params.yaml", "data/raw/frappe/frappe.csv", "data/raw/frappe/sources.json"}
    (raw_file,) = json.loads((raw / "sources.json").read_text())
    assert raw_file["sha256"] == hashlib.sha256(LOG.encode()).hexdigest()
    assert (raw_file["name"], raw_file["source"]) == ("frappe.csv", "Mobile_Frappe.zip")
    assert (raw_file["released"], raw_file["difference"]) == (False, None)


@pytest.mark.parametrize("how", ["released", "a known variant"])
def test_it_is_said_what_is_known_of_a_file_of_the_mirror(params: Path, monkeypatch, capsys, how):
    (line,) = (params.parents[1] / "mirror" / "SHA256SUMS").read_text().splitlines()
    digest = f"sha256:{line.split()[0]}"
    known = {"checksum": digest} if how == "released" else {"variants": {digest: "a small log"}}
    dataset = get_dataset("frappe")
    source = dataset.sources[0].model_copy(update=known)
    monkeypatch.setattr(
        "pipelines.download.get_dataset", lambda name, root: dataset.model_copy(update={"sources": (source,)})
    )
    main("frappe", params)
    (raw_file,) = json.loads((params.parent / "data" / "raw" / "frappe" / "sources.json").read_text())
    assert raw_file["released"] == (how == "released")
    note = "note: Mobile_Frappe.zip is not the released file: a small log\n"
    assert capsys.readouterr().err == ("" if how == "released" else note)


def test_wrong_raw_file_is_replaced(params: Path):
    raw = params.parent / "data" / "raw" / "frappe" / "frappe.csv"
    raw.parent.mkdir(parents=True)
    raw.write_text(LOG[:-1])
    main("frappe", params)
    assert raw.read_text() == LOG


def test_list_is_whole_at_80_columns(program, monkeypatch):
    monkeypatch.setenv("COLUMNS", "")
    code, stdout, _ = program(main, "--list")
    assert code == 0
    assert max(map(len, stdout.splitlines())) <= 80
    words = " ".join(stdout.split())
    for dataset in map(get_dataset, list_datasets()):
        assert f"{dataset.name} {dataset.title} licence: {dataset.licence} citation: {dataset.citation}" in words


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--dataset is missing; choose one of: frappe, "),
        (["--dataset", "frape"], "unknown data set 'frape'; choose one of: frappe, "),
        (["--dataset", "frappe", "--params", "none.yaml"], "none.yaml"),
    ],
)
def test_wrong_options_are_one_line(program, arguments: list[str], message: str):
    code, _, stderr = program(main, *arguments)
    assert code == 1
    assert stderr.startswith("error: ")
    assert message in stderr
    assert stderr.count("\n") == 1


def test_params_are_checked_before_anything_is_written(params: Path):
    params.write_text(PARAMS + "sead: 1\n")
    with pytest.raises(ValueError, match="sead: no such key"):
        main("frappe", params)
    assert tree(params.parent) == {"params.yaml"}


def test_no_network_is_one_line_and_leaves_nothing(params: Path, program, monkeypatch):
    for key, value in {"FACTORBENCH_MIRROR": "", "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}.items():
        monkeypatch.setenv(key, value)
    code, _, stderr = program(main, "--dataset", "frappe", "--params", str(params))
    assert code == 1
    assert stderr.count("\n") == 1
    assert f"{get_dataset('frappe').sources[0].url}: can't be reached" in stderr
    assert tree(params.parent) == {"params.yaml"}


def test_synthetic_log_is_generated_from_the_stage_s_seed(params: Path, monkeypatch: pytest.MonkeyPatch):
    calls = []
    module = types.ModuleType("pipelines.data.synthetic")
    monkeypatch.setattr(module, "write_log", lambda *arguments: calls.append(arguments), raising=False)
    monkeypatch.setitem(sys.modules, "pipelines.data.synthetic", module)
    main("synthetic", params)
    assert calls == [(params.parent / "data" / "raw" / "synthetic", seed_for(7, "download", "synthetic"))]
