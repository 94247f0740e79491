"""The bench as a program: what it prints, keeps, compares and writes. Never what it measures: times are no test's."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from bench.columns import TITLES
from bench.compare import compared
from bench.held import LIMITS, broken, faults
from bench.readme import BEGIN, END, split, write_into
from bench.results import Absent, Cell, Failed, Report, Row, load, save, spread
from bench.rounds import Pace, measured
from bench.table import markdown, plain
from bench.tools import Tools, cost_of, python
from bench.works import WORKS, Work, chosen
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
            assert cell.keys() == {"values", "ratios", "absent", "failed"}
            assert len(cell["values"]) == (0 if cell["absent"] else rounds)
            assert len(cell["ratios"]) in (0, rounds)
            assert not cell["failed"], cell["absent"]
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


def light(work: Work) -> Work:
    """Return a work without the peers that others of its kind are measured beside as well."""
    usual = ("floor", "ours") if work.kind == "calls" else ("floor", "ours", "asyncio")
    if work.kind == "codec" or (work.kind == "start" and work.cached) or "runtime" in work.key:
        return work
    return replace(work, columns=tuple(column for column in work.columns if column in usual))


@pytest.mark.parametrize("section", dict.fromkeys(work.section for work in WORKS))
def test_every_work_is_done(section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No row is broken: the floor and ours have values everywhere, and nobody who is here fails."""
    if not (shutil.which("cc") or shutil.which("gcc") or os.environ.get("CC")):
        missing("there is no C compiler on this machine")
    monkeypatch.setenv("GOPROXY", "off")
    works = tuple(light(work) for work in WORKS if work.section == section)
    rows = list(measured(works, Pace(rounds=1, seconds=0.01, launches=1), Tools(tmp_path)))
    assert [row.key for row in rows] == [f"{work.key}/{metric}" for work in works for metric in work.metrics]
    for row in rows:
        for column, cell in row.cells.items():
            assert not cell.failed, f"{column} at {row.key}: {cell.absent}"
            assert cell.values or column not in ("floor", "ours"), f"{column} at {row.key}: {cell.absent}"


def test_without_a_compiler_the_rest_is_measured(tmp_path: Path) -> None:
    """The reason stands in the table, what needs no server has its row, and what could not be held was not held."""
    words = ("--quick", "--only", "echo-100B", "--only", "prelude-encode")
    for gate, code in ((), 0), (("--gate",), 1):
        run = bench(*words, *gate, PATH=str(tmp_path), CC="")
        assert run.returncode == code, run.stderr
        assert "there is no C compiler (cc) on this machine" in run.stdout
        assert "prelude, encode" in run.stdout
        assert "! ours at echo-100B/wall: held to 1.5, not measured (ours: " in run.stdout


def test_a_client_that_fails_says_so_and_is_not_tried_again(tmp_path: Path) -> None:
    """Its last words are the reason; silence and chatter are no costs."""
    tries = tmp_path / "tries"
    failing = f"open({str(tries)!r}, 'a').write('x'); raise OSError('no such luck')"
    with pytest.raises(Failed, match="OSError: no such luck"):
        cost_of(python("-c", failing))
    assert tries.read_text() == "x"
    with pytest.raises(Failed, match="status 0"):
        cost_of(python("-c", "pass"))
    with pytest.raises(Failed, match="said 'hello' instead of what it cost"):
        cost_of(python("-c", "print('hello')"))


