"""The two answers of ``next_event()`` that are not events."""

from __future__ import annotations

from enum import Enum
from typing import Literal

import pytest

from lambda_wire._signals import NEED_DATA, PAUSED, Role, Signal


def test_the_names_are_the_members() -> None:
    """They are compared with ``is``, and survive the ways on which objects travel."""
    assert NEED_DATA is Signal.NEED_DATA
    assert PAUSED is Signal.PAUSED
    assert list(Signal) == [NEED_DATA, PAUSED]


@pytest.mark.parametrize("kind", [Signal, Role])
def test_a_value_is_its_name(kind: type[Enum]) -> None:
    """What is printed of a member can be looked up again."""
    assert all(kind(member.name) is member for member in kind)


def described(answer: bytes | Literal[Signal.NEED_DATA, Signal.PAUSED]) -> str:
    if answer is NEED_DATA:
        return "waits"
    if answer is PAUSED:
        return "holds back"
    return f"said {answer.decode()}"  # only bytes are left


@pytest.mark.parametrize(("answer", "meaning"), [(NEED_DATA, "waits"), (PAUSED, "holds back"), (b"it", "said it")])
def test_a_signal_narrows(answer: bytes | Signal, meaning: str) -> None:
    """A type checker sees what is left after each ``is``; at run time no event is ever mistaken for a signal."""
    assert described(answer) == meaning


def test_there_are_two_ends() -> None:
    """One reads what the other writes."""
    assert [role.name for role in Role] == ["CLIENT", "SERVER"]
