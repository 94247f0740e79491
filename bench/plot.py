"""The table as a picture: a group a work, a bar a client, from the floor up or down, on a logarithmic scale."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import Any, Final

from bench.columns import ALL, TITLES
from bench.results import Absent, Report, Row

__all__ = ["draw"]


#: In the order of the columns: ours in blues, the others apart from them and from each other.
_COLOURS: Final = (
    *("black", "#08519c", "#3182bd", "#6baed6", "#bdd7e7", "#e6550d", "#636363", "#bdbdbd", "#dadaeb"),
    *("#31a354", "#a1d99b", "#9e9ac8", "#fdae6b", "#969696"),
)


def draw(report: Report, path: Path) -> None:
    """Write the rows of the wall's time as SVG or PNG, as the name of the file says.

    Raises:
        Absent: matplotlib is not installed, or there is nothing to draw.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise Absent("matplotlib is not installed (python -m pip install '.[bench]')") from None
    sections: dict[str, list[Row]] = {}
    for row in report.rows:
        if row.metric == "wall" and any(cell.ratios for cell in row.cells.values()):
            sections.setdefault(row.section, []).append(row)
    if not sections:
        raise Absent("no row has a ratio to draw")
    most = max(len(rows) for rows in sections.values())
    figure = Figure(figsize=(4 + 1.6 * most, 2.8 * len(sections) + 1), layout="constrained")
    bars: dict[str, Any] = {}  # Any: a legend takes what it shows, which its types do not say
    for number, (section, rows) in enumerate(sections.items(), 1):
        axes = figure.add_subplot(len(sections), 1, number)
        columns = [
            column for column in ALL[1:] if any(column in row.cells and row.cells[column].ratios for row in rows)
        ]
        width = 0.8 / max(1, len(columns))
        for place, column in enumerate(columns):
            at, above = [], []
            for group, row in enumerate(rows):
                cell = row.cells.get(column)
                if cell is not None and cell.ratio is not None and cell.ratio > 0:
                    at.append(group + (place - len(columns) / 2) * width)
                    above.append(cell.ratio - 1)
            colour = _COLOURS[ALL.index(column)]
            bars[TITLES[column]] = axes.bar(at, above, width=width, bottom=1, align="edge", color=colour)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set_xticks(range(len(rows)), [fill(row.title, 24) for row in rows], fontsize=7)
        axes.set_title(section, fontsize=9, loc="left")
    figure.legend(list(bars.values()), list(bars), loc="outside lower center", ncols=len(ALL), fontsize=8)
    figure.suptitle(
        f"Times the floor, less is better. {report.date}, {report.machine['cpu']}, {report.machine['python']}",
        fontsize=9,
    )
    # Text stays text, which is small and can be read aloud; and the same results make the same file.
    with rc_context({"svg.fonttype": "none", "font.sans-serif": ["DejaVu Sans"], "svg.hashsalt": "bench"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
