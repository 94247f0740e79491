"""The end of an HTTP/1.1 connection that is asked: how its answers are framed, and how far it reads a request.

Its role has these turns, where a role that asks is its own: who answers in plain HTTP needs them, too.
"""

from __future__ import annotations

from lambda_wire import _limits as limits
from lambda_wire import _names as names
from lambda_wire._chunked import CHUNK_END, chunk_head, encode_end
from lambda_wire._errors import LocalProtocolError, RemoteProtocolError
from lambda_wire._events import ConnectionClosed, Refused
from lambda_wire._http11 import MessageReader
from lambda_wire._malformed import Malformed
from lambda_wire._messages import MalformedMessage, MessageEnd, RequestHead, ResponseHead
from lambda_wire._record import record
from lambda_wire._signals import NEED_DATA, PAUSED, Role, Signal
from lambda_wire._state import Act, Turn
from lambda_wire._turns import NO_MORE_REQUESTS, Turns
from lambda_wire._types import BytesLike, Headers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Final, Generic, TypeVar
else:
    from lambda_wire._typing import Generic, TypeVar

__all__ = ["Framing", "ServerRole", "ServerTurns", "status_of"]

_R = TypeVar("_R")
_BODILESS: Final = (204, 304)
_NO_REQUEST: Final = RequestHead(method="GET", target="", headers=(), keep_alive=True)


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


_NO_ANSWER: Final = Framing(fields=(), has_body=True, chunked=False, last=False)


class ServerTurns(Turns):
    """The end that is asked, for its role and for who answers in plain HTTP.

    Attributes:
        head: Of the request that is open.
        continue_due: Whether its client waits to be told to send the body.

    Args:
        peer: What messages call the other end.
        keep_boundaries: See ``MessageReader``.
    """

    if TYPE_CHECKING:  # checkers want the types of these names said

        def require(self, act: Act, what: str) -> None:
            """See ``Turns._require``."""

        def move(self, act: Act) -> None:
            """See ``Turns._move``."""

        def check(self) -> None:
            """See ``Turns._check``."""

        def accuse(self, fault: Malformed, *, reply: Refused | None = None) -> RemoteProtocolError:
            """See ``Turns._accuse``."""
            ...  # checkers want it

    else:
        require, move = Turns._require, Turns._move
        check, accuse = Turns._check, Turns._accuse

    def __init__(self, peer: str, *, keep_boundaries: bool = False) -> None:
        super().__init__(MessageReader(Role.SERVER, keep_boundaries=keep_boundaries), peer)
        self.head: RequestHead = _NO_REQUEST
        self.continue_due: bool = False
        self._unread = 0
        self._framing = _NO_ANSWER

    def receive_data(self, data: BytesLike) -> None:
        """Take bytes from the client; ``b""`` says that no more come. What no answer will follow is dropped."""
        if self._fault is None and self._turn not in NO_MORE_REQUESTS:
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
        if self._turn is Turn.CLOSED:
            return ConnectionClosed()
        if self._turn in NO_MORE_REQUESTS or (self._turn is Turn.AWAITING and self._reader.in_message):
            return PAUSED
        part = self._reader.next_event()
        if type(part) is bytes or part is NEED_DATA:
            return part
        assert not isinstance(part, ResponseHead)  # a server's reader gives none
        match part:
            case RequestHead():
                self.head = part
                self.continue_due = part.expects_continue
                self._unread = limits.MAX_UNREAD
                self._move(Act.REQUEST_STARTED)
            case MessageEnd():
                self.continue_due = False
                self._move(Act.REQUEST_ENDED)
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

    @property
    def last(self) -> bool:
        """Whether no request may follow the answer to the open one, however that is framed."""
        return self._reader.in_message or not self.head.keep_alive or self._turn is Turn.IDLE or not self._usable

    def connection(self, *, last: bool, always: bool) -> str:
        """Return what the ``Connection`` field of an answer says, or nothing where that is understood.

        Args:
            last: Whether the connection ends with it.
            always: Whether to say so of HTTP/1.1, too, that the connection is kept.
        """
        if last:
            return "close"
        return "keep-alive" if always or self.head.http_version == "1.0" else ""

    def framing(self, status: int, size: int | None) -> Framing:
        """Return how an answer is framed.

        Args:
            status: Of the answer.
            size: Of its body in bytes; ``None`` when it is not known: chunks, or to HTTP/1.0 bytes up to the end.
        """
        last = self.last
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
        self._move(Act.LAST_ANSWER_STARTED if framing.last else Act.ANSWER_STARTED)

    def part_buffers(self, *buffers: BytesLike) -> list[BytesLike]:
        """Return a piece of the answer's body as it goes out, in one chunk; nothing when it has no body."""
        size = sum(len(buffer) for buffer in buffers)
        if not self._framing.has_body or not size:
            return []
        return [chunk_head(size), *buffers, CHUNK_END] if self._framing.chunked else [*buffers]

    def end_answer(self) -> list[BytesLike]:
        """Return the end of the answer's body, and move on to the next request."""
        self._move(Act.ANSWER_ENDED)
        self.head = _NO_REQUEST
        if self._turn is Turn.IDLE:
            self._reader.start_next()
        return [encode_end()] if self._framing.chunked else []


class ServerRole(Generic[_R]):
    """The end that is asked.

    Args:
        turns: Of its connection.
    """

    def __init__(self, turns: ServerTurns) -> None:
        self._turns = turns
        self._refusal: _R | None = None
        """What the open request is to be answered with; ``None`` when it may be accepted."""

    @property
    def turn(self) -> Turn:
        """Whose turn it is."""
        return self._turns.turn

    @property
    def must_close(self) -> bool:
        """Whether to close the connection once everything that ``send`` returned is written."""
        return self._turns.must_close

    def receive_data(self, data: BytesLike) -> None:
        """Take bytes from the client; ``b""`` says that no more come. Once ``must_close``, they are dropped."""
        self._turns.receive_data(data)

    def _continue(self) -> None:
        """Let the client send its body: once, and never one that will be refused.

        Raises:
            LocalProtocolError: Nobody waits for that. Nothing changed.
        """
        self._turns.require(Act.INTERIM, "Continue")
        if not self._turns.continue_due or self._refusal is not None or self.must_close:
            raise LocalProtocolError("Continue may not be sent when it was not asked for")
        self._turns.continue_due = False

    def abandon(self) -> None:
        """Give the connection up without a word, whatever is open on it."""
        self._turns.abandon()


def status_of(fault: Malformed) -> int:
    """Return the status that a server answers a fault with."""
    return fault.status_hint if isinstance(fault, MalformedMessage) else 400
