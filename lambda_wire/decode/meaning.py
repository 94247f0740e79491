"""What a message says, as far as that is known: what requests and answers have in common."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Protocol

from lambda_wire._malformed import Malformed
from lambda_wire._record import record
from lambda_wire._types import Headers
from lambda_wire.decode.contents import Content
from lambda_wire.decode.pieces import Layer, Piece, violation
from lambda_wire.decode.refusals import BODY
from lambda_wire.decode.rules import EVENTS

__all__ = ["Asked", "Meaning", "Refusable", "Talk"]


class Refusable(Protocol):
    """A request of the capture, which the service may refuse."""

    refused: bool

    def place(self, field: str) -> int:
        """Return where the line of a field begins, or the body."""
        ...  # checkers want it


@record
class Asked:
    """What an answer has to be read for."""

    method: str
    ask: type | None
    """Of the Runtime API, ``InvokeAsked``, or ``OtherAsked`` of a function URL; ``None`` when it is none of these."""
    streaming: bool = False
    of_runtime: bool = True
    """Whether a refusal may be one of the Runtime API."""
    request: Refusable | None = None
    """That which is answered, if the capture has it."""


class Talk:
    """What was said on a connection so far."""

    def __init__(self) -> None:
        self.asked: deque[Asked] = deque()
        """What was not answered yet."""
        self.of_runtime = False
        """Whether there was a request to the Runtime API: who sends one has nothing to ask of a function URL."""
        self.held = False
        """Whether a response mode was refused: every later request is (RT-RESP-7)."""


class Meaning:
    """What a message says, as far as that is known; here, what its body holds.

    Args:
        begin: Where it begins in the capture.
        content: Explains what its body holds.
    """

    def __init__(self, begin: int, content: Content | None = None) -> None:
        self.what: str = ""
        """Its first line, in words."""
        self.rules: tuple[str, ...] = ()
        self.fields: Mapping[str, str] = {}
        """Rules for its fields, by their names in lower case."""
        self.places: dict[str, int] = {}
        """Where the first line of each field begins, by its name in lower case, and the body."""
        self.trailer_places: dict[str, int] = {}
        """The same of its trailers."""
        self._begin = begin
        self._content = content
        self._body_at = -1

    def _is(self, what: str, rules: tuple[str, ...], fields: Mapping[str, str]) -> None:
        self.what, self.rules, self.fields = what, rules, fields

    def place(self, field: str) -> int:
        """Return where the line of a field begins, or the body; where there is none, the message."""
        return self.places.get(field.lower(), self._begin)

    def _broken(self, reason: str, rule: str, field: str = "") -> Piece:
        return violation(Malformed(reason), self.place(field), rule)

    def hear(self, raw: bytes) -> Iterator[Piece]:  # noqa: ARG002
        """Take the bytes of the message, as they come."""
        yield from ()

    def body(self, data: bytes, offset: int) -> Iterator[Piece]:
        """Explain a piece of the body."""
        if self._body_at < 0:
            self._body_at = self.places[BODY] = offset
        if self._content is not None:
            yield from self._content.feed(data, offset)

    def end(self, trailers: Headers | None, end: int) -> Iterator[Piece]:  # noqa: ARG002
        """Explain the whole; without trailers, not the message but the capture has ended."""
        if self._content is not None:
            yield from self._content.end(whole=trailers is not None)

    def _whole(self, event: object, end: int) -> Piece:
        what, rules = EVENTS.get(type(event), (self.what, ()))
        name = None if event is None else type(event).__name__
        what = what if event is None else f"{what}: {event!r}"
        size = end - self._begin
        return Piece(offset=self._begin, length=size, what=what, rules=rules, value=name, layer=Layer.MESSAGE)