@pytest.mark.parametrize("fault", [Failed("it crashed"), Absent("it is not here")])
def test_who_has_no_value_says_whether_that_is_a_fault(
    fault: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash stands in the table as one, what is not here as absent; the others are measured all the same."""
    (work,) = chosen(["prelude-encode"])

    def cost(command: list[str]) -> dict[str, float]:
        if '"loop": "ours"' in command[-1]:
            raise fault
        return {"ops": 1, "wall": 1.0, "cpu": 1.0}

    monkeypatch.setattr("bench.rounds.cost_of", cost)
    (row,) = measured((work,), Pace(rounds=2), Tools(tmp_path))
    assert row.cells["floor"].values == [1.0, 1.0]
    assert row.cells["ours"] == Cell(absent=str(fault), failed=isinstance(fault, Failed))


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


def test_the_processor_is_shown_beside_the_clock() -> None:
    """In a row of its own, and in the README in the same cell."""
    both = report(row(2.0, 1.0), row(7.0, 1.0, metric="cpu"))
    assert "7.00x" in plain(both)
    assert "| Title, wall / CPU | 1 s / 1 s | 2.00x ! / 7.00x | - [1] | 1.50x, " in markdown(both)


def test_a_number_that_is_held_is_shown_and_broken_beyond_its_margin() -> None:
    """1.5 with a quarter on top: 1.8 is within, 2 is not."""
    within, beyond = report(row(1.8, 1.0)), report(row(2.0, 1.0))
    assert broken(within) == []
    assert [(limit.row, limit.column, found) for limit, found in broken(beyond)] == [("echo-100B/wall", "ours", 2.0)]
    assert "2.00x !" in markdown(beyond)
    assert "1.50x" in markdown(within)


def test_a_number_that_was_not_measured_is_not_held() -> None:
    """Neither ours nor what it is compared with may be missing from a row that was selected; the others are not."""
    whole = row(1.0, 1.0, key="import")
    assert [fault for fault in faults(report(whole)) if "h11" not in fault] == []
    for column in ("ours", "h11"):
        cells = {**whole.cells, "h11": Cell(values=[4.0]), column: Cell(absent="it is not here")}
        told = faults(report(replace(whole, cells=cells)))
        assert told == [f"ours at import/wall: held to 0.5 of h11, not measured ({column}: it is not here)"]
    assert faults(report(replace(whole, cells={**whole.cells, "h11": Cell(values=[4.0])}))) == []
    silent = {**whole.cells, "h11": Cell(values=[0.0])}
    assert faults(report(replace(whole, cells=silent))) == [
        "ours at import/wall: held to 0.5 of h11, not measured (h11 is 0)"
    ]


def test_ours_may_not_fail_where_nothing_is_held() -> None:
    """Nor may the floor; a peer may."""
    for column, told in (("ours", 1), ("asyncio", 1), ("floor", 1), ("httpx", 0)):
        whole = row(1.0, 1.0, key="prelude-encode")
        broke = replace(whole, cells={**whole.cells, column: Cell(absent="it crashed", failed=True)})
        assert len(faults(report(broke))) == told
        assert "failed [" in plain(report(broke))


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
    assert {work.key for work in chosen(["*-json"])} == {f"echo-{n}-json" for n in ("100B", "10KB", "1MB")}
    assert chosen([]) == WORKS
    assert len({work.key for work in WORKS}) == len(WORKS)


# -- the README's table


AMOUNT = r"-?[\d.]+(e[+-]?\d+)?( (s|ms|us|ns|MB))?"
RATIO = r"[\d.]+x"
CELL = re.compile(
    rf"|(- |failed )\[\d+\]|{AMOUNT}( \({RATIO}\))?( !)?|{RATIO}( !)?|{AMOUNT} / {AMOUNT}|{RATIO}( !)? / {RATIO}"
)
HEAD = re.compile(
    r"Measured \d{4}-\d\d-\d\d by `python -m bench( --rounds \d+)?` \(\d+ rounds\) on .+, \d+ cores, .+;"
    r" load [\d.]+\. System calls are counted .+\."
)


def whole_table() -> str:
    """Return a table of all works and everybody, as the bench writes it."""
    rows = [
        Row(
            work=work.key,
            metric=metric,
            section=work.section,
            title=work.title,
            unit=unit,
            absolute=work.absolute,
            cells={column: Cell(values=[1.0], ratios=[1.0]) for column in work.columns},
        )
        for work in WORKS
        for metric, unit in work.metrics.items()
    ]
    return markdown(report(*rows))


def skeleton(table: str) -> list[tuple[str, ...]]:
    """Return heads, titles and what ours is held to: what is the same whatever was measured."""
    lines = [
        line.strip("| ").split(" | ") for line in re.sub(r"\|  (?=\|)", "| . ", table).splitlines() if line[:1] == "|"
    ]
    return [tuple(cell for cell in line if cell == line[0] or not CELL.fullmatch(cell)) for line in lines]


def nonsense(table: str) -> str:
    """Return what about a table shows that the bench did not write it; nothing for one that was not filled yet."""
    if not table.strip():
        return ""
    first, *rest = table.strip().splitlines()
    if not HEAD.fullmatch(first):
        return f"it does not say when, how and on what it was measured: {first}"
    for found, known in zip(skeleton(table), skeleton(whole_table()), strict=False):
        if found != known:
            return f"expected {known}, got {found}"
    if len(skeleton(table)) != len(skeleton(whole_table())):
        return "a row is missing or too many"
    notes = [line.partition(". ")[0] for line in rest if line and line[0] != "|"]
    cited = set(re.findall(r" \[(\d+)\]", table))
    return "" if notes == [str(n + 1) for n in range(len(cited))] and set(notes) == cited else "notes do not fit"


def test_the_table_of_the_readme_is_one_that_the_bench_writes(tmp_path: Path) -> None:
    """It cannot be edited by hand into nonsense; and the command that fills it finds its place."""
    _, table, _ = split(ROOT / "README.md")
    assert nonsense(table) == ""
    copy = tmp_path / "README.md"
    shutil.copy(ROOT / "README.md", copy)
    write_into(copy, report(row(2.0, 1.0)))
    assert "| Title | 1 s | 2.00x ! |" in copy.read_text()


def test_nonsense_is_found() -> None:
    """A row, a title, a column, a cell, a limit, a date, a command that the bench would not write."""
    table = whole_table()
    assert nonsense(table) == ""
    assert nonsense("\n") == ""
    lines = table.splitlines()
    (title,) = [line for line in lines if line.startswith("| prelude, encode |")]
    edits = [
        (f"{title}\n", ""),
        ("| prelude, encode |", "| prelude, encoded |"),
        (f"| {TITLES['awslambdaric']} |", "| AWS |"),
        ("| prelude, encode | 1 s |", "| prelude, encode | fast |"),
        ("| 1.50x, 1.80x on asyncio", "| 1.60x, 1.80x on asyncio"),
        ("Measured 2026-01-01 ", "Measured lately "),
        ("`python -m bench`", "`python -m bench --quick`"),
        ("| prelude, encode | 1 s |", "| prelude, encode | - [1] |"),
    ]
    for old, new in edits:
        assert old in table
        assert nonsense(table.replace(old, new, 1)), new
