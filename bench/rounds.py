"""Interleaved rounds: client A, B, C, A, B, C ..., so that what else the machine does falls on all of them alike."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

from bench import columns
from bench.calls import calls_of
from bench.cold import Starts
from bench.results import Absent, Cell, Failed, Row
from bench.tools import Tools, cost_of, first_bytes, python
from bench.works import Work

__all__ = ["Pace", "measured"]

Sample = dict[str, float]
Sampler = Callable[[str], Sample]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How thoroughly is measured.

    Attributes:
        rounds: How often each client is started for each work.
        seconds: How long it then works.
        launches: How many fresh interpreters make one value of a cold start.
    """

    rounds: int = 7
    seconds: float = 0.15
    launches: int = 3


def measured(works: tuple[Work, ...], pace: Pace, tools: Tools) -> Iterator[Row]:
    """Yield the rows of each work as soon as it has been measured."""
    for number, work in enumerate(works, 1):
        sys.stderr.write(f"bench: {number}/{len(works)} {work.key}\n")
        yield from _rows(work, *_samples(work, pace, tools))


def _samples(work: Work, pace: Pace, tools: Tools) -> tuple[list[dict[str, Sample]], dict[str, Cell]]:
    """Return the samples of each round by column, and instead of samples the cell of each column that has none."""
    rounds: list[dict[str, Sample]] = []
    empty: dict[str, Cell] = {}
    try:
        with _sampler(work, pace, tools) as sample:
            for _ in range(1 if work.kind == "calls" else pace.rounds):  # what is counted needs no second time
                found: dict[str, Sample] = {}
                for column in work.columns:
                    if column not in empty:
                        try:
                            found[column] = sample(column)
                        except (Absent, Failed) as reason:
                            empty[column] = Cell(absent=str(reason), failed=isinstance(reason, Failed))
                rounds.append(found)
    except Absent as reason:  # of the server: nobody is measured
        empty = dict.fromkeys(work.columns, Cell(absent=str(reason)))
    return rounds, empty


def _rows(work: Work, rounds: list[dict[str, Sample]], empty: dict[str, Cell]) -> Iterator[Row]:
    for metric, unit in work.metrics.items():
        cells: dict[str, Cell] = {}
        for column in work.columns:
            if column in empty:
                cells[column] = empty[column]
                continue
            values = [found[column][metric] for found in rounds]
            floors = [found.get("floor", {}).get(metric, 0.0) for found in rounds]
            ratios = [value / floor for value, floor in zip(values, floors, strict=True) if floor > 0]
            if metric == "growth":
                ratios = []  # a few pages more or less than none are no ratio
            cells[column] = Cell(values=values, ratios=ratios)
        yield Row(
            work=work.key,
            metric=metric,
            section=work.section,
            title=work.title,
            unit=unit,
            absolute=work.absolute,
            cells=cells,
        )


# -- how each kind of work is sampled


@contextmanager
def _sampler(work: Work, pace: Pace, tools: Tools) -> Iterator[Sampler]:
    if work.kind == "codec":
        yield lambda column: _codec(work, column, pace)
    elif work.kind == "start":
        with Starts(work, pace.launches if work.cached else 1, tools) as starts:
            yield starts.sample
    else:
        with tools.serving(work.event, work.framing) as address:
            if work.kind == "calls":
                yield lambda column: calls_of(replace(work.job, address=address), column, tools)
            else:
                yield lambda column: _client(work, column, pace, tools, address)


def _client(work: Work, column: str, pace: Pace, tools: Tools, address: str) -> Sample:
    job = replace(work.job, address=address, seconds=pace.seconds)
    cost = cost_of(columns.command(column, job, tools), columns.more_environment(job))
    if job.measure != "time":
        return {name: value / work.per for name, value in cost.items()}
    each = cost["ops"] * work.per
    sample = {"wall": cost["wall"] / each, "cpu": cost["cpu"] / each}
    if "latency" in work.metrics:
        waited = sorted(first_bytes(address))
        sample["latency"] = waited[len(waited) // 2]
    return sample


def _codec(work: Work, column: str, pace: Pace) -> Sample:
    columns.require(column)
    told = json.dumps(asdict(replace(work.job, loop=column, seconds=pace.seconds)))
    cost = cost_of(python("-m", "bench.codecs", told))
    each = cost["ops"] * work.per
    return {"wall": cost["wall"] / each, "cpu": cost["cpu"] / each}
