"""HTTP/1.1 connections as every role keeps them: one request, its answer, then the next.

A role says what its requests and answers mean. What is here is the same for all: whose turn it is, what the peer sent,
whether the connection can go on, and that a fault is for ever. Sending is in three steps, so that a refused one changes
nothing: ``require`` an act, encode it, ``move``. Receiving moves by itself.

A role that asks is a ``ClientRole``; one that is asked has ``ServerTurns``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from lambda_wire._errors import LocalProtocolError, RemoteProtocolError
from lambda_wire._events import ConnectionClosed, Refused
from lambda_wire._http11 import MessageReader
from lambda_wire._malformed import Malformed
from lambda_wire._messages import MessageEnd, PlainAnswer, RequestHead, ResponseHead, TruncatedMessage
from lambda_wire._signals import Role, Signal
from lambda_wire._state import TURNS, Act, Turn
from lambda_wire._types import BytesLike

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Generic, TypeVar
else:
    from lambda_wire._typing import Generic, TypeVar


__all__ = ["NO_MORE_REQUESTS", "ClientRole", "Turns"]

_A = TypeVar("_A", contravariant=True)
_E = TypeVar("_E", covariant=True)

NO_MORE_REQUESTS: Final = (Turn.OVERTAKEN, Turn.LAST_ANSWER, Turn.CUT, Turn.CLOSED)
_ANSWER_DUE: Final = (Turn.AWAITING, Turn.ANSWERING, Turn.LAST_ANSWER)
#: Python 3.11 looks a member of an Enum up in ten times the time of a global.
_IDLE: Final = Turn.IDLE
_AWAITING: Final = Turn.AWAITING
_CLOSED: Final = Turn.CLOSED
_REQUEST_STARTED: Final = Act.REQUEST_STARTED
#: Where whole messages lead to.
_ASKED: Final = TURNS[TURNS[Turn.IDLE][Act.REQUEST_STARTED]][Act.REQUEST_ENDED]
_ANSWERED: Final = TURNS[TURNS[Turn.AWAITING][Act.ANSWER_STARTED]][Act.ANSWER_ENDED]
_NO_ANSWER: Final = ResponseHead(status=0, headers=(), keep_alive=False)


class Turns:
    """What both ends keep."""

    def __init__(self, reader: MessageReader, peer: str) -> None:
        self._reader = reader
        self._peer = peer
        self._turn = Turn.IDLE
        self._fault: RemoteProtocolError | None = None
        self._usable = True
        """Whether there was no fault; and, at a client's end, every request so far was written whole."""

    @property
    def turn(self) -> Turn:
        """Whose turn it is."""
        return self._turn

    @property
    def must_close(self) -> bool:
        """Whether to close the connection once everything that goes out is written."""
        return not self._usable or self._turn in (Turn.CUT, Turn.CLOSED)

    def _require(self, act: Act, what: str) -> None:
        """Refuse an act whose turn it is not.

        Raises:
            LocalProtocolError: ``what`` may not be sent now. Nothing changed.
        """
        if act not in TURNS[self._turn]:
            raise self._refusal(what)

    def _refusal(self, what: str) -> LocalProtocolError:
        closing = ", and the connection must be closed" if self.must_close else ""
        return LocalProtocolError(f"{what} may not be sent while the connection is {self._turn.value}{closing}")

    def _move(self, act: Act) -> None:
        """Do an act that was required."""
        self._turn = TURNS[self._turn][act]

    def receive_data(self, data: BytesLike) -> None:
        """Take bytes from the peer; ``b""`` says that no more come. After that, or a fault, they are dropped."""
        if self._fault is None and self._turn is not _CLOSED:
            self._reader.receive_data(data)

    def _accuse(self, fault: Malformed, *, reply: Refused | None = None) -> RemoteProtocolError:
        """Return whose fault it is. It is for ever: ``_check`` raises it from now on."""
        self._usable = False
        self._fault = RemoteProtocolError(f"the {self._peer} sent what it may not: {fault}", reply=reply)
        return self._fault

    def _check(self) -> None:
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


