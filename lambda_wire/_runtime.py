"""The runtime's end of the Runtime API, on one connection.

``send`` says what the runtime asks and reports; ``next_event`` says what the service answers. Requests and answers
alternate; only while a streamed response is being sent may an answer come early, and it is then given at once.
"""

from __future__ import annotations

import sys
from typing import Final, TypeAlias, get_args

from lambda_wire import _limits as limits
from lambda_wire import _names as names
from lambda_wire._answers import decode_answer
from lambda_wire._asks import encode_ask
from lambda_wire._chunked import CHUNK_END, chunk_head, encode_end
from lambda_wire._error_payload import encode_trailers
from lambda_wire._errors import LocalProtocolError, RemoteProtocolError
from lambda_wire._events import (
    Accepted,
    Ask,
    ConnectionClosed,
    Invocation,
    NextAsked,
    Pong,
    Refused,
    ResponseChunk,
    ResponseFailed,
    ResponseFinished,
    RestoreReady,
)
from lambda_wire._heads import encode_request_head
from lambda_wire._http11 import MessageEnd, MessageReader, ResponseHead, TruncatedMessage
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._malformed import Malformed
from lambda_wire._routes import route_of, target_of
from lambda_wire._signals import Role, Signal
from lambda_wire._state import TURNS, Turn
from lambda_wire._types import BytesLike, Headers

__all__ = ["USER_AGENT", "RuntimeConnection", "RuntimeEvent"]

RuntimeEvent: TypeAlias = Invocation | Accepted | Refused | RestoreReady | Pong | ConnectionClosed

USER_AGENT: Final = f"lambda-wire/0.1.0 python/{sys.version_info[0]}.{sys.version_info[1]}.{sys.version_info[2]}"
_ASKS: Final = frozenset(get_args(Ask))
_PARTS: Final = (ResponseChunk, ResponseFinished, ResponseFailed)


