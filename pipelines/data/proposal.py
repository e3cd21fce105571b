"""Write a proposal for a user's data set as commented YAML."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.data.layouts import Layout

UNNUMBERED = re.compile(r"(.*?)(\d+)")


@dataclass
class Field:
    """Hold what is proposed for a column: the keys of `Column` that differ from the default, and why."""

    keys: dict[str, Any] = field(default_factory=dict)  # none: a category
    distinct: int = 0
    missing: float = 0.0
    note: str = ""
    whole: bool = False  # a category of whole numbers, which a number among its neighbours makes a number

    @property
    def yaml(self) -> str:
        return flow(self.keys) if self.keys else "category"


@dataclass
class Proposal:
    """Hold what `describe` proposes."""

    name: str
    files: list[str] | dict[str, str]
    layout: Layout
    joins: list[dict[str, Any]]
    label: str
    split: dict[str, str]
    group: str = ""
    negatives: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Field] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)  # by column: why
    notes: list[str] = field(default_factory=list)  # what describe says of its guesses

    def yaml(self) -> str:
        """Write the data set as a commented YAML file."""
        lines = [f"title: {quoted(self.name)}", "format: table"]
        if isinstance(self.files, dict):
            lines.append("files: # relative to the folder that holds datasets/")
            lines += [f"  {part}: {quoted(file)}" for part, file in self.files.items()]
        else:
            lines.append(f"files: {listed(self.files)} # relative to the folder that holds datasets/")
        lines += layout_lines(self.layout, Layout())
        if self.joins:
            lines.append("joins: # side tables")
            lines += [f"  - {flow(join)}" for join in self.joins]
        lines.append(f"label: {quoted(self.label)} # a column with two values, or a comparison such as rating >= 4")
        if self.negatives:
            lines.append(f"negatives: {flow(self.negatives)} # of each row, with another value of `replace`")
        if isinstance(self.files, list):
            split = flow(self.split) if self.split else "random"
            lines.append(f"split: {split} # random, order, or {{by: time | group | last | fold, column: NAME}}")
        if self.group:
            lines.append(f"group: {quoted(self.group)} # group_auc is the mean AUC of its values")
        lines.append("fields: # category, or {kind: number | time | list, …}; docs/own-data.md lists the keys")
        lines += [f"  {quoted(name)}: {text}" for name, text in in_ranges(self.fields)]
        for why in dict.fromkeys(self.dropped.values()):
            columns = [quoted(column) for column, each in self.dropped.items() if each == why]
            lines.append(f"# left out, {why}: {', '.join(columns)}")
        return "\n".join(lines) + "\n"


def layout_lines(layout: Layout, default: Layout) -> list[str]:
    """Write the keys of a layout that are not the default."""
    given = {key: getattr(layout, key) for key in Layout.model_fields if getattr(layout, key) != getattr(default, key)}
    return [f"{key}: {inline(value)}" for key, value in given.items()]


def inline(value: Any) -> str:
    """Write a value in one line."""
    if isinstance(value, (bool, int)):
        return str(value).lower()
    return listed(value) if isinstance(value, list) else quoted(value)


def listed(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(quoted, texts))}]"


def flow(content: dict[str, Any]) -> str:
    """Write a mapping in one line."""
    return "{" + ", ".join(f"{key}: {inline(value)}" for key, value in content.items()) + "}"


def quoted(text: str) -> str:
    """Quote a text that YAML would not read as it stands."""
    known = ("yes", "no", "on", "off", "true", "false", "null")
    if re.fullmatch(r"[^\W\d][\w./-]*|/[\w./-]+", text) and text.lower() not in known:
        return text
    if text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    escaped = "".join(
        letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in text.replace("\\", r"\\")
    )
    return '"' + escaped.replace(r"\u0009", r"\t").replace('"', r"\"") + '"'


def in_ranges(fields: dict[str, Field]) -> list[tuple[str, str]]:
    """Write fields as YAML: three or more in a row that are alike but for their number, such as I1..I13, as one."""
    runs: list[list[str]] = []
    for name, each in fields.items():
        before = runs[-1][-1] if runs else ""
        alike = (
            runs and fields[before].yaml == each.yaml and "column" not in each.keys and fields[before].note == each.note
        )
        if alike and follows(before, name):
            runs[-1].append(name)
        else:
            runs.append([name])
    written = []
    for run in runs:
        for names in [run] if len(run) > 2 else [[name] for name in run]:
            members = [fields[name] for name in names]
            written.append((names[0] if len(names) == 1 else f"{names[0]}..{names[-1]}", commented(members)))
    return written


def follows(one: str, other: str) -> bool:
    """Tell whether two names differ in a number at the end, which grows by one."""
    first, second = UNNUMBERED.fullmatch(one), UNNUMBERED.fullmatch(other)
    if not first or not second or first[1] != second[1]:
        return False
    padded = first[2].startswith("0")
    return int(second[2]) == int(first[2]) + 1 and (not padded or len(first[2]) == len(second[2]))


def commented(members: Sequence[Field]) -> str:
    """Write the YAML of fields that are alike, with how many values they have."""
    least, most = min(each.distinct for each in members), max(each.distinct for each in members)
    missing = max(each.missing for each in members)
    said = [f"{least:,} values" if least == most else f"{least:,} to {most:,} values"] if most else []
    said += [f"{'up to ' if len(members) > 1 else ''}{missing:.1%} missing"] if missing else []
    said += [members[0].note] if members[0].note else []
    return f"{members[0].yaml} # {', '.join(said)}" if said else members[0].yaml
