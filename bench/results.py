"""What was measured: rows of cells, as they are printed, kept as JSON, and compared."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

__all__ = ["FORMAT", "Absent", "Cell", "Failed", "Report", "Row", "load", "save", "spread"]

#: Of the JSON file; a file of another format is not compared.
FORMAT: Final = 1


class Absent(Exception):
    """This column has no measurement here, for the reason that this says."""


class Failed(Exception):
    """This column is here, and did not do its work, for the reason that this says. It is not tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One client at one work: a value a round, and what it is against the floor of the same round.

    Attributes:
        values: In the row's unit, one a round; none when ``absent``.
        ratios: Each value against the floor's of its round; none where the floor is 0 or absent.
        absent: Why there is no value.
        failed: Whether that is a fault: what was measured is here, and did not do its work.
    """

    values: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    absent: str = ""
    failed: bool = False

    @property
    def value(self) -> float:
        """The median."""
        return statistics.median(self.values)

    @property
    def ratio(self) -> float | None:
        """The median against the floor."""
        return statistics.median(self.ratios) if self.ratios else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One work, measured in one way.

    Attributes:
        work: Its key, such as ``echo-100B``.
        metric: What of it was measured, such as ``wall``.
        section: Which part of the table it belongs to.
        title: What the table calls it.
        unit: ``s``, ``B``, ``copies`` or ``calls``.
        absolute: Whether the values say more than their ratios.
        cells: By column.
    """

    work: str
    metric: str
    section: str
    title: str
    unit: str
    absolute: bool
    cells: dict[str, Cell]

    @property
    def key(self) -> str:
        """What tells it from all other rows."""
        return f"{self.work}/{self.metric}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run of the bench."""

    date: str
    machine: dict[str, str]
    command: str
    rounds: int
    rows: list[Row]


def spread(values: list[float]) -> float:
    """Return half of the interquartile range: half of all rounds are within the median and so much of it."""
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2


def save(report: Report, path: Path) -> None:
    """Write a report as JSON."""
    document = {"format": FORMAT, **asdict(report)}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> Report:
    """Read what ``save`` wrote.

    Raises:
        ValueError: This is no report of this format.
    """
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))  # JSON, whatever it is
    if not isinstance(document, dict) or document.pop("format", None) != FORMAT:
        raise ValueError(f"{path} is no report of the bench in format {FORMAT}")
    rows = [
        Row(**{**row, "cells": {key: Cell(**cell) for key, cell in row["cells"].items()}})
        for row in document.pop("rows")
    ]
    return Report(rows=rows, **document)
