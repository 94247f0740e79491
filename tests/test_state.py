"""The law: every cell of state x event and turn x act, held against the list that ``spec/states.md`` writes out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TypeAlias, TypeVar, get_args

import pytest

from lambda_wire._events import Ask, Event, Invocation, NextAsked, PingAsked
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._routes import ROUTES
from lambda_wire._state import ATTEMPTS, LIFECYCLE, TURNS, Act, Attempt, State, Table, Turn

SPEC = Path(__file__).resolve().parent.parent / "spec" / "states.md"
EVENTS = {event.__name__ for event in get_args(Event)}
ACTS = {act.name for act in Act}
Rows: TypeAlias = Mapping[Enum, Mapping[str, Enum]]
Cells: TypeAlias = dict[tuple[str, str], str]
_S = TypeVar("_S", bound=Enum)
_CELL = re.compile(r"\| `(?P<state>\w+)` \| `(?P<event>\w+)` \| `(?P<becomes>\w+)` \| .*\|")


def rows_of(table: Table[_S]) -> Rows:
    """Return a table of events as one of their names."""
    return {state: {event.__name__: becomes for event, becomes in row.items()} for state, row in table.items()}


#: The states of each table, what can happen in them, and the table.
MACHINES: dict[str, tuple[type[Enum], set[str], Rows]] = {
    "LIFECYCLE": (State, EVENTS, rows_of(LIFECYCLE)),
    "ATTEMPTS": (Attempt, EVENTS, rows_of(ATTEMPTS)),
    "TURNS": (Turn, ACTS, {turn: {act.name: becomes for act, becomes in row.items()} for turn, row in TURNS.items()}),
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
    [
        (machine, state, event)
        for machine, (states, events, _) in MACHINES.items()
        for state in states
        for event in sorted(events)
    ],
    ids=lambda part: part.name if isinstance(part, Enum) else str(part),
)
def test_every_cell_moves_as_specified_or_is_refused(machine: str, state: Enum, event: str) -> None:
    """The whole product of states and what can happen: the table moves exactly where the specification lists a cell."""
    becomes = MACHINES[machine][2][state].get(event)
    assert (becomes and becomes.value) == SPECIFIED[machine].get((state.value, event))


@pytest.mark.parametrize("machine", MACHINES)
def test_the_specification_names_no_strangers(machine: str) -> None:
    """A cell whose state or event does not exist would be compared with nothing."""
    states = {state.value for state in MACHINES[machine][0]}
    for (state, event), becomes in SPECIFIED[machine].items():
        assert {state, becomes} <= states
        assert event in MACHINES[machine][1]


@pytest.mark.parametrize("machine", MACHINES)
def test_every_state_has_a_row_and_every_row_is_of_a_state(machine: str) -> None:
    """Code looks up without asking whether a state is there."""
    states, _, table = MACHINES[machine]
    assert set(table) == set(states)
    assert {type(becomes) for row in table.values() for becomes in row.values()} == {states}


def reached_from(start: Enum, table: Rows) -> set[Enum]:
    """Return every state that the table leads to from ``start``, and ``start``."""
    reached, waiting = {start}, [start]
    while waiting:
        fresh = set(table[waiting.pop()].values()) - reached
        reached |= fresh
        waiting += fresh
    return reached


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
    states, _, table = MACHINES[machine]
    assert reached_from(start, table) == set(states) - beyond


def test_every_act_has_its_turn() -> None:
    """An act that is legal nowhere is dead text, and a name that differs from its value would not be looked up."""
    assert {act for row in TURNS.values() for act in row} == set(Act)
    assert {act.value for act in Act} == ACTS


def test_what_may_be_asked_of_an_environment() -> None:
    """The requests of the endpoints, and nothing else that a runtime says; a ping asks nothing of it."""
    requests = {ask for route in ROUTES for ask in route.asks}
    assert {ask for row in LIFECYCLE.values() for ask in row} & set(get_args(Ask)) == requests - {PingAsked}


def test_a_connection_may_end_anywhere() -> None:
    """And it stays closed."""
    assert {row[Act.CONNECTION_CLOSED] for row in TURNS.values()} == {Turn.CLOSED}
    assert set(TURNS[Turn.CLOSED]) == {Act.CONNECTION_CLOSED}


def test_an_answer_that_began_is_ended_or_lost() -> None:
    """Wherever a part of an answer may come its end may, and no second answer begins there."""
    starts = {Act.ANSWER_STARTED, Act.LAST_ANSWER_STARTED}
    begun = {becomes for row in TURNS.values() for act, becomes in row.items() if act in starts}
    assert begun == {turn for turn, row in TURNS.items() if Act.ANSWER_PART in row}
    assert begun == {turn for turn, row in TURNS.items() if Act.ANSWER_ENDED in row}
    assert begun == {turn for turn, row in TURNS.items() if starts & set(row) == set()} - {Turn.CUT, Turn.CLOSED}
    assert all((Act.ANSWER_STARTED in row) is (Act.LAST_ANSWER_STARTED in row) for row in TURNS.values())


def test_after_the_last_answer_no_request_follows() -> None:
    """From where an answer is the last, no way leads back."""
    for last in (Turn.OVERTAKEN, Turn.LAST_ANSWER, Turn.CUT, Turn.CLOSED):
        assert Turn.IDLE not in reached_from(last, MACHINES["TURNS"][2])


@pytest.mark.parametrize("machine", ["LIFECYCLE", "ATTEMPTS"])
def test_what_holds_the_environment_may_end_in_every_way(machine: str) -> None:
    """What may be refused may lose its connection; where a report may be accepted, all three move to one place."""
    for row in MACHINES[machine][2].values():
        assert ("Refused" in row) is ("ConnectionClosed" in row)
        assert "Accepted" not in row or row["Accepted"] is row["Refused"] is row["ConnectionClosed"]


def test_an_invocation_is_handed_out_only_to_who_may_poll() -> None:
    """``Invocation`` answers a poll, so its states are ones that a poll leads to."""
    polled = {row[NextAsked] for row in LIFECYCLE.values() if NextAsked in row}
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
        "## `TURNS`: a row that is no cell\n| a | b | c |\n| - | - | - |\n| `IDLE` | INTERIM | `IDLE` | |\n",
        "## `TURNS`: twice\n| a |\n| - |\n| `IDLE` | `INTERIM` | `IDLE` | |\n| `IDLE` | `INTERIM` | `CUT` | |\n",
    ],
)
def test_the_reader_of_the_specification_can_fail(text: str) -> None:
    """A row that is skipped in silence would be a cell that nobody compares."""
    with pytest.raises(ValueError, match="TURNS"):
        cells_in(text, "TURNS")
