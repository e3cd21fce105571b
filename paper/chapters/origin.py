"""Find which code made the results, and whether it behaved as today's code does."""

from collections import Counter
from typing import Any

from chapters.findings import Findings, read_json
from pipelines.project.golden_files import accepted_behaviour


def origin(findings: Findings) -> dict[str, Any]:
    """Count results by commit, and name results whose behaviour differs from today's."""
    made_by = {name: record["made_by"] for name, (_, record) in records(findings).items() if "made_by" in record}
    training = findings.params.training
    other = [
        name
        for name, (model, record) in records(findings).items()
        if record.get("made_by", {}).get("behaviour") != accepted_behaviour(model, training)
    ]
    commits = Counter(str(record["commit"])[:7] for record in made_by.values())
    torch = Counter(str(record["versions"].get("torch")) for record in made_by.values())
    return {"commits": commits.most_common(), "torch": ", ".join(torch), "num_results": len(made_by), "other": other}


def records(findings: Findings) -> dict[str, tuple[str, dict[str, Any]]]:
    """Read the records of all existing results, each with its model."""
    found = {}
    for dataset in findings.params.datasets:
        for model in findings.params.models:
            for file in ("best", "metrics"):
                found[f"{dataset}/{model}/{file}"] = (model, f"{dataset}/{model}/{file}.json")
    for name, entry in findings.experiments.items():
        found[f"experiments/{name}"] = (entry["model"], f"experiments/{name}.json")
    for file in sorted((findings.results / "importance").glob("*.json")):
        found[f"importance/{file.stem}"] = ("ifm", f"importance/{file.name}")
    read = {name: (model, read_json(findings.results / file, None)) for name, (model, file) in found.items()}
    return {name: (model, record) for name, (model, record) in read.items() if record and "declined" not in record}
