"""HTTP/1.1 connections as every role keeps them: one request, its answer, then the next.

A role says what its requests and answers mean. What is here is the same for all: whose turn it is, what the peer sent,
whether the connection can go on, and that a fault is for ever. Sending is in three steps, so that a refused one changes
nothing: ``require`` an act, encode it, ``move``. Receiving moves by itself.
"""

from __future__ import annotations

from lambda_wire import _limits as limits
from lambda_wire import _names as names
from lambda_wire._chunked import CHUNK_END, chunk_head, encode_end
from lambda_wire._errors import LocalProtocolError, RemoteProtocolError
from lambda_wire._events import ConnectionClosed, Refused
from lambda_wire._http11 import MessageReader
from lambda_wire._malformed import Malformed
from lambda_wire._messages import MalformedMessage, MessageEnd, PlainAnswer, RequestHead, ResponseHead, TruncatedMessage
from lambda_wire._record import record
from lambda_wire._signals import NEED_DATA, PAUSED, Role, Signal
from lambda_wire._state import TURNS, Act, Turn
from lambda_wire._types import BytesLike, Headers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Final


__all__ = ["ClientTurns", "Framing", "ServerTurns", "status_of"]

_OVER: Final = (Turn.OVERTAKEN, Turn.LAST_ANSWER, Turn.CUT, Turn.CLOSED)
_ANSWER_DUE: Final = (Turn.AWAITING, Turn.ANSWERING, Turn.LAST_ANSWER)
_BODILESS: Final = (204, 304)
#: Python 3.11 looks a member of an Enum up in ten times the time of a global.
_IDLE: Final = Turn.IDLE
_AWAITING: Final = Turn.AWAITING
_SENDING: Final = Turn.SENDING
_CLOSED: Final = Turn.CLOSED
_REQUEST_STARTED: Final = Act.REQUEST_STARTED
#: Where whole messages lead to.
_ASKED: Final = TURNS[TURNS[Turn.IDLE][Act.REQUEST_STARTED]][Act.REQUEST_ENDED]
_ANSWERED: Final = TURNS[TURNS[Turn.AWAITING][Act.ANSWER_STARTED]][Act.ANSWER_ENDED]
_NO_ANSWER: Final = ResponseHead(status=0, headers=(), keep_alive=False)
_NO_REQUEST: Final = RequestHead(method="GET", target="", headers=(), keep_alive=True)


class _Turns:
    """What both ends keep."""

    def __init__(self, reader: MessageReader, peer: str) -> None:
        self._reader = reader
        self._peer = peer
        self._turn = Turn.IDLE
        self._fault: RemoteProtocolError | None = None

    @property
    def turn(self) -> Turn:
        """Whose turn it is."""
        return self._turn

    @property
    def must_close(self) -> bool:
        """Whether to close the connection once everything that goes out is written."""
        return self._fault is not None or self._turn in (Turn.CUT, Turn.CLOSED)

    def require(self, act: Act, what: str) -> None:
        """Refuse an act whose turn it is not.

        Raises:
            LocalProtocolError: ``what`` may not be sent now. Nothing changed.
        """
        if act not in TURNS[self._turn]:
            raise self._refusal(what)

    def _refusal(self, what: str) -> LocalProtocolError:
        closing = ", and the connection must be closed" if self.must_close else ""
        return LocalProtocolError(f"{what} may not be sent while the connection is {self._turn.value}{closing}")

    def move(self, act: Act) -> None:
        """Do an act that was required."""
        self._turn = TURNS[self._turn][act]

    def receive_data(self, data: BytesLike) -> None:
        """Take bytes from the peer; ``b""`` says that no more come. After that, or a fault, they are dropped."""
        if self._fault is None and self._turn is not _CLOSED:
            self._reader.receive_data(data)

    def accuse(self, fault: Malformed, *, reply: Refused | None = None) -> RemoteProtocolError:
        """Return whose fault it is. It is for ever: ``check`` raises it from now on."""
        self._fault = RemoteProtocolError(f"the {self._peer} sent what it may not: {fault}", reply=reply)
        return self._fault

    def check(self) -> None:
        """Raise the fault that was found before.

        Raises:
            RemoteProtocolError: The peer sent what it may not.
        """
        if self._fault is not None:
            raise RemoteProtocolError(str(self._fault), reply=self._fault.reply)

    def abandon(self) -> None:
        """Give the connection up, whatever is open on it."""
        self._turn = Turn.CLOSED
        self._reader.drop()


