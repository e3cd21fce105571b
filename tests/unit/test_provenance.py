import json

from searches import cell_of

from pipelines.data.card import read_card
from pipelines.project.paths import Paths
from pipelines.project.provenance import Origin, made_by
from pipelines.project.records import read_record, write_record


def test_a_result_names_the_raw_files_of_its_data(project):
    origin = cell_of(project, "fm").made_by()
    (raw_file,) = read_card(Paths(project.root), "synthetic").raw_files
    assert origin.data == {"log.csv": {"sha256": raw_file.sha256, "released": None}}
    write_record(project.root / "origin.json", origin)
    assert read_record(project.root / "origin.json", Origin, "nothing") == origin


def test_without_a_card_it_names_none_and_older_records_stay_as_they_are(project):
    Paths(project.root).card("synthetic").unlink()
    origin = cell_of(project, "fm").made_by()
    assert origin == made_by(origin.behaviour)
    file = project.root / "origin.json"
    write_record(file, origin)
    assert "data" not in json.loads(file.read_text())
    assert read_record(file, Origin, "nothing") == origin
