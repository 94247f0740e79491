"""The service's end of the Runtime API, on one connection.

``next_event`` says what the runtime asks and reports; ``send`` answers it. What the law refuses comes as a
``Violation`` with the reply that the real service gives; what is not even HTTP is raised, with a reply where one can
still be given. A refused request is read to its end, within bounds, before the refusal is given: Go's server does so,
and a runtime that only reads after it wrote can then read it.
"""

from __future__ import annotations

from collections import deque
from typing import Final, TypeAlias, get_args

from lambda_wire import _limits as limits
from lambda_wire import _names as names
from lambda_wire._answers import encode_answer
from lambda_wire._asks import decode_ask, decode_start
from lambda_wire._error_payload import decode_trailers
from lambda_wire._errors import LocalProtocolError
from lambda_wire._events import (
    Answer,
    Ask,
    BufferedResponse,
    ConnectionClosed,
    Continue,
    ContinueAsked,
    Invocation,
    NextAsked,
    PingAsked,
    Refused,
    ResponseChunk,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    RestoreAsked,
    Violation,
    response_chunks,
)
from lambda_wire._heads import field_value, reason_phrase
from lambda_wire._lifecycle import NOT_FOUND, Lifecycle, StandardLifecycle, too_large
from lambda_wire._malformed import Malformed
from lambda_wire._messages import MalformedMessage, MessageEnd, RequestHead
from lambda_wire._routes import match, route_of
from lambda_wire._server_turns import ServerRole, ServerTurns, status_of
from lambda_wire._signals import NEED_DATA, PAUSED, Signal
from lambda_wire._state import Act, Turn
from lambda_wire._types import BytesLike, Headers
from lambda_wire._whole_body import WholeBody

__all__ = ["ServiceConnection", "ServiceEvent"]

ServiceEvent: TypeAlias = Ask | ContinueAsked | ConnectionClosed | Violation

_POLLS: Final = (NextAsked, RestoreAsked)
_ANSWERS: Final = frozenset(get_args(Answer))
_TRUNCATED: Final = Refused(
    status=400, error_type=names.TRUNCATED_HTTP_REQUEST, error_message="HTTP request detected as truncated"
)
_INVALID_MODE: Final = Refused(
    status=400, error_type=names.INVALID_FUNCTION_RESPONSE_MODE, error_message="Invalid function response mode"
)
_MODE: Final = names.FUNCTION_RESPONSE_MODE.lower()
_ENCODING: Final = names.TRANSFER_ENCODING.lower()


