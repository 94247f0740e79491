"""Ours now against ours in an older run: ratios to the floor, since the machine may have been another."""

from __future__ import annotations

from bench.columns import OURS, TITLES
from bench.results import Cell, Report, spread

__all__ = ["compared"]


def compared(old: Report, new: Report) -> str:
    """Return a table of what changed; a star marks changes that are larger than both spreads together."""
    before = {row.key: row for row in old.rows}
    lines = [f"against {old.date} ({old.machine.get('cpu', '')}, {old.machine.get('python', '')})"]
    for row in new.rows:
        if row.key not in before:
            continue
        for column in OURS:
            was, now = before[row.key].cells.get(column), row.cells.get(column)
            if was is None or now is None or was.absent or now.absent:
                continue
            lines.append(f"  {row.key:<32} {TITLES[column]:<12} {_change(was, now)}")
    if len(lines) == 1:
        lines.append("  no row is in both")
    return "\n".join(lines) + "\n"


def _change(was: Cell, now: Cell) -> str:
    """Say what changed: in ratios where both have them, else in values."""
    pair = (was.ratios, now.ratios) if was.ratios and now.ratios else (was.values, now.values)
    one, other = (was.ratio, now.ratio) if was.ratios and now.ratios else (was.value, now.value)
    assert one is not None
    assert other is not None
    change = f"{100 * (other - one) / abs(one):+.0f}%" if one else "new" if other else "same"
    star = " *" if abs(other - one) > spread(pair[0]) + spread(pair[1]) else ""
    return f"{one:>10.3g} -> {other:<10.3g} {change:>6}{star}"
