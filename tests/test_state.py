"""The law: every cell of state x event, held against the list that is written out in ``spec/states.md``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TypeAlias, TypeVar, get_args

import pytest

from lambda_wire._events import Accepted, Ask, ConnectionClosed, Event, Invocation, PingAsked, Refused
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._routes import ROUTES
from lambda_wire._state import ATTEMPTS, LIFECYCLE, TURNS, Attempt, State, Table, Turn

SPEC = Path(__file__).resolve().parent.parent / "spec" / "states.md"
EVENTS: dict[str, type] = {event.__name__: event for event in get_args(Event)}
Rows: TypeAlias = Mapping[Enum, Mapping[type, Enum]]
Cells: TypeAlias = dict[tuple[str, str], str]
_S = TypeVar("_S", bound=Enum)
_CELL = re.compile(r"\| `(?P<state>\w+)` \| `(?P<event>\w+)` \| `(?P<becomes>\w+)` \| .*\|")


def rows_of(table: Table[_S]) -> Rows:
    """Return a table of one kind of state as one of any kind: a ``Mapping`` is not covariant in its keys."""
    return {state: dict[type, Enum](row) for state, row in table.items()}


MACHINES: dict[str, tuple[type[Enum], Rows]] = {
    "LIFECYCLE": (State, rows_of(LIFECYCLE)),
    "ATTEMPTS": (Attempt, rows_of(ATTEMPTS)),
    "TURNS": (Turn, rows_of(TURNS)),
}


def cells_in(text: str, machine: str) -> Cells:
    """Return the cells of one table of the specification.

    Raises:
        ValueError: A row is not a cell, or a cell is written twice.
    """
    section = re.search(rf"^## `{machine}`:.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if section is None:
        raise ValueError(f"no section for {machine}")
    cells: Cells = {}
    for row in [line for line in section[0].splitlines() if line.startswith("|")][2:]:
        cell = _CELL.fullmatch(row)
        if cell is None or (cell["state"], cell["event"]) in cells:
            raise ValueError(f"{machine}: not a new cell: {row}")
        cells[cell["state"], cell["event"]] = cell["becomes"]
    return cells


SPECIFIED = {machine: cells_in(SPEC.read_text(encoding="utf-8"), machine) for machine in MACHINES}


@pytest.mark.parametrize(
    ("machine", "state", "event"),
    [(machine, state, event) for machine, (states, _) in MACHINES.items() for state in states for event in EVENTS],
    ids=lambda part: part.name if isinstance(part, Enum) else str(part),
)
def test_every_cell_moves_as_specified_or_is_refused(machine: str, state: Enum, event: str) -> None:
    """The whole product of states and event classes: the table moves exactly where the specification lists a cell."""
    becomes = MACHINES[machine][1][state].get(EVENTS[event])
    assert (becomes and becomes.value) == SPECIFIED[machine].get((state.value, event))


@pytest.mark.parametrize("machine", MACHINES)
def test_the_specification_names_no_strangers(machine: str) -> None:
    """A cell whose state or event does not exist would be compared with nothing."""
    states = {state.value for state in MACHINES[machine][0]}
    for (state, event), becomes in SPECIFIED[machine].items():
        assert {state, becomes} <= states
        assert event in EVENTS


@pytest.mark.parametrize("machine", MACHINES)
def test_every_state_has_a_row_and_every_row_is_of_a_state(machine: str) -> None:
    """Code looks up without asking whether a state is there."""
    states, table = MACHINES[machine]
    assert set(table) == set(states)
    assert {type(becomes) for row in table.values() for becomes in row.values()} == {states}


@pytest.mark.parametrize(
    ("machine", "start", "beyond"),
    [
        ("LIFECYCLE", State.STARTED, set[Enum]()),
        ("ATTEMPTS", Attempt.RUNNING, {Attempt.EXPIRED}),  # time leads there, and time is no event of the wire
        ("TURNS", Turn.IDLE, set[Enum]()),
    ],
)
def test_every_state_is_reached_from_the_first(machine: str, start: Enum, beyond: set[Enum]) -> None:
    """A state that no event leads to is dead text."""
    states, table = MACHINES[machine]
    reached, waiting = {start}, [start]
    while waiting:
        fresh = set(table[waiting.pop()].values()) - reached
        reached |= fresh
        waiting += fresh
    assert reached == set(states) - beyond


def test_every_event_class_has_its_turn() -> None:
    """Whatever can be said on a connection is a row of ``TURNS``: no event class is forgotten."""
    assert {event for row in TURNS.values() for event in row} == set(EVENTS.values())


def test_what_may_be_asked_of_an_environment_may_begin_on_an_idle_connection() -> None:
    """The two judges agree on what a request is: the asks of the endpoints, and nothing else of the runtime's."""
    requests = {ask for route in ROUTES for ask in route.asks}
    asks = set(get_args(Ask))
    assert set(TURNS[Turn.IDLE]) & asks == requests
    assert {ask for row in LIFECYCLE.values() for ask in row} & asks == requests - {PingAsked}


@pytest.mark.parametrize("machine", ["LIFECYCLE", "ATTEMPTS"])
def test_what_holds_the_environment_may_end_in_every_way(machine: str) -> None:
    """What may be refused may lose its connection; where a report may be accepted, all three move to one place."""
    for row in MACHINES[machine][1].values():
        assert (Refused in row) is (ConnectionClosed in row)
        assert Accepted not in row or row[Accepted] is row[Refused] is row[ConnectionClosed]


def test_an_invocation_is_handed_out_only_to_who_may_poll() -> None:
    """``Invocation`` answers a poll, so its states are ones that a poll leads to."""
    polled = {becomes for row in LIFECYCLE.values() for event, becomes in row.items() if event.__name__ == "NextAsked"}
    assert {state for state, row in LIFECYCLE.items() if Invocation in row} == polled


def test_the_first_states_are_those_of_the_specification() -> None:
    """``It begins in`` is part of the law."""
    text = SPEC.read_text(encoding="utf-8")
    assert re.findall(r"begins in `(\w+)`", text) == [State.STARTED.value, Attempt.RUNNING.value, Turn.IDLE.value]
    assert StandardLifecycle().state is State.STARTED


@pytest.mark.parametrize(
    "text",
    [
        "## `OTHER`: no such table\n",
        "## `TURNS`: a row that is no cell\n| a | b | c |\n| - | - | - |\n| `IDLE` | Pong | `IDLE` | |\n",
        "## `TURNS`: twice\n| a |\n| - |\n| `IDLE` | `Pong` | `IDLE` | |\n| `IDLE` | `Pong` | `CUT` | |\n",
    ],
)
def test_the_reader_of_the_specification_can_fail(text: str) -> None:
    """A row that is skipped in silence would be a cell that nobody compares."""
    with pytest.raises(ValueError, match="TURNS"):
        cells_in(text, "TURNS")