class ServiceConnection(ServerRole[Refused]):
    """The service's end of one TCP connection from a runtime.

    Args:
        lifecycle: The environment's state, shared by its connections; a new one in standard mode when not given.
        max_payload: Largest buffered response or error document in bytes.
        max_stream: Largest streamed response in bytes.
    """

    def __init__(
        self,
        lifecycle: Lifecycle | None = None,
        *,
        max_payload: int = limits.MAX_PAYLOAD,
        max_stream: int = limits.MAX_STREAM,
    ) -> None:
        super().__init__(ServerTurns("runtime", keep_boundaries=True))
        self._lifecycle: Lifecycle = StandardLifecycle() if lifecycle is None else lifecycle
        self._max_payload = max_payload
        self._max_stream = max_stream
        self._events: deque[ServiceEvent] = deque()
        self._begin()

    def _begin(self) -> None:
        """Forget the request before."""
        self._ask: type = PingAsked
        self._request_id = ""
        self._holds = False
        """Whether this request moved the environment, so that its answer moves it on."""
        self._refusal = None
        self._body = WholeBody(self._max_payload, "a request")
        self._limit = self._max_payload
        self._size = 0
        self._streams = False
        """Whether the request is a stream that was accepted at its head."""
        self._dry = False
        """Whether nothing of a stream can be read before more bytes come."""

    @property
    def answering(self) -> str:
        """The id of the invocation that the open request answers, from its head on; empty when it answers none."""
        return self._request_id if self._holds else ""

    # -- in

    def receive_data(self, data: BytesLike) -> None:
        """Take bytes from the runtime; ``b""`` says that no more come. Once ``must_close``, they are dropped."""
        self._dry = False
        super().receive_data(data)

    def next_event(self) -> ServiceEvent | Signal:
        """Return what the runtime said next, or a signal: ``PAUSED`` while an answer is due before more is read.

        The end of a connection is told at once to who waits with a poll; after a report its answer goes out first.

        Raises:
            RemoteProtocolError: It said what it may not. Every later call raises it again; its ``reply``, if there is
                one, may be sent once.
        """
        events = self._events
        if not events:
            if self._streams and not self._dry:
                self._take_chunks()
            if not events:
                return NEED_DATA if self._dry else self._next_event()
        return events.popleft()

    def _next_event(self) -> ServiceEvent | Signal:
        self._turns.check()
        try:
            return self._read_on()
        except Malformed as fault:
            self._refusal = self._reply_to(fault)
            self._let_go()
            raise self._turns.accuse(fault, reply=self._refusal) from fault

    def _read_on(self) -> ServiceEvent | Signal:
        while not self._events:
            part = self._turns.next_part()
            match part:
                case bytes():
                    self._take_body(part)
                case Signal():
                    return part
                case RequestHead():
                    self._take_head(part)
                case MessageEnd():
                    self._events.append(self._end(part.trailers))
                case _:  # ConnectionClosed
                    if self.turn is Turn.AWAITING and self._ask not in _POLLS:
                        return PAUSED  # it has only ended its half, and waits for its answer
                    self.abandon()
                    return part
        return self._events.popleft()

    def _take_head(self, head: RequestHead) -> None:
        self._begin()
        found = match(head.method, head.target)
        if isinstance(found, Refused):
            self._refusal = self._unless_unserved(found, head.target)
        else:
            self._ask, self._request_id = found.route.asks[0], found.request_id
            self._admit(head.headers)
        if head.expects_continue and self._refusal is not None:
            self._refuse(self._refusal)  # a body that would be refused is never asked for (RT-CONN-12)
        elif head.expects_continue:
            self._events.append(ContinueAsked())

    def _unless_unserved(self, refusal: Refused, target: str) -> Refused:
        """Return what is said to a method that is not the one of its path: a path that is not served has none."""
        right = match(refusal.allow, target)
        served = isinstance(right, Refused) or self._lifecycle.judge(right.route.asks[0], "", "") != NOT_FOUND
        return refusal if served else NOT_FOUND

    def _refuse(self, refusal: Refused) -> None:
        """Read no more of the request."""
        self._turns.move(Act.REQUEST_ENDED)
        self._events.append(Violation(reply=refusal))

    def _admit(self, headers: Headers) -> None:
        """Hold the request against the law, in the service's order: id, state, mode; the body comes later."""
        mode = field_value(headers, _MODE)
        if self._ask is BufferedResponse and (mode or field_value(headers, _ENCODING)):
            self._ask = ResponseStarted
        invocation_id = field_value(headers, names.INVOCATION_ID.lower())
        self._refusal = self._lifecycle.judge(self._ask, self._request_id, invocation_id)
        if self._refusal is not None:
            self._lifecycle.refused(self._ask, self._request_id)
            return
        self._lifecycle.asked(self._ask, self._request_id)
        if self._ask is ResponseStarted and mode not in (names.STREAMING, ""):
            self._refusal = _INVALID_MODE
            self._lifecycle.mode_refused(self._request_id)
            return
        self._holds = True
        if self._ask is ResponseStarted:
            self._limit = self._max_stream if mode else self._max_payload
            self._events.append(decode_start(self._request_id, headers))
            self._streams = True

    def _take_chunks(self) -> None:
        """Take what of an accepted stream needs no judgement."""
        pieces, self._dry = self._turns.take_pieces(self._limit - self._size)
        self._size += sum(map(len, pieces))
        self._events.extend(response_chunks(pieces))

    def _take_body(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._refusal is None and self._size <= self._limit:
            if self._ask is ResponseStarted:
                self._events.append(ResponseChunk(data=piece))
            else:
                self._body.add(piece)
            return
        if self._refusal is None:
            self._refusal = too_large(self._limit)
            self._body.drop()
            self._turns.allow_unread(limits.MAX_PAYLOAD)  # the emulator reads a body that is too large whole
        if not self._turns.may_skip(len(piece)):
            self._refuse(self._refusal)

    def _end(self, trailers: Headers) -> ServiceEvent:
        if self._refusal is not None:
            return Violation(reply=self._refusal)
        headers = self._turns.head.headers
        if self._ask is not ResponseStarted:
            return decode_ask(self._ask, self._request_id, headers, self._body.take())
        failure = decode_trailers(_declared(headers, trailers))
        return ResponseFinished() if failure is None else ResponseFailed(error_type=failure[0], error_body=failure[1])

    def _reply_to(self, fault: Malformed) -> Refused:
        if self._turns.in_body and isinstance(fault, MalformedMessage):
            return self._refusal or _TRUNCATED
        status = status_of(fault)
        return Refused(status=status, error_message=f"{status} {reason_phrase(status)}: {fault}")

    # -- out

    def send(self, answer: Answer) -> bytes:
        """Return the bytes that say ``answer``.

        Raises:
            LocalProtocolError: It may not be said now, or does not answer what was asked. Nothing changed.
            Malformed: It cannot be said on this wire: a field holds what is no text. Nothing changed.
        """
        return b"".join(self.send_buffers(answer))

    def send_buffers(self, answer: Answer) -> list[BytesLike]:
        """Return what ``send`` returns, as buffers to be written in order: a payload is not copied.

        Raises:
            LocalProtocolError: It may not be said now, or does not answer what was asked. Nothing changed.
            Malformed: It cannot be said on this wire: a field holds what is no text. Nothing changed.
        """
        kind = type(answer)
        if isinstance(answer, Continue):
            self._continue()
            return encode_answer(answer)
        if kind not in _ANSWERS:
            raise LocalProtocolError(f"{kind.__name__} may not be sent by a service")
        self._turns.require(Act.ANSWER_STARTED, kind.__name__)
        if self._refusal is not None and kind is not Refused:
            raise LocalProtocolError(f"expected the refusal {self._refusal!r} to be sent, got {kind.__name__}")
        if self.turn is not Turn.AWAITING and kind is not Refused:
            raise LocalProtocolError(f"{kind.__name__} may not be sent before the request is complete")
        if kind not in route_of(self._ask).answers:
            raise LocalProtocolError(f"{kind.__name__} does not answer {self._ask.__name__}")
        if isinstance(answer, Invocation) and not self._lifecycle.may_invoke(answer.request_id):
            raise LocalProtocolError("an invocation may not be sent while the environment holds another")
        head = self._turns.head
        last = self._turns.last
        connection = self._turns.connection(last=last, always=False)
        buffers = encode_answer(answer, connection=connection, has_body=head.method != "HEAD")
        if isinstance(answer, Invocation):
            self._lifecycle.invoked(answer)
        elif self._holds:
            self._lifecycle.answered(self._ask, self._request_id, kind)
        self._begin()
        self._events.clear()
        self._turns.move(Act.LAST_ANSWER_STARTED if last else Act.ANSWER_STARTED)
        self._turns.end_answer()
        return buffers

    def abandon(self) -> None:
        """Give the connection up without a word, whatever is open on it."""
        self._let_go()
        self._events.clear()
        self._streams = self._dry = False
        super().abandon()

    def _let_go(self) -> None:
        """The connection is over: what it held of the environment is over too."""
        if self._holds:
            self._lifecycle.answered(self._ask, self._request_id, ConnectionClosed)
            self._holds = False


def _declared(headers: Headers, trailers: Headers) -> Headers:
    """Return the trailers that the head declared: the service never sees the others (RS-TRAILER-4)."""
    named = {name.strip().lower() for held, value in headers if held == "trailer" for name in value.split(",")}
    return tuple((name, value) for name, value in trailers if name in named)
