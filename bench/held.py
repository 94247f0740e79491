"""Numbers to hold: what ours must stay below, each as a ratio to a floor or a peer of the same run, or as an amount."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bench.columns import OURS
from bench.results import Report, Row

__all__ = ["LIMITS", "MARGIN", "Limit", "broken", "faults"]

#: A machine that is doing other things may be so much over a limit of time. What is counted has no margin.
MARGIN: Final = 1.25
#: But for system calls: an allocator asks for memory once in so many invocations.
_ALLOCATOR: Final = 1.02
#: How long a chunk may take at 300 MB/s of chunks of 64 bytes.
_TOGETHER_S: Final = 64 / 300e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One number to hold.

    Attributes:
        row: Key of the row.
        column: Whose cell.
        most: The largest value.
        of: What the cell is divided by: another column; ``""`` for nothing.
        margin: By how many times it may be exceeded.
    """

    row: str
    column: str
    most: float
    of: str = "floor"
    margin: float = MARGIN

    def found(self, row: Row) -> float | None:
        """Return what is to be held against ``most``; ``None`` when it was not measured."""
        ours, other = row.cells.get(self.column), row.cells.get(self.of)
        if ours is None or not ours.values:
            return None
        if not self.of:
            return ours.value
        if self.of == "floor":
            return ours.ratio
        return ours.value / other.value if other is not None and other.values and other.value else None

    def is_broken(self, row: Row) -> bool:
        """Say whether it was measured, and is over the limit by more than the margin."""
        found = self.found(row)
        return found is not None and found > self.most * self.margin

    def reason(self, row: Row) -> str:
        """Return why it was not measured."""
        for column in filter(None, (self.column, self.of)):
            cell = row.cells.get(column)
            if cell is None or not cell.values:
                return f"{column}: {cell.absent if cell is not None else 'it was not compared'}"
        return f"{self.of} is 0"


def _receive(sizes: tuple[str, ...], times: float) -> Iterator[Limit]:
    for size in sizes:
        yield Limit(row=f"receive-{size}/wall", column="ours", most=1 / times, of="h11")


LIMITS: Final = (
    Limit(row="echo-100B/wall", column="ours", most=1.5),
    Limit(row="echo-100B/wall", column="asyncio", most=1.8),
    Limit(row="echo-100B/wall", column="uvloop", most=1.8),
    Limit(row="echo-100B/wall", column="trio", most=2.2),
    Limit(row="echo-1MB/wall", column="ours", most=1.15),
    Limit(row="echo-6MB/wall", column="ours", most=1.05),
    Limit(row="runtime-100B/wall", column="ours", most=1, of="awslambdaric"),
    Limit(row="stream-64B/wall", column="ours", most=1.2),
    Limit(row="stream-1KB/wall", column="ours", most=1.2),
    Limit(row="stream-16KB/wall", column="ours", most=1.1),
    Limit(row="stream-64KB/wall", column="ours", most=1.1),
    Limit(row="stream-1MB/wall", column="ours", most=1.1),
    Limit(row="together-64B/wall", column="ours", most=0.2),
    Limit(row="together-64B/wall", column="ours", most=_TOGETHER_S, of=""),
    Limit(row="calls-echo-100B/calls", column="ours", most=4, of="", margin=_ALLOCATOR),
    Limit(row="calls-echo-100B/calls", column="asyncio", most=6, of="", margin=_ALLOCATOR),
    Limit(row="calls-echo-1MB/calls", column="ours", most=5, of="", margin=_ALLOCATOR),
    *_receive(("64B",), 30),
    *_receive(("1KB",), 6),
    *_receive(("16KB", "64KB", "1MB"), 3),
    *_receive(("mixed",), 5),
    Limit(row="open-stream/wall", column="ours", most=2e-6, of=""),
    Limit(row="frame/wall", column="ours", most=0.2e-6, of=""),
    Limit(row="events-decode-64B/wall", column="ours", most=1 / 7, of="botocore"),
    Limit(row="events-decode-1KB/wall", column="ours", most=1 / 7, of="botocore"),
    Limit(row="events-decode-16KB/wall", column="ours", most=1 / 0.7, of="crc32"),
    Limit(row="import/wall", column="ours", most=0.5, of="h11"),
    Limit(row="import-role/wall", column="ours", most=0.5, of="h11"),
    Limit(row="run/wall", column="ours", most=0.008, of=""),
    Limit(row="memory-event/peak", column="ours", most=1.05, of="", margin=1),
    Limit(row="memory-stream/growth", column="ours", most=2 * 1024 * 1024, of="", margin=1),
)


def broken(report: Report) -> list[tuple[Limit, float]]:
    """Return the limits that this run is over, and by what."""
    rows = {row.key: row for row in report.rows}
    return [
        (limit, found)
        for limit in LIMITS
        if (row := rows.get(limit.row)) is not None and limit.is_broken(row) and (found := limit.found(row)) is not None
    ]


def faults(report: Report) -> list[str]:
    """Return what keeps a run from being good, a line each.

    A number is over its limit; or it was to be measured and was not, which proves nothing of it; or ours, or the floor,
    is here and did not do its work, held or not.
    """
    said = [
        f"{limit.column} at {limit.row}: {found:.3g}, held to {limit.most:.3g}{_of(limit)}"
        for limit, found in broken(report)
    ]
    rows = {row.key: row for row in report.rows}
    for limit in LIMITS:
        row = rows.get(limit.row)
        if row is not None and limit.found(row) is None:
            held = f"held to {limit.most:.3g}{_of(limit)}"
            said.append(f"{limit.column} at {limit.row}: {held}, not measured ({limit.reason(row)})")
    said += [
        f"{column} at {row.key}: it failed ({row.cells[column].absent})"
        for row in report.rows
        for column in ("floor", *OURS)
        if column in row.cells and row.cells[column].failed
    ]
    return said


def _of(limit: Limit) -> str:
    return f" of {limit.of}" if limit.of not in ("", "floor") else ""
