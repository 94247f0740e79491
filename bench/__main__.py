"""``python -m bench``: what lambda_wire costs beside its peers, as ratios to a floor of the same run."""

from __future__ import annotations

import argparse
import datetime
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.compare import compared
from bench.held import faults
from bench.machine import described
from bench.plot import draw
from bench.readme import split, write_into
from bench.results import Absent, Report, load, save
from bench.rounds import Pace, measured
from bench.table import plain
from bench.tools import Tools
from bench.works import WORKS, chosen


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure lambda_wire beside its peers: ratios to a floor of blocking sockets and hard-coded bytes.",
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="PATTERN", help="works that begin so; see --list"
    )
    parser.add_argument("--list", action="store_true", help="name the works, and measure nothing")
    parser.add_argument("--rounds", type=_positive, metavar="N", help="how often each client is started (7)")
    parser.add_argument("--quick", action="store_true", help="one short round: shows that all works, measures nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep what was measured")
    parser.add_argument("--compare", type=Path, metavar="OLD.json", help="show what changed since an older --json")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw it, as SVG or PNG (needs matplotlib)")
    parser.add_argument(
        "--readme", type=Path, metavar="README.md", help="write the table between the markers of a file"
    )
    parser.add_argument("--gate", action="store_true", help="exit with 1 when a number is not held, or not measured")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("expected 1 or more")
    return number


def _command(options: argparse.Namespace) -> str:
    """Return what measures the same again; where the results went is nobody else's matter."""
    words = ["--quick"] if options.quick else []
    words += ["--rounds", str(options.rounds)] if options.rounds else []
    words += [word for pattern in options.only for word in ("--only", pattern)]
    return shlex.join(["python", "-m", "bench", *words])


def main(arguments: Sequence[str]) -> int:
    """Measure, print the table, and write what was asked for; return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    works = chosen(options.only)
    if options.list:
        sys.stdout.write("".join(f"{work.key}\n" for work in works))
        return 0
    if not works:
        parser.error(f"no work begins with {' or '.join(options.only)}; the works: {' '.join(w.key for w in WORKS)}")
    try:  # before minutes of measuring, and not after them
        old = None if options.compare is None else load(options.compare)
        if options.readme is not None:
            split(options.readme)
    except (OSError, ValueError, KeyError, TypeError) as fault:
        parser.error(str(fault))
    pace = Pace(rounds=1, seconds=0.01, launches=1) if options.quick else Pace()
    pace = pace if options.rounds is None else Pace(rounds=options.rounds, seconds=pace.seconds, launches=pace.launches)
    machine = described()
    with tempfile.TemporaryDirectory() as room:
        rows = list(measured(works, pace, Tools(Path(room))))
    report = Report(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        machine=machine,
        command=_command(options),
        rounds=pace.rounds,
        rows=rows,
    )
    sys.stdout.write(plain(report))
    if options.json is not None:
        save(report, options.json)
    if old is not None:
        sys.stdout.write("\n" + compared(old, report))
    try:
        if options.plot is not None:
            draw(report, options.plot)
        if options.readme is not None:
            write_into(options.readme, report)
    except (Absent, OSError, ValueError) as fault:
        sys.stderr.write(f"bench: {fault}\n")
        return 1
    return 1 if options.gate and faults(report) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
