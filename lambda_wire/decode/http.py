"""Requests and answers, line by line and chunk by chunk, as ``MessageReader`` reads them.

A reader is fed a line at a time, or what a body or a chunk still needs: so each part that it gives ends where it says
that it has read to. What the messages say, ``meaning`` knows.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Final, TypeAlias

from lambda_wire import _names as names
from lambda_wire._chunked import CHUNK_END
from lambda_wire._http11 import MessageReader
from lambda_wire._malformed import Malformed
from lambda_wire._messages import MessageEnd, RequestHead, ResponseHead, TruncatedMessage
from lambda_wire._signals import Role
from lambda_wire.decode.answers import Answer
from lambda_wire.decode.contents import Content
from lambda_wire.decode.meaning import Meaning, Talk
from lambda_wire.decode.pieces import Piece, Verdict, unread, violation
from lambda_wire.decode.refusals import BODY
from lambda_wire.decode.requests import Request

__all__ = ["read_chunked", "read_http"]

_STATUS_LINE: Final = b"HTTP/1."
#: A bare chunked body is read as if this had come before it.
_CHUNKED_HEAD: Final = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
_TRAILER_FIELDS: Final = {
    **dict.fromkeys(names.FRAMING_FIELDS, "RS-TRAILER-5"),
    names.FUNCTION_ERROR_TYPE.lower(): "RS-TRAILER-1",
    names.FUNCTION_ERROR_BODY.lower(): "RS-TRAILER-2",
}

_MeaningOf: TypeAlias = Callable[[int, RequestHead | ResponseHead], Meaning]
"""Of the message with this head that begins there."""


def read_http(data: bytes, at: int = 0) -> Iterator[Piece]:
    """Explain what one end sent on a connection, or both in the order of time: a status line begins an answer.

    Args:
        data: The capture.
        at: Where in it the first message begins.
    """
    talk = Talk()
    asked = talk.asked

    def meaning_of(begin: int, head: RequestHead | ResponseHead) -> Meaning:
        if isinstance(head, RequestHead):
            return Request(begin, head, talk)
        return Answer(begin, head, talk, early=requests.is_open and not requests.is_held_back)

    requests, answers = _Line(data, Role.SERVER, meaning_of), _Line(data, Role.CLIENT, meaning_of)
    overtaken = False
    while at < len(data):
        line = requests
        if data.startswith(_STATUS_LINE, at):
            line = answers
            line.expect(asked[0].method if asked else "GET")
        due = len(asked)
        try:
            at = yield from line.read(at)
        except Malformed as fault:
            yield from line.broken(_behind_answer(fault) if line is requests and overtaken else fault)
            return
        if line is answers and requests.is_open and len(asked) < due:
            if requests.is_held_back:
                requests = _Line(data, Role.SERVER, meaning_of)  # refused before its body was sent
            else:
                overtaken = True


def read_chunked(data: bytes, content: Content | None) -> Iterator[Piece]:
    """Explain a bare chunked body, and what it holds."""
    line = _Line(data, Role.SERVER, lambda begin, _: Meaning(begin, content))
    line.skip(_CHUNKED_HEAD)
    try:
        end = yield from line.read(0)
    except Malformed as fault:
        yield from line.broken(fault)
        return
    yield from unread(end, len(data))


class _Line:
    """What one end sent."""

    def __init__(self, data: bytes, role: Role, meaning_of: _MeaningOf) -> None:
        self._data = data
        self._role = role
        self._reader = MessageReader(role, keep_boundaries=True)
        self._meaning_of = meaning_of
        self._meaning: Meaning | None = None
        """Of the message whose head was read."""
        self._at = 0
        """What lies before it in the capture has been explained."""
        self._fed = 0
        self._shift = 0
        """Where in the capture that lies which the reader counts from."""
        self._size = 0
        """Of the counted body, or of the chunk, that is under way."""
        self._framing = ""
        """How the body is framed that is under way."""
        self.is_held_back = False
        """Whether a head was sent, and its body waits for 100 Continue."""

    @property
    def is_open(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._meaning is not None

    def expect(self, method: str) -> None:
        """Say what the next answer answers."""
        self._reader.expect(method)

    def skip(self, head: bytes) -> None:
        """Read a head that is not in the capture."""
        self._reader.receive_data(head)
        self._fed = len(head)
        part = self._reader.next_event()
        assert isinstance(part, RequestHead)
        self._meaning, self._framing = self._meaning_of(0, part), "chunk"

    def broken(self, fault: Malformed) -> Iterator[Piece]:
        """Explain why nothing more can be read."""
        yield violation(fault, self._at if fault.at is None else self._shift + fault.at, "RT-CONN-16")
        yield from unread(self._at, len(self._data))

    def read(self, at: int) -> Generator[Piece, None, int]:
        """Explain the message that begins or goes on at ``at``, or an interim answer, or blank lines; return its end.

        Raises:
            Malformed: It is no message.
        """
        self._at, self._shift = at, at - self._fed
        while True:
            try:
                part = self._reader.next_event()
            except TruncatedMessage:
                yield from self._cut()
                return len(self._data)
            end = self._shift + self._fed - self._reader.unread
            match part:
                case RequestHead() | ResponseHead():
                    yield from self._begin(part, end)
                    self.is_held_back = _expects_continue(part) and self._data.startswith(_STATUS_LINE, end)
                    if self.is_held_back:
                        return end
                case bytes():
                    yield from self._go_on(part, end)
                case MessageEnd():
                    yield from self._end(part, end)
                    return end
                case _ if self._meaning is None and end > self._at:
                    yield from self._lines(end, "interim answer", ("RT-CONN-12", "RT-CONN-13"), {}, {})
                    return end
                case _ if self._is_overtaken(end):
                    yield from self._overtaken(end)
                    return end
                case _:
                    self._size = self._size or self._reader.left
                    self._feed()

    def _is_overtaken(self, end: int) -> bool:
        """Say whether an answer begins where the framing of a chunk is due (RS-EARLY-1)."""
        due = self._meaning is not None and not self._reader.left and not self._reader.unread
        return due and self._role is Role.SERVER and self._data.startswith(_STATUS_LINE, end)

    def _overtaken(self, end: int) -> Iterator[Piece]:
        """Explain what was fed of the end of a body, if that has begun."""
        assert self._meaning is not None
        begin = self._at
        yield from self._lines(end, "last chunk", ("RS-END-1",), {}, {})
        yield from self._meaning.hear(self._data[begin:end])

    def _feed(self) -> None:
        """Feed what is needed next, and no more than a line where that is not known; at the end, that it is there."""
        begin = self._shift + self._fed
        missing = self._reader.left - self._reader.unread
        end = begin + missing if missing > 0 else self._data.find(b"\n", begin) + 1 or len(self._data)
        piece = self._data[begin:end]
        self._fed += len(piece)
        self._reader.receive_data(piece)

    def _begin(self, head: RequestHead | ResponseHead, end: int) -> Iterator[Piece]:
        self._meaning = self._meaning_of(self._at, head)
        self._size = self._reader.left
        self._framing = "body" if self._size else "chunk"
        begin = self._at
        meaning = self._meaning
        yield from self._lines(end, meaning.what, meaning.rules, meaning.fields, meaning.places)
        meaning.places[BODY] = end
        yield from meaning.hear(self._data[begin:end])

    def _go_on(self, part: bytes, end: int) -> Iterator[Piece]:
        """Explain a piece of a body: all of one that is counted or of a chunk, or more of it."""
        assert self._meaning is not None
        begin = self._at
        if not self._size:
            self._framing = ""  # it has no end but that of the connection
        elif not self._reader.left:
            ended = self._framing == "chunk" and self._data.startswith(CHUNK_END, end)
            self._at = end + len(CHUNK_END) if ended else end
            what = f"{self._framing} of {self._size} bytes"
            rules = ("RS-CHUNK-1",) if self._framing == "chunk" else ()
            yield Piece(offset=begin, length=self._at - begin, what=what, rules=rules, value=self._size)
            self._size = 0
        yield from self._meaning.body(part, end - len(part))
        yield from self._meaning.hear(self._data[begin : self._at])

    def _end(self, part: MessageEnd, end: int) -> Iterator[Piece]:
        assert self._meaning is not None
        meaning, self._meaning = self._meaning, None
        begin = self._at
        if end > begin and not self._framing:
            what = f"body of {end - begin} bytes, to the end of the connection"
            yield Piece(offset=begin, length=end - begin, what=what, rules=("RT-CONN-11",))
        elif end > begin:
            yield from self._lines(end, "last chunk", ("RS-END-1",), _TRAILER_FIELDS, meaning.trailer_places)
        yield from meaning.hear(self._data[begin:end])
        yield from meaning.end(part.trailers, end)
        self._reader.start_next()

    def _cut(self) -> Iterator[Piece]:
        """Explain that the capture ends within a message."""
        end, begin = len(self._data), self._at
        what = f"ends at byte {end}, inside the head begun at byte {begin}"
        if self._size:
            missing = self._reader.left - self._reader.unread
            inside = f"the {self._framing} of {self._size} bytes begun at byte {begin}"
            what = f"ends at byte {end}, inside {inside}: {missing} of them are missing"
        elif self._meaning is not None:
            what = f"ends at byte {end}, before its chunked body: the next chunk, or the last, begins at byte {begin}"
        yield Piece(offset=begin, length=end - begin, what=what, verdict=Verdict.INCOMPLETE)
        if self._meaning is not None:
            yield from self._meaning.end(None, end)

    def _lines(
        self, end: int, what: str, rules: tuple[str, ...], fields: Mapping[str, str], places: dict[str, int]
    ) -> Iterator[Piece]:
        """Give the lines of a head, or of what ends a chunked body; note in ``places`` where each field begins."""
        for line in self._data[self._at : end].splitlines(keepends=True):
            text = line.decode("utf-8", "replace").strip()
            said: object = text
            if not text:
                what, rules = "empty line", ()
            elif not what:
                name, _, value = text.partition(":")
                rule = fields.get(name.lower(), "")
                places.setdefault(name.lower(), self._at)
                what, rules = f"field: {value.strip()}", (rule,) if rule else ()
                said = {"name": name, "value": value.strip()}
            yield Piece(offset=self._at, length=len(line), what=what, rules=rules, value=said)
            self._at += len(line)
            what = ""


def _expects_continue(head: RequestHead | ResponseHead) -> bool:
    return isinstance(head, RequestHead) and head.expects_continue


def _behind_answer(fault: Malformed) -> Malformed:
    """Return what is wrong behind an early answer, where no chunk follows."""
    reason = f"expected the rest of the stream, or its end, behind an early answer: {fault.reason}"
    return Malformed(reason, at=fault.at, rule="RS-EARLY-4")
