"""Draws the law in ``spec/states.md``: ``python -m tests.draw_states``; ``--check`` says whether it is drawn.

Each marked place of the page gets a diagram and a table of what ``lambda_wire/_state.py`` holds as data, and the first
one what its events are on the wire, from ``_routes.py``, and in the vectors. The last column says why a cell of the law
is as it is, or what an event is. It is prose: written by hand, in the page, and kept with its row.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias, TypeVar, get_args

from lambda_wire._events import Answer, ConnectionClosed
from lambda_wire._routes import ROUTES
from lambda_wire._state import ATTEMPTS, LIFECYCLE, TURNS, Act
from tests.vector_events import RUNTIME_API

__all__ = ["PAGE", "draw", "main"]

PAGE: Final = Path(__file__).resolve().parent.parent / "spec" / "states.md"

Law: TypeAlias = Mapping[str, Mapping[str, str]]
Reasons: TypeAlias = Mapping[tuple[str, str], str]
_S = TypeVar("_S", bound=Enum)
_E = TypeVar("_E", type, Act)

_PLACE: Final = re.compile(
    r"(?P<start><!-- (?P<name>\w+): drawn by tests/draw_states\.py -->\n)(?P<old>.*?)(?=<!-- end of (?P=name) -->\n)",
    re.DOTALL,
)
_CELL: Final = re.compile(
    r"^\| `(?P<state>\w+)` \| `(?P<event>[\w/-]+)` \| (?:`\w+`|\w+) \|(?P<why> .*)\|$", re.MULTILINE
)


def _by_name(table: Mapping[_S, Mapping[_E, _S]]) -> Law:
    return {
        state.value: {event.__name__ if isinstance(event, type) else event.name: to.value for event, to in row.items()}
        for state, row in table.items()
    }


def draw(text: str) -> str:
    """Return the page with its marked places filled anew.

    Raises:
        ValueError: A table has no place in the page, or two.
    """
    names = [place["name"] for place in _PLACE.finditer(text)]
    if names != list(_PLACES):
        raise ValueError(f"expected places for {', '.join(_PLACES)}, found {', '.join(names)}")
    return _PLACE.sub(_filled, text)


def _filled(place: re.Match[str]) -> str:
    reasons = {(cell["state"], cell["event"]): cell["why"] for cell in _CELL.finditer(place["old"])}
    return place["start"] + "\n".join(["", *_PLACES[place["name"]](reasons), "", ""])


def _routes(meanings: Reasons) -> Iterator[str]:
    yield "| request | event that asks | event that answers |"
    yield "| --- | --- | --- |"
    for route in ROUTES:
        asks, answers = (", ".join(f"`{event.__name__}`" for event in events) for events in (route.asks, route.answers))
        yield f"| `{route.method} {route.path}` | {asks} | {answers} |"
    yield ""
    yield "| event | in vectors | said by | what it is |"
    yield "| --- | --- | --- | --- |"
    for event, (name, _) in RUNTIME_API.items():
        meaning = meanings.get((event.__name__, name), " ")
        yield f"| `{event.__name__}` | `{name}` | {_speaker(event)} |{meaning}|"


def _speaker(event: type) -> str:
    if event is ConnectionClosed:
        return "either"
    return "service" if event in get_args(Answer) else "runtime"


def _law(what: str, law: Law, reasons: Reasons) -> Iterator[str]:
    """Draw a table; ``what`` happens in it, and its first state is where it begins."""
    yield "```mermaid"
    yield from _diagram(law)
    yield "```"
    yield ""
    yield from _table(what, law, reasons)


def _table(what: str, law: Law, reasons: Reasons) -> Iterator[str]:
    yield f"| state | {what} | becomes | why |"
    yield "| --- | --- | --- | --- |"
    for state, row in law.items():
        for event, becomes in row.items():
            yield f"| `{state}` | `{event}` | `{becomes}` |{reasons.get((state, event), ' ')}|"


def _diagram(law: Law) -> Iterator[str]:
    """Draw what leads from one state to another as one arrow, and what leads from every state to one, once."""
    first, *others = law.values()
    everywhere = {event: to for event, to in first.items() if all(row.get(event) == to for row in others)}
    indent = "    "
    yield "stateDiagram-v2"
    if everywhere:
        yield f'{indent}state "in any of these" as any {{'
        yield from _arrows(law, everywhere, indent * 2)
        yield f"{indent}}}"
        for event, to in everywhere.items():
            yield f"{indent}any --> {to}: {event}"
            yield f"{indent}{to} --> {to}: {event}"
    else:
        yield from _arrows(law, everywhere, indent)


def _arrows(law: Law, without: Mapping[str, str], indent: str) -> Iterator[str]:
    yield f"{indent}[*] --> {next(iter(law))}"
    for state, row in law.items():
        arrows: dict[str, list[str]] = {}
        for event, becomes in row.items():
            if event not in without:
                arrows.setdefault(becomes, []).append(event)
        for becomes, events in arrows.items():
            yield f"{indent}{state} --> {becomes}: {', '.join(events)}"
        if not row:
            yield f"{indent}{state} --> [*]"


#: What draws each place of the page, in the order of the page.
_PLACES: Final[dict[str, Callable[[Reasons], Iterator[str]]]] = {
    "ROUTES": _routes,
    "LIFECYCLE": partial(_law, "event", _by_name(LIFECYCLE)),
    "ATTEMPTS": partial(_law, "event", _by_name(ATTEMPTS)),
    "TURNS": partial(_law, "act", _by_name(TURNS)),
}


def main(arguments: list[str]) -> str | None:
    """Draw the page, or check it; return what is wrong with it, as ``sys.exit`` takes it."""
    text = PAGE.read_text(encoding="utf-8")
    drawn = draw(text)
    if "--check" not in arguments:
        PAGE.write_text(drawn, encoding="utf-8")
    elif drawn != text:
        return f"{PAGE.name} is not what the tables say: run python -m tests.draw_states"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
