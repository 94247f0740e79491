"""The law: what must hold of its tables, and that ``spec/states.md`` shows them as they are."""

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
from tests import draw_states

EVENTS = {event.__name__ for event in get_args(Event)}
ACTS = {act.name for act in Act}
Rows: TypeAlias = Mapping[Enum, Mapping[str, Enum]]
_S = TypeVar("_S", bound=Enum)


def rows_of(table: Table[_S]) -> Rows:
    """Return a table of events as one of their names."""
    return {state: {event.__name__: becomes for event, becomes in row.items()} for state, row in table.items()}


#: The states of each table, what can happen in them, and the table.
MACHINES: dict[str, tuple[type[Enum], set[str], Rows]] = {
    "LIFECYCLE": (State, EVENTS, rows_of(LIFECYCLE)),
    "ATTEMPTS": (Attempt, EVENTS, rows_of(ATTEMPTS)),
    "TURNS": (Turn, ACTS, {turn: {act.name: becomes for act, becomes in row.items()} for turn, row in TURNS.items()}),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_every_state_has_a_row_and_every_row_is_of_a_state(machine: str) -> None:
    """Code looks up without asking whether a state is there; no row is of what never happens."""
    states, happens, table = MACHINES[machine]
    assert set(table) == set(states)
    assert {event for row in table.values() for event in row} <= happens
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
    first = [State.STARTED, Attempt.RUNNING, Turn.IDLE]
    text = draw_states.PAGE.read_text(encoding="utf-8")
    assert re.findall(r"begins in `(\w+)`", text) == re.findall(r"\[\*\] --> (\w+)", text) == [s.value for s in first]
    assert StandardLifecycle().state is State.STARTED


def test_the_page_is_drawn_from_the_tables() -> None:
    """``spec/states.md`` lists every cell that moves and no other, as a diagram and as a table."""
    assert draw_states.main(["--check"]) is None


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("| `Running` | `Invocation` | `Running` | that event |\n", ""),
        ("| `Running` | `Invocation` | `Running` |", "| `Running` | `Invocation` | `Ready` |"),
        ("| `Running` | `Invocation` | `Running` |", "| `Running` | `Accepted` | `Running` |"),
        ("| `CUT` | `CONNECTION_CLOSED`", "| `CUT` | `REQUEST_STARTED` | `IDLE` | |\n| `CUT` | `CONNECTION_CLOSED`"),
        ("| `GET /2018-06-01/ping` | `PingAsked` | `Pong`, `Refused` |\n", ""),
        ("| `NextAsked` | `next` | runtime |", "| `NextAsked` | `next` | service |"),
        ("    any --> CLOSED: CONNECTION_CLOSED\n", ""),
        ("    Ready --> Running: Invocation\n", "    Ready --> Started: Invocation\n"),
    ],
)
def test_a_page_that_says_something_else_is_found_and_mended(
    right: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check can fail; drawing puts the cell back, and the reasons of the others stay."""
    text = draw_states.PAGE.read_text(encoding="utf-8")
    assert text.count(right) == 1
    monkeypatch.setattr(draw_states, "PAGE", tmp_path / "states.md")
    draw_states.PAGE.write_text(text.replace(right, wrong), encoding="utf-8")
    assert draw_states.main(["--check"])
    assert draw_states.main([]) is None
    assert draw_states.main(["--check"]) is None
    mended = draw_states.PAGE.read_text(encoding="utf-8")
    assert set(text.splitlines()) - set(mended.splitlines()) <= {
        "| `Running` | `Invocation` | `Running` | that event |"
    }


def test_every_event_of_the_wire_is_told() -> None:
    """Its name here, its name in the vectors, who says it, and what it is."""
    row = re.compile(r"^\| `(\w+)` \| `[\w/-]+` \| (?:runtime|service|either) \| [^|]*\w[^|]* \|$", re.MULTILINE)
    told = row.findall(draw_states.PAGE.read_text(encoding="utf-8"))
    assert sorted(told) == sorted(EVENTS - {"Violation"})  # which is a verdict, and nothing that anybody sends


@pytest.mark.parametrize("name", ["ROUTES", "LIFECYCLE", "ATTEMPTS", "TURNS"])
def test_a_table_without_its_place_is_found(name: str) -> None:
    """Else it would be drawn nowhere, and nobody would know."""
    text = draw_states.PAGE.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=name):
        draw_states.draw(text.replace(f"<!-- end of {name} -->\n", ""))
