"""The table in a README, between two markers."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bench.results import Report
from bench.table import markdown

__all__ = ["BEGIN", "END", "split", "write_into"]

BEGIN: Final = "<!-- bench: begin -->"
END: Final = "<!-- bench: end -->"


def split(path: Path) -> tuple[str, str, str]:
    """Return what stands before, between and after the markers of a file.

    Raises:
        ValueError: The file does not have each marker once, in order.
    """
    text = path.read_text(encoding="utf-8")
    before, begun, rest = text.partition(BEGIN)
    old, ended, after = rest.partition(END)
    if not begun or not ended or BEGIN in old + after or END in before + after:
        raise ValueError(f"{path} must have the markers {BEGIN} and {END}, once each, in this order")
    return before, old, after


def write_into(path: Path, report: Report) -> None:
    """Replace what stands between the markers of a file.

    Raises:
        ValueError: The file does not have each marker once, in order.
    """
    before, _old, after = split(path)
    path.write_text(f"{before}{BEGIN}\n{markdown(report)}{END}{after}", encoding="utf-8")
