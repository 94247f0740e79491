"""What is known of a run of captured bytes, and how it is shown: a line for people, an object for machines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import Enum
from typing import Final

from lambda_wire._malformed import Malformed
from lambda_wire._record import field, record
from lambda_wire._shown import one_line

__all__ = ["Layer", "Part", "Piece", "Verdict", "as_json", "as_line", "unread", "violation"]

_COLUMNS: Final = 120
_BYTES: Final = 36


class Layer(Enum):
    """Of what a piece is a part. Those of ``WIRE`` lie one behind the other, from the first byte to the last."""

    WIRE = "wire"
    CONTENT = "content"
    """It lies within pieces of the wire: the data of several chunks, without their framing."""
    MESSAGE = "message"
    """It is what the pieces before it say together, or a fault, which may have no length."""


class Verdict(Enum):
    """What is to be said of a piece."""

    FINE = "fine"
    VIOLATION = "violation"
    INCOMPLETE = "incomplete"
    """The capture ends within it: no rule is broken by that."""
    UNREAD = "unread"
    """It follows a violation, or a gap in the capture, that nothing can be read behind; or is of another protocol."""


@record
class Piece:
    """A run of bytes in a capture."""

    offset: int
    length: int
    what: str
    rules: tuple[str, ...] = ()
    value: object = field(default=None, repr=False)
    """What it says, for machines: something that JSON can say."""
    layer: Layer = Layer.WIRE
    verdict: Verdict = Verdict.FINE


@record
class Part:
    """What of a capture is explained for itself: a connection, or all of it, which has no name."""

    name: str = ""
    data: bytes = field(repr=False)
    pieces: Iterator[Piece]


def violation(fault: Malformed, offset: int, *rules: str) -> Piece:
    """Return where a rule was broken: the one that the fault names, else one of ``rules``."""
    rules = (fault.rule,) if fault.rule else rules
    return Piece(
        offset=offset, length=0, what=fault.reason, rules=rules, layer=Layer.MESSAGE, verdict=Verdict.VIOLATION
    )


def unread(offset: int, end: int) -> Iterator[Piece]:
    """Give what nothing is known of, if there is anything."""
    what = "nothing says where the next part begins"
    if end > offset:
        yield Piece(offset=offset, length=end - offset, what=what, verdict=Verdict.UNREAD)


def as_json(piece: Piece, connection: str) -> str:
    """Return a piece as one line of JSON, with its connection if that has a name."""
    named = {"connection": connection} if connection else {}
    return json.dumps(
        {
            **named,
            "offset": piece.offset,
            "length": piece.length,
            "layer": piece.layer.value,
            "verdict": piece.verdict.value,
            "rules": piece.rules,
            "what": piece.what,
            "value": piece.value,
        }
    )


def as_line(piece: Piece, data: bytes) -> str:
    """Return a piece of ``data`` as one line of at most 120 columns: offset, length, bytes, what they are, rules.

    What several pieces say together, and what is wrong, has no bytes of its own and their column.
    """
    line = f"{piece.offset:>8} {piece.length:>8}  "
    if piece.verdict is not Verdict.FINE:
        line += f"! {piece.verdict.value}: "
    elif piece.layer is Layer.MESSAGE:
        line += "= "
    else:
        start = data[piece.offset : piece.offset + min(piece.length, _BYTES)]
        shown = start.decode("latin-1").encode("unicode_escape").decode("ascii")
        whole = len(shown) <= _BYTES and piece.length == len(start)
        line += f"{_cut(shown, _BYTES if whole else _BYTES - 1):<{_BYTES}}  "
        line += "  " if piece.layer is Layer.CONTENT else ""
    rules = "".join(f"  {rule}" for rule in piece.rules)
    return f"{line}{_cut(one_line(piece.what), _COLUMNS - len(line) - len(rules))}{rules}"


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 3]}..."