class ClientTurns(_Turns):
    """The end that asks.

    Args:
        peer: What messages call the other end.
    """

    def __init__(self, peer: str) -> None:
        super().__init__(MessageReader(Role.CLIENT), peer)
        self._send_failed = False
        self._head = _NO_ANSWER
        self._unasked = False
        """Whether the answer that is under way answers no request."""

    @property
    def must_close(self) -> bool:
        """Whether this connection can carry no further request.

        So it is when the server has spoken unasked: what it said would pass for the answer to the next request.
        """
        if self._send_failed or self._fault is not None:
            return True
        return self._reader.in_message if self._turn is _IDLE else self._turn in _OVER

    def require(self, act: Act, what: str) -> None:
        """Refuse an act whose turn it is not, and every act once a request was not written whole.

        Raises:
            LocalProtocolError: ``what`` may not be sent now. Nothing changed.
        """
        if (
            act not in TURNS[self._turn]
            or self._send_failed
            or self._fault is not None
            or (act is _REQUEST_STARTED and self._reader.in_message)
        ):
            raise self._refusal(what)

    @property
    def idle(self) -> bool:
        """Whether this connection can carry a request now."""
        return self._turn is _IDLE and not (self._send_failed or self._fault is not None or self._reader.in_message)

    @property
    def sending(self) -> bool:
        """Whether a request has begun that can go on."""
        return self._turn is _SENDING and not (self._send_failed or self._fault is not None)

    @property
    def awaiting_answer(self) -> bool:
        """Whether a request went out whole and its answer is due: it is had by reading on, whoever asked."""
        due = self._turn in _ANSWER_DUE and not self._unasked
        return due and not self._send_failed and self._fault is None

    @property
    def unheard(self) -> bool:
        """Whether nothing has come of the answer that is due."""
        return self._turn is _AWAITING and not self._reader.in_message

    @property
    def receive_buffer(self) -> memoryview | None:
        """See ``MessageReader.receive_buffer``."""
        return self._reader.receive_buffer

    def collect(self, limit: int) -> None:
        """Give the body of the answer that has begun whole, with its end.

        Raises:
            Malformed: It is announced to be larger than ``limit`` bytes: ``accuse`` the server of it.
        """
        self._reader.collect(limit, "an answer")

    def start_request(self, method: str, *, whole: bool) -> None:
        """Move on to the request whose head is encoded; past it if that is all, or its body is counted.

        Args:
            method: It decides whether the answer has a body (RFC 9112, 6.3).
            whole: Whether no part of it follows on its own.
        """
        self._reader.expect(method)
        if whole:
            self._turn = _ASKED
        else:
            self.move(Act.REQUEST_STARTED)

    def send_failed(self) -> None:
        """Say that a request was not written whole: this connection can carry nothing more."""
        self._send_failed = True

    def next_answer(self, limit: int) -> PlainAnswer | ConnectionClosed | Signal:
        """Return the next answer whole, or a signal.

        Args:
            limit: Its largest body in bytes.

        Raises:
            Malformed: The server sent what it may not: ``accuse`` it.
        """
        if self._turn is _AWAITING:
            answer = self._reader.take_plain_answer(limit)
            if answer is not None:
                self._turn = _ANSWERED
                return answer
        while True:
            part = self.next_part()
            match part:
                case ResponseHead():
                    self._head = part
                    self.collect(limit)
                case MessageEnd():
                    return self._head.status, self._head.headers, part.body
                case bytes():
                    raise AssertionError("a body that is collected comes with its end")
                case _:
                    return part

    def next_part(self) -> ResponseHead | bytes | MessageEnd | ConnectionClosed | Signal:
        """Return the next part of the answer, or a signal.

        Raises:
            Malformed: The server sent what it may not: ``accuse`` it.
        """
        if self._turn is _CLOSED:
            return ConnectionClosed()
        try:
            part = self._reader.next_event()
        except TruncatedMessage:  # nobody's fault: the connection was lost
            part = ConnectionClosed()
        assert not isinstance(part, RequestHead)  # a client's reader gives none
        match part:
            case ResponseHead():
                self._take_head(part)
            case MessageEnd():
                self.move(Act.ANSWER_ENDED)
                self._reader.start_next()
            case ConnectionClosed():
                self.move(Act.CONNECTION_CLOSED)
            case _:
                pass
        return part

    def _take_head(self, head: ResponseHead) -> None:
        act = Act.ANSWER_STARTED if head.keep_alive else Act.LAST_ANSWER_STARTED
        self._unasked = self._turn is Turn.IDLE
        if act not in TURNS[self._turn] or (self._unasked and head.status < 400):
            raise Malformed(f"expected nothing while no request is open, got a response with status {head.status}")
        self.move(act)