class RuntimeConnection:
    """The runtime's end of one TCP connection to the Runtime API.

    Args:
        host: What the ``Host`` field says, such as ``127.0.0.1:9001``.
        lifecycle: The environment's state, shared by its connections; a new one when not given.
        user_agent: What the ``User-Agent`` field says.
        max_payload: Largest answer body in bytes.
    """

    def __init__(
        self,
        *,
        host: str,
        lifecycle: StandardLifecycle | None = None,
        user_agent: str = USER_AGENT,
        max_payload: int = limits.MAX_EVENT,
    ) -> None:
        self._common: Headers = ((names.HOST, host), (names.USER_AGENT, user_agent))
        self._lifecycle = StandardLifecycle(snap_start=True) if lifecycle is None else lifecycle
        self._max_payload = max_payload
        self._reader = MessageReader(Role.CLIENT)
        self._turn = Turn.IDLE
        self._ask: type = NextAsked
        self._request_id = ""
        self._holds = False
        """Whether a request is open, so that its answer moves the environment on."""
        self._head: ResponseHead | None = None
        self._body: list[bytes] = []
        self._body_size = 0
        self._must_close = False
        self._send_failed = False
        self._fault = ""

    @property
    def turn(self) -> Turn:
        """Whose turn it is."""
        return self._turn

    @property
    def must_close(self) -> bool:
        """Whether this connection can carry no further request.

        So it is when the service has spoken unasked: what it said would pass for the answer to the next request.
        """
        if self._must_close or self._fault or self._turn in (Turn.CUT, Turn.CLOSED):
            return True
        return self._turn is Turn.IDLE and self._reader.in_message

    @property
    def awaiting_answer(self) -> bool:
        """Whether a request went out whole and its answer is due: it is had by reading on, whoever asked."""
        return self._turn is Turn.AWAITING and not self._send_failed and not self._fault

    @property
    def awaiting_invocation(self) -> bool:
        """Whether a poll is open: it is resumed, never asked twice."""
        return self.awaiting_answer and self._ask is NextAsked

    # -- out

    def send(self, event: Ask) -> bytes:
        """Return the bytes that say ``event``.

        Raises:
            LocalProtocolError: It may not be said now. Nothing changed.
            Malformed: It cannot be said on this wire, such as error trailers above their limit. Nothing changed.
        """
        return b"".join(self.send_buffers(event))

    def send_buffers(self, event: Ask) -> list[BytesLike]:
        """Return what ``send`` returns, as buffers to be written in order: a payload is not copied.

        Raises:
            LocalProtocolError: It may not be said now. Nothing changed.
            Malformed: It cannot be said on this wire, such as error trailers above their limit. Nothing changed.
        """
        ask = type(event)
        turn = TURNS[self._turn].get(ask) if ask in _ASKS else None
        if turn is None or self.must_close:
            closing = ", and the connection must be closed" if self.must_close else ""
            raise LocalProtocolError(
                f"{ask.__name__} may not be sent while the connection is {self._turn.value}{closing}"
            )
        if isinstance(event, _PARTS):
            buffers = _encode_part(event)
        else:
            request_id, invocation_id = getattr(event, "request_id", ""), getattr(event, "invocation_id", "")
            refusal = self._lifecycle.judge(ask, request_id, invocation_id)
            if refusal is not None:
                raise LocalProtocolError(f"{ask.__name__} would be refused: {refusal.error_message}")
            buffers = self._encode_request(event)
            self._lifecycle.asked(ask, request_id)
            self._ask, self._request_id, self._holds = ask, request_id, True
            self._reader.expect(route_of(ask).method)
        self._turn = turn
        return buffers

    def send_failed(self) -> None:
        """Say that what ``send`` returned was not written whole: this connection can carry nothing more."""
        self._must_close = self._send_failed = True

    def abandon(self) -> None:
        """Give the connection up, whatever is open on it. The fate of what was being sent stays unknown."""
        self._let_go()
        self._turn = Turn.CLOSED

    def _encode_request(self, event: Ask) -> list[BytesLike]:
        route = route_of(type(event))
        fields, payload = encode_ask(event)
        target = target_of(route, getattr(event, "request_id", ""))
        head = encode_request_head(route.method, target, self._common + fields)
        return [head, payload] if payload else [head]

    # -- in

    def receive_data(self, data: BytesLike) -> None:
        """Take bytes from the service; ``b""`` says that no more come. After that, or a fault, they are dropped."""
        if not self._fault:
            self._reader.receive_data(data)

    def next_event(self) -> RuntimeEvent | Signal:
        """Return what the service said next, or a signal.

        Raises:
            RemoteProtocolError: It said what it may not. Every later call raises it again.
        """
        if self._fault:
            raise RemoteProtocolError(self._fault)
        try:
            return self._next_event()
        except TruncatedMessage:  # nobody's fault: the connection was lost
            self.abandon()
            return ConnectionClosed()
        except Malformed as fault:
            self._fault = f"the service sent what it may not: {fault}"
            self._let_go()
            raise RemoteProtocolError(self._fault) from fault

    def _next_event(self) -> RuntimeEvent | Signal:
        while True:
            part = self._reader.next_event()
            match part:
                case Signal():
                    return part
                case ResponseHead():
                    self._take_head(part)
                case bytes():
                    self._take_body(part)
                case MessageEnd():
                    return self._take_end()
                case _:
                    assert isinstance(part, ConnectionClosed)  # a client's reader gives no RequestHead
                    self.abandon()
                    return part

    def _take_head(self, head: ResponseHead) -> None:
        if not self._holds and (head.status < 400 or self._turn is not Turn.IDLE):
            raise Malformed(f"expected nothing while no request is open, got a response with status {head.status}")
        self._head = head
        self._body, self._body_size = [], 0
        self._must_close = self._must_close or not head.keep_alive

    def _take_body(self, piece: bytes) -> None:
        self._body_size += len(piece)
        if self._body_size > self._max_payload:
            raise Malformed(f"expected an answer of at most {self._max_payload} bytes, got more")
        self._body.append(piece)

    def _take_end(self) -> RuntimeEvent:
        assert self._head is not None
        answer = decode_answer(self._ask, self._head, b"".join(self._body))
        if isinstance(answer, Invocation):
            if not self._lifecycle.may_invoke(answer.request_id):
                raise Malformed("expected no invocation while the environment holds another")
            self._lifecycle.invoked(answer)
        elif self._holds:
            self._lifecycle.answered(self._ask, self._request_id, type(answer))
        self._holds = False
        self._turn = TURNS[self._turn][type(answer)]
        self._body = []
        self._reader.start_next()
        return answer

    def _let_go(self) -> None:
        """The connection is over: what it held of the environment is over too."""
        if self._holds:
            self._lifecycle.answered(self._ask, self._request_id, ConnectionClosed)
            self._holds = False


def _encode_part(event: ResponseChunk | ResponseFinished | ResponseFailed) -> list[BytesLike]:
    match event:
        case ResponseChunk():
            return [chunk_head(len(event.data)), event.data, CHUNK_END]
        case ResponseFinished():
            return [encode_end()]
        case _:
            return [encode_end(encode_trailers(event.error_type, event.error_body))]
