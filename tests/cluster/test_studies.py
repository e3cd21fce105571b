import json

from pipelines import studies


def test_a_study_is_a_row_with_its_progress(searched, capsys):
    studies.main(searched.params)
    best = json.loads((searched.results("fm") / "best.json").read_text())
    (row,) = (line for line in capsys.readouterr().out.splitlines() if best["study"] in line)
    cells = [cell.strip() for cell in row.split("│")[1:-1]]
    assert cells[:8] == ["synthetic", "fm", best["study"], "3", "0", "0", "0", f"{best['valid_rmse']:.4f}"]


def test_no_studies_is_no_error(tmp_path, capsys):
    studies.main(tmp_path / "params.yaml")
    assert capsys.readouterr().out == "no studies yet\n"