@record
class Framing:
    """How the answer to the open request is framed."""

    fields: Headers
    """``Content-Length``, ``Transfer-Encoding``, or none of them."""
    has_body: bool
    """Whether a body follows the head: not in answer to HEAD, nor after 204 and 304 (RFC 9110, 6.4.1)."""
    chunked: bool
    last: bool
    """Whether the connection ends with this answer."""


class ServerTurns(_Turns):
    """The end that is asked.

    Attributes:
        head: Of the request that is open.

    Args:
        peer: What messages call the other end.
        keep_boundaries: See ``MessageReader``.
    """

    def __init__(self, peer: str, *, keep_boundaries: bool = False) -> None:
        super().__init__(MessageReader(Role.SERVER, keep_boundaries=keep_boundaries), peer)
        self.head: RequestHead = _NO_REQUEST
        self._unread = 0
        self._framing = Framing(fields=(), has_body=True, chunked=False, last=False)

    def receive_data(self, data: BytesLike) -> None:
        """Take bytes from the client; ``b""`` says that no more come. What no answer will follow is dropped."""
        if self._fault is None and self._turn not in _OVER:
            self._reader.receive_data(data)

    @property
    def in_body(self) -> bool:
        """Whether a body is being read."""
        return self._reader.in_body

    def next_part(self) -> RequestHead | bytes | MessageEnd | ConnectionClosed | Signal:
        """Return the next part of the request; ``PAUSED`` while an answer is due before more is read.

        Raises:
            Malformed: The client sent what it may not: ``accuse`` it.
        """
        if self._turn is _CLOSED:
            return ConnectionClosed()
        if self._turn in _OVER or (self._turn is Turn.AWAITING and self._reader.in_message):
            return PAUSED
        part = self._reader.next_event()
        if type(part) is bytes or part is NEED_DATA:
            return part
        assert not isinstance(part, ResponseHead)  # a server's reader gives none
        match part:
            case RequestHead():
                self.head = part
                self._unread = limits.MAX_UNREAD
                self.move(Act.REQUEST_STARTED)
            case MessageEnd():
                self.move(Act.REQUEST_ENDED)
            case _:
                pass  # a client that has only ended its half may still wait for its answer: the role decides
        return part

    def take_pieces(self, limit: int) -> tuple[Collection[bytes], bool]:
        """See ``MessageReader.take_pieces``."""
        return self._reader.take_pieces(limit)

    def may_skip(self, size: int) -> bool:
        """Count a piece of a body that is not wanted; say whether to read on, so that the connection can be kept."""
        self._unread -= size
        return self._unread >= 0

    def allow_unread(self, size: int) -> None:
        """Read so much more of a body that is not wanted."""
        self._unread += size

    def framing(self, status: int, size: int | None) -> Framing:
        """Return how an answer is framed.

        Args:
            status: Of the answer.
            size: Of its body in bytes; ``None`` when it is not known: chunks, or to HTTP/1.0 bytes up to the end.
        """
        last = self._reader.in_message or not self.head.keep_alive or self._turn is Turn.IDLE or self._fault is not None
        has_body = self.head.method != "HEAD" and status not in _BODILESS
        chunked = has_body and size is None and self.head.http_version != "1.0"
        fields: Headers = ()
        if chunked:
            fields = ((names.TRANSFER_ENCODING, "chunked"),)
        elif size is not None and status not in _BODILESS:
            fields = ((names.CONTENT_LENGTH, str(size)),)
        elif has_body:
            last = True  # the end of the connection is the end of the body
        return Framing(fields=fields, has_body=has_body, chunked=chunked, last=last)

    def start_answer(self, framing: Framing) -> None:
        """Move on to the answer whose head is encoded."""
        self._framing = framing
        self.move(Act.LAST_ANSWER_STARTED if framing.last else Act.ANSWER_STARTED)

    def part_buffers(self, *buffers: BytesLike) -> list[BytesLike]:
        """Return a piece of the answer's body as it goes out, in one chunk; nothing when it has no body."""
        size = sum(len(buffer) for buffer in buffers)
        if not self._framing.has_body or not size:
            return []
        return [chunk_head(size), *buffers, CHUNK_END] if self._framing.chunked else [*buffers]

    def end_answer(self) -> list[BytesLike]:
        """Return the end of the answer's body, and move on to the next request."""
        self.move(Act.ANSWER_ENDED)
        self.head = _NO_REQUEST
        if self._turn is Turn.IDLE:
            self._reader.start_next()
        return [encode_end()] if self._framing.chunked else []


def status_of(fault: Malformed) -> int:
    """Return the status that a server answers a fault with."""
    return fault.status_hint if isinstance(fault, MalformedMessage) else 400
