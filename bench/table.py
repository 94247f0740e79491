"""The table: a row a work, a column a client, each cell a ratio to the floor of the same rounds, and its spread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Final

from bench.columns import ALL, OURS, TITLES
from bench.held import LIMITS, faults
from bench.results import Cell, Report, Row, spread

__all__ = ["amount", "markdown", "plain"]

_METRICS: Final = {
    "wall": "wall",
    "cpu": "CPU",
    "latency": "event sent to first byte",
    "calls": "system calls",
    "sends": "sends",
    "peak": "peak",
    "growth": "growth while it streams",
}


def amount(value: float, unit: str) -> str:
    """Return a value with its unit, in three digits."""
    if unit == "s":
        for factor, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns")):
            if abs(value) >= factor or name == "ns":
                return f"{value / factor:.3g} {name}"
    if unit == "B":
        return f"{value / 1048576:.1f} MB"
    return f"{value:.2f}" if unit == "copies" else f"{value:.3g}"


def _ratio(value: float) -> str:
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 0.1 else 3
    return f"{value:.{digits}f}x"


class Notes:
    """Reasons for what is absent, each numbered once."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def mark(self, cell: Cell) -> str:
        """Return what stands in a cell without values."""
        if cell.absent not in self.reasons:
            self.reasons.append(cell.absent)
        return f"{'failed' if cell.failed else '-'} [{self.reasons.index(cell.absent) + 1}]"


def _cell(row: Row, column: str, notes: Notes, *, with_spread: bool) -> str:
    cell = row.cells.get(column)
    if cell is None:
        return ""
    if cell.absent:
        return notes.mark(cell)
    flag = " !" if any(one.row == row.key and one.column == column and one.is_broken(row) for one in LIMITS) else ""
    ratio = "" if cell.ratio is None else _ratio(cell.ratio)
    if column == "floor":
        return amount(cell.value, row.unit) + _spread(cell, "floor", with_spread)
    if row.absolute or not ratio:
        return amount(cell.value, row.unit) + (f" ({ratio})" if ratio else "") + flag
    return ratio + _spread(cell, column, with_spread) + flag


def _with_cpu(shown: str, row: Row, column: str) -> str:
    """Return a cell of the wall's time with the processor's beside it."""
    cell = row.cells[column] if column in row.cells else Cell()
    if not cell.values:
        return shown
    if column == "floor" or cell.ratio is None:
        return f"{shown} / {amount(cell.value, row.unit)}"
    return f"{shown} / {_ratio(cell.ratio)}"


def _spread(cell: Cell, column: str, wanted: bool) -> str:
    values = cell.values if column == "floor" else cell.ratios
    middle = cell.value if column == "floor" else cell.ratio
    return f" ±{100 * spread(values) / abs(middle):.0f}%" if wanted and middle and len(values) > 1 else ""


def _held(row: Row) -> str:
    """Return what ours is held to."""
    said = []
    for limit in LIMITS:
        if limit.row == row.key:
            whom = "" if limit.column == "ours" else f" {TITLES[limit.column]}"
            what = amount(limit.most, row.unit) if not limit.of else _ratio(limit.most)
            said.append(f"{what}{'' if limit.of in ('', 'floor') else f' of {TITLES[limit.of]}'}{whom}")
    return ", ".join(said)


def _sections(
    report: Report, wanted: Callable[[Row], bool], notes: Notes, *, cpu: Mapping[str, Row] | None = None
) -> Iterator[tuple[str, list[list[str]]]]:
    """Yield each section's title and lines of cells, the first of which is its head.

    Args:
        report: What was measured.
        wanted: Which rows are to have a line.
        notes: Collects the reasons of what is absent.
        cpu: Rows of the processor's time, by work, to stand in the cells of the wall's, which have no spread then.
    """
    for section, grouped in groupby((row for row in report.rows if wanted(row)), key=lambda row: row.section):
        rows = list(grouped)
        columns = [column for column in ALL if any(_shown(row, column) for row in rows)]
        several = len({row.metric for row in rows}) > 1
        both = {row.key: cpu[row.work] for row in rows if cpu and row.metric == "wall" and row.work in cpu}
        lines = [["", *(TITLES[column] for column in columns), "held to"]]
        for row in rows:
            metric = f"{_METRICS[row.metric]} / CPU" if row.key in both else _METRICS[row.metric] if several else ""
            cells = [_cell(row, column, notes, with_spread=cpu is None) for column in columns]
            if row.key in both:
                cells = [_with_cpu(cell, both[row.key], column) for cell, column in zip(cells, columns, strict=True)]
            lines.append([f"{row.title}, {metric}" if metric else row.title, *cells, _held(row)])
        if not any(line[-1] for line in lines[1:]):
            lines = [line[:-1] for line in lines]
        yield section, lines


def _shown(row: Row, column: str) -> bool:
    """Say whether a row has a cell to show there: ours always, others when they were measured or could not be had."""
    cell = row.cells.get(column)
    return cell is not None and (bool(cell.values) or column in OURS or bool(cell.absent))


def plain(report: Report) -> str:
    """Return the whole table for a terminal."""
    notes = Notes()
    out = [f"{_head(report)}\n"]
    sections = list(_sections(report, lambda _: True, notes))
    for section, lines in sections:
        widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
        lines[0][0] = ""
        out.append(section)
        for line in lines:
            first = line[0].ljust(widths[0])
            out.append(
                "  " + "  ".join([first, *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
            )
        out.append("")
    out += [f"[{n}] {reason}" for n, reason in enumerate(notes.reasons, 1)]
    out += [f"! {fault}" for fault in faults(report)]
    return "\n".join(out) + "\n"


def markdown(report: Report) -> str:
    """Return the table for a README: without spreads, the processor's time in the cell of the wall's."""
    notes = Notes()
    cpu = {row.work: row for row in report.rows if row.metric == "cpu"}
    machine = report.machine
    measured = (
        f"Measured {report.date} by `{report.command}` ({report.rounds} rounds) on {machine['cpu']}, {machine['cores']}"
        f" cores, {machine['os']}, {machine['python']}; load {machine['load']}."
        f" System calls are counted {machine['calls']}."
    )
    out = [measured, ""]
    for section, lines in _sections(report, lambda row: row.metric != "cpu", notes, cpu=cpu):
        lines[0][0] = section
        out.append("| " + " | ".join(lines[0]) + " |")
        out.append("| --- |" + " ---: |" * (len(lines[0]) - 1))
        out += ["| " + " | ".join(line) + " |" for line in lines[1:]]
        out.append("")
    out += [f"{n}. {reason}" for n, reason in enumerate(notes.reasons, 1)]
    return "\n".join(out).rstrip("\n") + "\n"


def _head(report: Report) -> str:
    machine = report.machine
    return (
        f"{report.date}, {report.rounds} rounds: {report.command}\n"
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load']}; {machine['os']}; {machine['python']}\n"
        f"{machine['peers']}\n"
        f"System calls are counted {machine['calls']}.\n"
        "Floor: medians. Others: against the floor of the same round, median and half the interquartile range."
    )
