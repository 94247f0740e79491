"""What requests say: each is put to a service's connection of its own, which judges it.

That connection stands in an environment in which the request is legal: a capture does not show what was said on other
connections (RT-CONN-5). Only what the service refused is known to have been out of order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lambda_wire import _names as names
from lambda_wire._error_payload import decode_error, decode_trailers
from lambda_wire._errors import RemoteProtocolError
from lambda_wire._events import (
    BufferedResponse,
    ConnectionClosed,
    ContinueAsked,
    ErrorReported,
    InitErrorReported,
    Refused,
    ResponseChunk,
    ResponseFailed,
    ResponseFinished,
    RestoreErrorReported,
    Violation,
)
from lambda_wire._heads import field_value
from lambda_wire._invoke_asks import find_invoke
from lambda_wire._invoke_events import InvokeAsked, InvokeRefused, InvokeViolation, OtherAsked
from lambda_wire._invoke_service import InvokeServiceConnection
from lambda_wire._json import require_json
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._malformed import Malformed, quote
from lambda_wire._messages import RequestHead
from lambda_wire._routes import Match, match, target_of
from lambda_wire._service import ServiceConnection
from lambda_wire._signals import Signal
from lambda_wire._state import LIFECYCLE, State
from lambda_wire._types import Headers
from lambda_wire.decode.contents import Places, cause_of, prelude_of
from lambda_wire.decode.meaning import Asked, Meaning, Talk
from lambda_wire.decode.pieces import Layer, Piece, violation
from lambda_wire.decode.refusals import broken_by, shown
from lambda_wire.decode.rules import CONTENT_TYPES, EVENTS, REQUEST_FIELDS, URL_REQUEST_FIELDS

__all__ = ["Request"]

_CONTENT_LENGTH: Final = names.CONTENT_LENGTH.lower()
_CONTENT_TYPE: Final = names.CONTENT_TYPE.lower()
_ERROR_BODY: Final = names.FUNCTION_ERROR_BODY.lower()
_ERROR_TYPE: Final = names.FUNCTION_ERROR_TYPE.lower()
_MODE: Final = names.FUNCTION_RESPONSE_MODE.lower()
_RUNTIME_API: Final = names.PING_PATH.removesuffix("/ping")
_OTHER: Final = ("request for a path that spec/ gives no meaning", ("RT-PATH-2",))


class Request(Meaning):
    """A request, put to a service."""

    def __init__(self, begin: int, head: RequestHead, talk: Talk) -> None:
        super().__init__(begin)
        self.refused: bool = False
        """Whether our service refuses it, too."""
        self._head: RequestHead | None = head
        self._talk = talk
        self._service: ServiceConnection | InvokeServiceConnection | None = None
        self._event: object = None
        self._route: Match | None = None
        self._payload = bytearray()
        self._payload_places = Places()
        ask: type | None = None
        path = _path(head.target)
        invoke = find_invoke(head.target)
        if invoke is not None:
            ask, self._service = InvokeAsked, InvokeServiceConnection()
        elif _is_of_runtime(path):
            talk.of_runtime, self._service = True, ServiceConnection()
            if isinstance(found := match(head.method, head.target), Match):
                ask, self._route = found.route.asks[0], found
                self._service = _service_for(ask, found.request_id)
        elif not (talk.of_runtime or _is_dated(path)):
            ask, self._service = OtherAsked, InvokeServiceConnection()
        if ask is BufferedResponse:
            self._content = prelude_of(field_value(head.headers, _CONTENT_TYPE))
        self._ask = ask
        self._streaming = invoke is not None and invoke.streaming
        fields = {**REQUEST_FIELDS, _CONTENT_TYPE: CONTENT_TYPES.get(ask, "")}
        self._is(*(_OTHER if ask is None else EVENTS[ask]), URL_REQUEST_FIELDS if ask is OtherAsked else fields)
        asked = Asked(method=head.method, ask=ask, streaming=self._streaming, of_runtime=talk.of_runtime, request=self)
        talk.asked.append(asked)

    def hear(self, raw: bytes) -> Iterator[Piece]:
        """See ``Meaning``: put them to the service."""
        if self._head is not None:
            head, self._head = self._head, None
            yield from self._judge(head)
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

    def _judge(self, head: RequestHead) -> Iterator[Piece]:
        """Say what a runtime may not write in a head, although a service reads it."""
        found = self._route
        if found is not None and target_of(found.route, found.request_id) != _path(head.target).partition("?")[0]:
            reason = f"expected an id with %XX, in upper case, only where it is due, got {quote(found.request_id)}"
            yield self._broken(reason, "RT-PATH-5")
        if self._ask is BufferedResponse and field_value(head.headers, _MODE) == names.STREAMING:
            length = field_value(head.headers, _CONTENT_LENGTH)
            if length:
                reason = f"expected no Content-Length of a streamed response, got {quote(length)}"
                yield self._broken(reason, "RS-HEAD-2", _CONTENT_LENGTH)
            elif not field_value(head.headers, names.TRANSFER_ENCODING.lower()):
                reason = "expected Transfer-Encoding: chunked of a streamed response, got none"
                yield self._broken(reason, "RS-HEAD-2", _MODE)

    def body(self, data: bytes, offset: int) -> Iterator[Piece]:
        """See ``Meaning``."""
        if self._ask is InvokeAsked:
            self._payload += data
            self._payload_places.add(len(data), offset)
        yield from super().body(data, offset)

    def _refused(self, reply: Refused | InvokeRefused) -> Piece:
        self.refused = True
        self._talk.held = self._talk.held or reply.error_type == names.INVALID_FUNCTION_RESPONSE_MODE
        if reply.error_type == names.INVALID_REQUEST_CONTENT and self._payload:
            try:
                require_json(bytes(self._payload))
            except Malformed as fault:
                return violation(fault, self._payload_places.of(fault.at or 0), "IN-ASK-2")
        broken = broken_by(self._ask, reply, streaming=self._streaming)
        assert broken is not None
        reason = f"expected {broken.expected}, got a request that the service answers with {shown(reply)}"
        return self._broken(reason, broken.rule, broken.field)

    def end(self, trailers: Headers | None, end: int) -> Iterator[Piece]:
        """See ``Meaning``."""
        yield from super().end(trailers, end)
        if trailers is None:
            return
        event = self._event
        if isinstance(event, (ErrorReported, InitErrorReported, RestoreErrorReported)) and event.payload:
            yield self._document(event.payload, end)
        yield self._whole(event, end)
        if isinstance(event, (ResponseFinished, ResponseFailed)):
            yield from self._judge_trailers(event, trailers)

    def _judge_trailers(self, event: ResponseFinished | ResponseFailed, trailers: Headers) -> Iterator[Piece]:
        """Say what the error trailers are that the service took for less than they say."""
        error_type, body = field_value(trailers, _ERROR_TYPE), field_value(trailers, _ERROR_BODY)
        said = decode_trailers(trailers)
        field = _ERROR_TYPE
        if said is None and not self.trailer_places.keys().isdisjoint({_ERROR_TYPE, _ERROR_BODY}):
            field = _ERROR_TYPE if _ERROR_TYPE in self.trailer_places else _ERROR_BODY
            rule, reason = "RS-TRAILER-3", f"expected {names.FUNCTION_ERROR_TYPE} with an error type, got none"
        elif said is not None and isinstance(event, ResponseFinished):
            rule, reason = "RS-HEAD-3", f"expected {names.FUNCTION_ERROR_TYPE} to be declared in the field Trailer"
            reason += f", got {quote(error_type)} undeclared"
        elif said is not None and isinstance(event, ResponseFailed) and body and not event.error_body:
            field = _ERROR_BODY
            rule, reason = "RS-TRAILER-2", f"expected standard base64 with padding, got {quote(body)}"
            if said[1]:
                rule, reason = "RS-HEAD-3", f"expected {names.FUNCTION_ERROR_BODY} to be declared in the field Trailer"
        else:
            return
        yield violation(Malformed(reason), self.trailer_places[field], rule)

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


def _is_of_runtime(path: str) -> bool:
    """Say whether the Runtime API is meant: by its date, or by its word behind another one."""
    dated = path.partition("?")[0] == _RUNTIME_API or path.startswith(f"{_RUNTIME_API}/")
    return dated or (_is_dated(path) and path[11:].startswith("/runtime/"))


def _service_for(ask: type, request_id: str) -> ServiceConnection:
    lifecycle = StandardLifecycle(snap_start=True)
    lifecycle.state = next((state for state, legal in LIFECYCLE.items() if ask in legal), State.STARTED)
    lifecycle.request_id = request_id
    return ServiceConnection(lifecycle)
