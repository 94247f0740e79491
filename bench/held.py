"""Numbers to hold: what ours must stay below, each as a ratio to a floor of the same run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bench.results import Report, Row

__all__ = ["LIMITS", "MARGIN", "Limit", "broken"]

#: A machine that is doing other things may be so much over a limit of time. What is counted has no margin.
MARGIN: Final = 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One number to hold.

    Attributes:
        row: Key of the row.
        column: Whose cell.
        most: The largest value.
        of: What the cell is divided by: another column; ``""`` for nothing.
        exact: Whether it has no margin.
    """

    row: str
    column: str
    most: float
    of: str = "floor"
    exact: bool = False

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
        return found is not None and found > self.most * (1.0 if self.exact else MARGIN)


def _receive(sizes: tuple[str, ...], times: float) -> Iterator[Limit]:
    for size in sizes:
        yield Limit(row=f"receive-{size}/wall", column="ours", most=1 / times, of="h11")


LIMITS: Final = (
    Limit(row="echo-100B/wall", column="ours", most=1.5),
    Limit(row="echo-100B/wall", column="asyncio", most=1.8),
    Limit(row="echo-100B/wall", column="uvloop", most=1.8),
    Limit(row="echo-100B/wall", column="trio", most=2.2),
    Limit(row="echo-1MB/wall", column="ours", most=1.15),
    Limit(row="echo-6MB/wall", column="ours", most=1.15),
    Limit(row="stream-16KB/wall", column="ours", most=1.1),
    Limit(row="stream-64KB/wall", column="ours", most=1.1),
    Limit(row="stream-1MB/wall", column="ours", most=1.1),
    Limit(row="together-64B/wall", column="ours", most=0.2),
    *_receive(("1KB",), 6),
    Limit(row="import/wall", column="ours", most=0.5, of="h11"),
    Limit(row="run/wall", column="ours", most=0.008, of=""),
    Limit(row="memory-event/peak", column="ours", most=1.05, of="", exact=True),
    Limit(row="memory-stream/growth", column="ours", most=2 * 1024 * 1024, of="", exact=True),
)


def broken(report: Report) -> list[tuple[Limit, float]]:
    """Return the limits that this run is over, and by what."""
    rows = {row.key: row for row in report.rows}
    return [
        (limit, found)
        for limit in LIMITS
        if (row := rows.get(limit.row)) is not None and limit.is_broken(row) and (found := limit.found(row)) is not None
    ]