class ClientRole(Turns, ABC, Generic[_A, _E]):
    """The end that asks.

    Args:
        peer: What messages call the other end.
    """

    def __init__(self, peer: str) -> None:
        super().__init__(MessageReader(Role.CLIENT), peer)
        self._head = _NO_ANSWER
        """Of the answer that came last."""
        self._unasked = False
        """Whether the answer that is under way answers no request."""

    @property
    def must_close(self) -> bool:
        """Whether this connection can carry no further request.

        So it is when the service has spoken unasked: what it said would pass for the answer to the next request.
        """
        if not self._usable:
            return True
        return self._reader.in_message if self._turn is _IDLE else self._turn in NO_MORE_REQUESTS

    @property
    def idle(self) -> bool:
        """Whether it can carry a request now."""
        return self._turn is _IDLE and self._usable and not self._reader.in_message

    @property
    def awaiting_answer(self) -> bool:
        """Whether a request went out whole and its answer, or the rest of it, is due: it is had by reading on."""
        return self._usable and self._turn in _ANSWER_DUE and not self._unasked

    # -- out

    def send(self, event: _A) -> bytes:
        """Return the bytes that say ``event``.

        Raises:
            LocalProtocolError: It may not be said now. Nothing changed.
            Malformed: It cannot be said on this wire. Nothing changed.
        """
        return b"".join(self.send_buffers(event))

    @abstractmethod
    def send_buffers(self, event: _A) -> list[BytesLike]:
        """Return what ``send`` returns, as buffers to be written in order: a payload is not copied.

        Raises:
            LocalProtocolError: It may not be said now. Nothing changed.
            Malformed: It cannot be said on this wire. Nothing changed.
        """

    def send_failed(self) -> None:
        """Say that what ``send`` returned was not written whole: this connection can carry nothing more."""
        self._usable = False

    def _require(self, act: Act, what: str) -> None:
        """Refuse an act whose turn it is not, and every act once a request was not written whole.

        Raises:
            LocalProtocolError: ``what`` may not be sent now. Nothing changed.
        """
        if act not in TURNS[self._turn] or not self._usable or (act is _REQUEST_STARTED and self._reader.in_message):
            raise self._refusal(what)

    def _start_request(self, method: str, *, whole: bool) -> None:
        """Move on to the request whose head is encoded; past it if that is all, or its body is counted.

        Args:
            method: It decides whether the answer has a body (RFC 9112, 6.3).
            whole: Whether no part of it follows on its own.
        """
        self._reader.expect(method)
        if whole:
            self._turn = _ASKED
        else:
            self._move(_REQUEST_STARTED)

    # -- in

    @property
    def receive_buffer(self) -> memoryview | None:
        """Where the next bytes may be received, if not anywhere: of a large whole answer.

        Give ``receive_data`` the part of it that was filled, from its start; it is not copied again.
        """
        return self._reader.receive_buffer

    @abstractmethod
    def next_event(self) -> _E | Signal:
        """Return what the service said next, or a signal.

        Raises:
            RemoteProtocolError: It said what it may not. Every later call raises it again.
        """

    def _collect(self, limit: int) -> None:
        """Give the body of the answer that has begun whole, with its end.

        Raises:
            Malformed: It is announced to be larger than ``limit`` bytes: ``_accuse`` the server of it.
        """
        self._reader.collect(limit, "an answer")

    def _next_answer(self, limit: int) -> PlainAnswer | ConnectionClosed | Signal:
        """Return the next answer whole, or a signal.

        Args:
            limit: Its largest body in bytes.

        Raises:
            Malformed: The server sent what it may not: ``_accuse`` it.
        """
        if self._turn is _AWAITING:
            answer = self._reader.take_plain_answer(limit)
            if answer is not None:
                self._turn = _ANSWERED
                return answer
        while True:
            part = self._next_part()
            match part:
                case ResponseHead():
                    self._collect(limit)
                case MessageEnd():
                    return self._head.status, self._head.headers, part.body
                case bytes():
                    raise AssertionError("a body that is collected comes with its end")
                case _:
                    return part

    def _next_part(self) -> ResponseHead | bytes | MessageEnd | ConnectionClosed | Signal:
        """Return the next part of the answer, or a signal.

        Raises:
            Malformed: The server sent what it may not: ``_accuse`` it.
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
                self._begin_answer(part)
            case MessageEnd():
                self._move(Act.ANSWER_ENDED)
                self._reader.start_next()
            case ConnectionClosed():
                self._move(Act.CONNECTION_CLOSED)
            case _:
                pass
        return part

    def _begin_answer(self, head: ResponseHead) -> None:
        act = Act.ANSWER_STARTED if head.keep_alive else Act.LAST_ANSWER_STARTED
        self._unasked = self._turn is Turn.IDLE
        if act not in TURNS[self._turn] or (self._unasked and head.status < 400):
            raise Malformed(f"expected nothing while no request is open, got a response with status {head.status}")
        self._head = head
        self._move(act)
