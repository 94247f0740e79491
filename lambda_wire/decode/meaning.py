"""What requests and answers say: each request is put to a service's connection of its own, which judges it.

That connection stands in an environment in which the request is legal: a capture does not show what was said on other
connections (RT-CONN-5). Only what the service refused is known to have been out of order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final

from lambda_wire import _names as names
from lambda_wire._answers import decode_answer
from lambda_wire._error_payload import decode_error, decode_trailers
from lambda_wire._errors import RemoteProtocolError
from lambda_wire._events import (
    BufferedResponse,
    ConnectionClosed,
    ContinueAsked,
    ErrorReported,
    InitErrorReported,
    Invocation,
    NextAsked,
    PingAsked,
    Refused,
    ResponseChunk,
    ResponseFailed,
    ResponseFinished,
    RestoreErrorReported,
    Violation,
)
from lambda_wire._heads import field_value
from lambda_wire._invoke_answers import decode_accepted, decode_answered, decode_refusal
from lambda_wire._invoke_asks import find_invoke
from lambda_wire._invoke_events import (
    InvokeAccepted,
    InvokeAnswered,
    InvokeAsked,
    InvokeRefused,
    InvokeViolation,
    OtherAsked,
)
from lambda_wire._invoke_service import InvokeServiceConnection
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._malformed import Malformed, quote
from lambda_wire._messages import RequestHead, ResponseHead
from lambda_wire._record import record
from lambda_wire._routes import Match, match
from lambda_wire._service import ServiceConnection
from lambda_wire._signals import Signal
from lambda_wire._state import LIFECYCLE, State
from lambda_wire._types import Headers
from lambda_wire.decode.contents import Content, Messages, cause_of, prelude_of
from lambda_wire.decode.pieces import Layer, Piece, violation
from lambda_wire.decode.rules import (
    ANSWER_FIELDS,
    CONTENT_TYPES,
    EVENTS,
    REFUSALS,
    REQUEST_FIELDS,
    STATUSES,
    URL_ANSWER,
    URL_ANSWER_FIELDS,
    URL_REQUEST_FIELDS,
)

__all__ = ["Answer", "Asked", "Meaning", "Request", "Talk"]

_CONTENT_TYPE: Final = names.CONTENT_TYPE.lower()
_RUNTIME_API: Final = names.PING_PATH.removesuffix("ping")
_OTHER: Final = ("request for a path that spec/ gives no meaning", ("RT-PATH-2",))
#: What no answer of a function URL has of its own, save the type of a refusal: both have it, and are read alike.
_INVOKE_ALONE: Final = frozenset(
    name.lower()
    for name in (
        names.X_AMZ_EXECUTED_VERSION,
        names.X_AMZ_FUNCTION_ERROR,
        names.X_AMZ_LOG_RESULT,
        names.X_AMZN_ERROR_TYPE,
        names.X_AMZN_REMAPPED_CONTENT_TYPE,
    )
)


@record
class Asked:
    """What an answer has to be read for."""

    method: str
    ask: type | None
    """Of the Runtime API, ``InvokeAsked``, or ``OtherAsked`` of a function URL; ``None`` when it is none of these."""
    streaming: bool = False
    of_runtime: bool = True
    """Whether a refusal may be one of the Runtime API."""


class Talk:
    """What was said on a connection so far."""

    def __init__(self) -> None:
        self.asked: deque[Asked] = deque()
        """What was not answered yet."""
        self.of_runtime = False
        """Whether there was a request to the Runtime API: who sends one has nothing to ask of a function URL."""


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
        self._begin = begin
        self._content = content
        self._body_at = -1

    def _is(self, what: str, rules: tuple[str, ...], fields: Mapping[str, str]) -> None:
        self.what, self.rules, self.fields = what, rules, fields

    def hear(self, raw: bytes) -> Iterator[Piece]:  # noqa: ARG002
        """Take the bytes of the message, as they come."""
        yield from ()

    def body(self, data: bytes, offset: int) -> Iterator[Piece]:
        """Explain a piece of the body."""
        if self._body_at < 0:
            self._body_at = offset
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


class Request(Meaning):
    """A request, put to a service."""

    def __init__(self, begin: int, head: RequestHead, talk: Talk) -> None:
        super().__init__(begin)
        self._service: ServiceConnection | InvokeServiceConnection | None = None
        self._event: object = None
        ask: type | None = None
        path = _path(head.target)
        invoke = find_invoke(head.target)
        if invoke is not None:
            ask, self._service = InvokeAsked, InvokeServiceConnection()
        elif path.startswith(_RUNTIME_API):
            talk.of_runtime, self._service = True, ServiceConnection()
            if isinstance(found := match(head.method, head.target), Match):
                ask = found.route.asks[0]
                self._service = _service_for(ask, found.request_id)
        elif not (talk.of_runtime or _is_dated(path)):
            ask, self._service = OtherAsked, InvokeServiceConnection()
        if ask is BufferedResponse:
            self._content = prelude_of(field_value(head.headers, _CONTENT_TYPE))
        fields = {**REQUEST_FIELDS, _CONTENT_TYPE: CONTENT_TYPES.get(ask, "")}
        self._is(*(_OTHER if ask is None else EVENTS[ask]), URL_REQUEST_FIELDS if ask is OtherAsked else fields)
        streaming = invoke is not None and invoke.streaming
        talk.asked.append(Asked(method=head.method, ask=ask, streaming=streaming, of_runtime=talk.of_runtime))

    def hear(self, raw: bytes) -> Iterator[Piece]:
        """See ``Meaning``: put them to the service."""
        if self._service is None or not raw:
            return
        self._service.receive_data(raw)
        try:
            while not isinstance(event := self._service.next_event(), (Signal, ConnectionClosed)):
                if isinstance(event, (Violation, InvokeViolation)):
                    self._service = self._event = None
                    yield self._refused(event.reply)
                    return
                if not isinstance(event, (ResponseChunk, ContinueAsked)):
                    self._event = event
        except RemoteProtocolError as fault:
            self._service = self._event = None
            yield violation(cause_of(fault), self._begin, "RT-CONN-16")

    def _refused(self, reply: Refused | InvokeRefused) -> Piece:
        said = reply.error_message if isinstance(reply, Refused) else reply.message
        shown = ": ".join(filter(None, [f"{reply.status} {reply.error_type}".strip(), said]))
        reason = f"expected a request that the service accepts, got one that it answers with {shown}"
        return violation(Malformed(reason), self._begin, *(REFUSALS.get(reply.error_type) or STATUSES[reply.status]))

    def end(self, trailers: Headers | None, end: int) -> Iterator[Piece]:
        """See ``Meaning``."""
        yield from super().end(trailers, end)
        if trailers is None:
            return
        event = self._event
        if isinstance(event, (ErrorReported, InitErrorReported, RestoreErrorReported)) and event.payload:
            yield self._document(event.payload, end)
        yield self._whole(event, end)
        body = field_value(trailers, names.FUNCTION_ERROR_BODY.lower())
        if isinstance(event, ResponseFinished) and decode_trailers(trailers) is not None:
            reason = f"expected {names.FUNCTION_ERROR_TYPE} to be declared in the field Trailer, got it undeclared"
            yield violation(Malformed(reason), end, "RS-HEAD-3")
        elif isinstance(event, ResponseFailed) and body and not event.error_body:
            yield violation(Malformed(f"expected standard base64 with padding, got {quote(body)}"), end, "RS-TRAILER-2")

    def _document(self, payload: bytes, end: int) -> Piece:
        try:
            what = f"error document: {decode_error(payload)!r}"
        except Malformed as fault:
            what = f"bytes that the service takes for an error document, too: {fault.reason}"
        size, rules = end - self._body_at, ("ER-DOC-1", "ER-DOC-2")
        return Piece(offset=self._body_at, length=size, what=what, rules=rules, layer=Layer.CONTENT)


def _path(target: str) -> str:
    """Return the path of a request target, also of one in absolute form (RFC 9112, 3.2.2)."""
    return target if target.startswith("/") else "/" + target.partition("://")[2].partition("/")[2]


def _is_dated(path: str) -> bool:
    """Say whether a path begins as those of AWS's APIs do, with a date; some share the Runtime API's address."""
    return "".join("0" if letter.isdecimal() else letter for letter in path[:12]) == "/0000-00-00/"


def _service_for(ask: type, request_id: str) -> ServiceConnection:
    lifecycle = StandardLifecycle(snap_start=True)
    lifecycle.state = next((state for state, legal in LIFECYCLE.items() if ask in legal), State.STARTED)
    lifecycle.request_id = request_id
    return ServiceConnection(lifecycle)


class Answer(Meaning):
    """An answer, to what was asked before, or to what it shows itself that was asked."""

    def __init__(self, begin: int, head: ResponseHead, talk: Talk) -> None:
        super().__init__(begin)
        self._head = head
        self._asked = talk.asked.popleft() if talk.asked else _guessed(head)
        self._collected = bytearray()
        ask, good = self._asked.ask, 200 <= head.status <= 299
        kind: type | None = Invocation if ask is NextAsked and good else None
        if ask is InvokeAsked and good and self._asked.streaming:
            remapped = field_value(head.headers, names.X_AMZN_REMAPPED_CONTENT_TYPE.lower())
            kind, self._content = InvokeAccepted, Messages(Layer.CONTENT, remapped)
        elif ask is InvokeAsked:
            kind = InvokeAnswered if good else InvokeRefused
        self._kind = kind
        what = f"answer {head.status}" if ask is None else f"answer {head.status} to: {EVENTS[ask][0]}"
        rules = () if kind is None else EVENTS[kind][1]
        fields: Mapping[str, str] = {**ANSWER_FIELDS, _CONTENT_TYPE: CONTENT_TYPES.get(kind, "")}
        if ask is OtherAsked:
            rules, fields = URL_ANSWER, URL_ANSWER_FIELDS
        self._is(what, rules, fields)

    def body(self, data: bytes, offset: int) -> Iterator[Piece]:
        """See ``Meaning``."""
        if self._kind is not InvokeAccepted:
            self._collected += data
        yield from super().body(data, offset)

    def end(self, trailers: Headers | None, end: int) -> Iterator[Piece]:
        """See ``Meaning``."""
        yield from super().end(trailers, end)
        if trailers is None:
            return
        try:
            event = self._event()
        except Malformed as fault:
            yield violation(fault, self._begin, "IN-ANSWER-4")
            return
        yield self._whole(event, end)
        if isinstance(event, Refused) and (rules := REFUSALS.get(event.error_type)):
            reason = f"the service refused the request with {event.status} {event.error_type}: {event.error_message}"
            yield violation(Malformed(reason), self._begin, *rules)

    def _event(self) -> object:
        head, body, ask = self._head, bytes(self._collected), self._asked.ask
        if self._kind is InvokeAccepted:
            return decode_accepted(head)
        if ask is InvokeAsked:
            return decode_answered(head, body) if self._kind is InvokeAnswered else decode_refusal(head, body)
        if ask is None and self._asked.of_runtime and (head.status >= 400 or body == b"pong"):
            ask = PingAsked  # every request of the Runtime API is refused alike
        return None if ask in (None, OtherAsked) else decode_answer(ask, head.status, head.headers, body)


def _guessed(head: ResponseHead) -> Asked:
    """Return what was asked, if the head of its answer shows that."""
    fields = {name for name, _ in head.headers}
    streaming = field_value(head.headers, _CONTENT_TYPE).startswith(names.EVENT_STREAM)
    ask: type | None = None
    if streaming or not _INVOKE_ALONE.isdisjoint(fields):
        ask = InvokeAsked
    elif names.X_AMZN_REQUEST_ID.lower() in fields:  # an Invoke that ran nothing has no field but this, either
        ask = None if head.status in (202, 204) else OtherAsked
    elif names.AWS_REQUEST_ID.lower() in fields:
        ask = NextAsked
    elif head.status == 202:
        ask = BufferedResponse
    return Asked(method="GET", ask=ask, streaming=streaming)
