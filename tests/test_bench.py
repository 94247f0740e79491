"""The bench as a program: what it prints, keeps, compares and writes. Never what it measures: times are no test's."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from bench.compare import compared
from bench.held import LIMITS, broken
from bench.readme import BEGIN, END, write_into
from bench.results import Cell, Report, Row, load, save, spread
from bench.table import markdown, plain
from bench.works import WORKS, chosen
from tests.real_parts import missing

ROOT = Path(__file__).resolve().parent.parent
MACHINE = {"cpu": "cpu", "cores": "2", "os": "os", "python": "python", "load": "0.0", "calls": "by hand", "peers": ""}


def bench(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the bench to its end. Its client in Go is built from what Go has already, or not at all."""
    return subprocess.run(
        [sys.executable, "-m", "bench", *words],
        cwd=ROOT,
        env={**os.environ, "GOPROXY": "off", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def row(ours: float, floor: float, *, key: str = "echo-100B", metric: str = "wall", unit: str = "s") -> Row:
    """Return a row of three rounds that were all alike."""
    cells = {
        "floor": Cell(values=[floor] * 3, ratios=[1.0] * 3),
        "ours": Cell(values=[ours] * 3, ratios=[ours / floor] * 3),
        "trio": Cell(absent="trio is not installed"),
    }
    return Row(work=key, metric=metric, section="Section", title="Title", unit=unit, absolute=False, cells=cells)


def report(*rows: Row) -> Report:
    """Return a report of these rows."""
    return Report(date="2026-01-01", machine=MACHINE, command="python -m bench", rounds=3, rows=list(rows))


def require_cells(found: dict[str, Any], rounds: int) -> None:
    """Require that every cell has a finite value a round, or a reason for having none."""
    for row in found["rows"]:
        assert row.keys() == {"work", "metric", "section", "title", "unit", "absolute", "cells"}
        for cell in row["cells"].values():
            assert cell.keys() == {"values", "ratios", "absent"}
            assert len(cell["values"]) == (0 if cell["absent"] else rounds)
            assert len(cell["ratios"]) in (0, rounds)
            assert all(math.isfinite(value) for value in cell["values"] + cell["ratios"])


# -- the whole program


def test_a_run_is_printed_kept_compared_and_written(tmp_path: Path) -> None:
    """One cheap subset through every output: the table, the JSON, the comparison with itself, the README."""
    kept, readme = tmp_path / "kept.json", tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    run = bench("--quick", "--only", "prelude", "--only", "trailers-decode", "--json", str(kept))
    assert run.returncode == 0, run.stderr
    found = json.loads(kept.read_text())
    assert found["format"] == 1
    assert found["rounds"] == 1
    assert found["command"].startswith("python -m bench --quick")
    assert [row["work"] for row in found["rows"]] == ["prelude-encode", "prelude-decode", "trailers-decode"]
    assert all(row["cells"].keys() == {"floor", "ours"} for row in found["rows"])
    assert all(cell["values"] for row in found["rows"] for cell in row["cells"].values())
    require_cells(found, 1)
    assert "prelude, encode" in run.stdout
    again = bench("--quick", "--only", "prelude-encode", "--compare", str(kept), "--readme", str(readme))
    assert again.returncode == 0, again.stderr
    assert "prelude-encode/wall" in again.stdout.partition("against ")[2]
    before, _, rest = readme.read_text().partition(BEGIN)
    table, _, after = rest.partition(END)
    assert (before, after) == ("before\n", "\nafter\n")
    assert "| prelude, encode | " in table
    assert "old" not in table


def test_every_client_does_every_work(tmp_path: Path) -> None:
    """What is installed is measured; what is not says why. Two rounds, so that the ratios are of the same round."""
    if not (shutil.which("cc") or shutil.which("gcc") or os.environ.get("CC")):
        missing("there is no C compiler on this machine")
    kept = tmp_path / "kept.json"
    works = ("echo-100B", "stream-1KB", "together", "first")
    words = [word for work in works for word in ("--only", work)]
    run = bench("--quick", *words, "--rounds", "2", "--json", str(kept))
    assert run.returncode == 0, run.stderr
    found = json.loads(kept.read_text())
    require_cells(found, 2)
    assert {row["work"] for row in found["rows"]} >= {"echo-100B", "echo-100B-json", "stream-1KB", "together-64B"}
    for row in found["rows"]:
        for column in ("floor", "ours", "asyncio"):
            assert row["cells"][column]["values"], f"{column} at {row['work']}: {row['cells'][column]['absent']}"
        for column in ("uvloop", "trio", "h11", "httpx"):
            absent = row["cells"][column]["absent"]
            assert find_spec(column) is None or not absent or "together" in absent, absent
        assert all(value > 0 for value in row["cells"]["ours"]["values"])


def test_without_a_compiler_the_rest_is_measured(tmp_path: Path) -> None:
    """The reason stands in the table, and what needs no server has its row."""
    run = bench("--quick", "--only", "echo-100B", "--only", "prelude-encode", PATH=str(tmp_path), CC="")
    assert run.returncode == 0, run.stderr
    assert "there is no C compiler (cc) on this machine" in run.stdout
    assert "prelude, encode" in run.stdout


def test_what_it_does_not_know_is_refused(tmp_path: Path) -> None:
    """A pattern that selects nothing, and a file that is no report: usage, before anything is measured."""
    (tmp_path / "no.json").write_text('{"format": 0}')
    for words in (("--only", "nothing"), ("--compare", str(tmp_path / "no.json"), "--only", "prelude")):
        run = bench(*words)
        assert run.returncode == 2
        assert "error: " in run.stderr


# -- its parts


def test_a_report_survives_its_file(tmp_path: Path) -> None:
    """What ``load`` reads is what ``save`` was given."""
    kept = report(row(2.0, 1.0), row(4.0, 1.0, key="first"))
    save(kept, tmp_path / "kept.json")
    assert load(tmp_path / "kept.json") == kept


def test_a_cell_is_a_ratio_with_its_reason_when_absent() -> None:
    """Terminal and README alike: the floor in its unit, ours as a ratio, the absent as a note."""
    shown = report(row(3e-5, 2e-5, key="first"))
    for text in (plain(shown), markdown(shown)):
        assert "20 us" in text
        assert "1.50x" in text
        assert "- [1]" in text
    assert "[1] trio is not installed" in plain(shown)
    assert "1. trio is not installed" in markdown(shown)


def test_the_readme_has_no_time_of_the_processor() -> None:
    """It tells the same story twice."""
    both = report(row(2.0, 1.0), row(7.0, 1.0, metric="cpu"))
    assert "7.00x" in plain(both)
    assert "7.00x" not in markdown(both)


def test_a_number_that_is_held_is_shown_and_broken_beyond_its_margin() -> None:
    """1.5 with a quarter on top: 1.8 is within, 2 is not."""
    within, beyond = report(row(1.8, 1.0)), report(row(2.0, 1.0))
    assert broken(within) == []
    assert [(limit.row, limit.column, found) for limit, found in broken(beyond)] == [("echo-100B/wall", "ours", 2.0)]
    assert "2.00x !" in markdown(beyond)
    assert "1.50x" in markdown(within)


def test_every_number_that_is_held_belongs_to_a_row() -> None:
    """A limit whose row was renamed would hold nothing."""
    rows = {f"{work.key}/{metric}": work.columns for work in WORKS for metric in work.metrics}
    for limit in LIMITS:
        assert limit.column in rows[limit.row]
        assert limit.of in ("", *rows[limit.row])


def test_a_change_beyond_both_spreads_is_marked() -> None:
    """Rounds that were all alike have no spread: any change is one."""
    changed = compared(report(row(1.0, 1.0)), report(row(2.0, 1.0)))
    assert "+100% *" in changed
    assert "*" not in compared(report(row(1.0, 1.0)), report(row(1.0, 1.0)))
    assert "no row is in both" in compared(report(row(1.0, 1.0, key="first")), report(row(1.0, 1.0)))


def test_half_of_all_rounds_are_within_the_spread() -> None:
    """Half the interquartile range; a single round has none."""
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == 1.0
    assert spread([1.0]) == 0.0


def test_a_readme_without_its_markers_is_left_alone(tmp_path: Path) -> None:
    """Each once, in order; else nothing is written."""
    readme = tmp_path / "README.md"
    for text in ("", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"):
        readme.write_text(text)
        with pytest.raises(ValueError, match="must have the markers"):
            write_into(readme, report(row(2.0, 1.0)))
        assert readme.read_text() == text


def test_works_are_chosen_by_how_they_begin() -> None:
    """Patterns select by prefix, with wildcards; none selects all; no two works share a key."""
    assert [work.key for work in chosen(["echo-1MB"])] == ["echo-1MB", "echo-1MB-chunked", "echo-1MB-json"]
    assert {work.key for work in chosen(["*-json"])} == {f"echo-{n}-json" for n in ("100B", "10KB", "1MB", "6MB")}
    assert chosen([]) == WORKS
    assert len({work.key for work in WORKS}) == len(WORKS)
