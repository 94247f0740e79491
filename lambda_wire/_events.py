"""The vocabulary of the Runtime API: what one end sends is exactly what the other end receives.

Events that the runtime sends end in nothing: they are facts about what it asks or reports. Events that the service
sends answer them. All are frozen, complete at birth, and refuse values that cannot travel in HTTP.

Source of the vocabulary: AWS's Runtime API OpenAPI 1.0.3, AWS docs "Building a custom runtime", and the emulator of
aws-sam-cli 1.170.0 for what these leave out (tenants, invocation ids, 410, restore).
"""

from __future__ import annotations

from lambda_wire import _limits as limits
from lambda_wire import _names as names
from lambda_wire._fields import are_plain, require_bytes, require_field_value, require_fields, require_text
from lambda_wire._malformed import Malformed, quote
from lambda_wire._record import field, record
from lambda_wire._types import Headers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Final, Literal, TypeAlias

__all__ = [
    "Accepted",
    "Answer",
    "Ask",
    "BufferedResponse",
    "ConnectionClosed",
    "Continue",
    "ContinueAsked",
    "ErrorReported",
    "Event",
    "InitErrorReported",
    "Invocation",
    "NextAsked",
    "PingAsked",
    "Pong",
    "Refused",
    "ResponseChunk",
    "ResponseFailed",
    "ResponseFinished",
    "ResponseStarted",
    "RestoreAsked",
    "RestoreErrorReported",
    "RestoreReady",
    "Violation",
]

#: What the message says of itself and what an invocation has a field for, in lower case: none of its other headers.
SAID_ELSEWHERE: Final = (
    names.HOP_BY_HOP_FIELDS
    | names.FRAMING_FIELDS
    | {
        name.lower()
        for name in (
            *(names.CONTENT_TYPE, names.DATE, names.AWS_REQUEST_ID, names.DEADLINE_MS, names.INVOKED_FUNCTION_ARN),
            *(names.TRACE_ID, names.CLIENT_CONTEXT, names.COGNITO_IDENTITY, names.AWS_TENANT_ID, names.INVOCATION_ID),
        )
    }
)


def _require_integer(value: object, what: str, *, lowest: int, highest: int) -> None:
    if type(value) is not int or not lowest <= value <= highest:
        raise Malformed(f"{what} must be an integer from {lowest} to {highest}, got {quote(value)}")


def _require_request_id(value: str) -> None:
    if not value:
        raise Malformed("request_id must not be empty: it is the path of the answer")
    require_field_value(value, "request_id")


# -- what the runtime asks and reports


@record
class NextAsked:
    """The runtime polls for an invocation: ``GET /runtime/invocation/next``. Also completes the one before."""


@record
class BufferedResponse:
    """A whole response in one ``POST /runtime/invocation/{id}/response``."""

    request_id: str
    payload: bytes = field(repr=False)
    content_type: str = names.JSON
    invocation_id: str = ""
    """``Lambda-Runtime-Invocation-Id`` of the invocation that is answered; empty when it carried none."""

    def __post_init__(self) -> None:
        require_bytes(self.payload, "payload")
        if not self.request_id or not are_plain(self.request_id, self.content_type, self.invocation_id):
            _require_request_id(self.request_id)
            require_field_value(self.content_type, "content_type")
            require_field_value(self.invocation_id, "invocation_id")


@record
class ResponseStarted:
    """The head of a response whose body follows in chunks.

    ``response_mode`` is ``"buffered"`` when the header ``Lambda-Runtime-Function-Response-Mode`` is absent: AWS's Go
    client streams that way, and production accepts it.
    """

    request_id: str
    content_type: str = names.OCTET_STREAM
    invocation_id: str = ""
    response_mode: Literal["streaming", "buffered"] = "streaming"

    def __post_init__(self) -> None:
        if self.response_mode not in ("streaming", "buffered"):
            raise Malformed(f"response_mode must be 'streaming' or 'buffered', got {quote(self.response_mode)}")
        if not self.request_id or not are_plain(self.request_id, self.content_type, self.invocation_id):
            _require_request_id(self.request_id)
            require_field_value(self.content_type, "content_type")
            require_field_value(self.invocation_id, "invocation_id")


@record
class ResponseChunk:
    """Bytes of a streamed response. Never empty: an empty chunk would end the stream (RFC 9112, 7.1)."""

    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        require_bytes(self.data, "data")
        if not self.data:
            raise Malformed("a chunk must hold at least one byte: an empty chunk ends the stream")


_new: Final = object.__new__
_set_data: Final[Callable[[object, object], None]] = ResponseChunk.__dict__["data"].__set__


def response_chunks(pieces: Collection[bytes]) -> list[ResponseChunk]:
    """Return a ``ResponseChunk`` of each piece, at half the price of making them one by one.

    Raises:
        Malformed: A piece is not ``bytes``, or empty.
    """
    if not all(pieces) or {*map(type, pieces)} != {bytes}:
        return [ResponseChunk(data=piece) for piece in pieces]
    made = [_new(ResponseChunk) for _ in pieces]
    for chunk, piece in zip(made, pieces, strict=True):
        _set_data(chunk, piece)
    return made


@record
class ResponseFinished:
    """The streamed response is complete."""


@record
class ResponseFailed:
    """The streamed response ends early, with the two error trailers.

    ``error_body`` is the error document itself; on the wire it is standard padded base64.
    """

    error_type: str
    error_body: bytes = field(repr=False)

    def __post_init__(self) -> None:
        require_bytes(self.error_body, "error_body")
        if not self.error_type:
            raise Malformed("error_type must not be empty: without it the service takes the stream for complete")
        require_field_value(self.error_type, "error_type")


@record
class ErrorReported:
    """The invocation failed before its response began: ``POST /runtime/invocation/{id}/error``."""

    request_id: str
    error_type: str
    payload: bytes = field(repr=False)
    xray_cause: str = field(default="", repr=False)
    """JSON text for ``Lambda-Runtime-Function-XRay-Error-Cause``; empty for none."""
    content_type: str = names.JSON
    invocation_id: str = ""

    def __post_init__(self) -> None:
        require_bytes(self.payload, "payload")
        _require_request_id(self.request_id)
        for what in ("error_type", "xray_cause", "content_type", "invocation_id"):
            require_field_value(getattr(self, what), what)


@record
class InitErrorReported:
    """The runtime could not start: ``POST /runtime/init/error``."""

    error_type: str
    payload: bytes = field(repr=False)
    xray_cause: str = field(default="", repr=False)
    content_type: str = names.JSON

    def __post_init__(self) -> None:
        require_bytes(self.payload, "payload")
        for what in ("error_type", "xray_cause", "content_type"):
            require_field_value(getattr(self, what), what)


@record
class RestoreAsked:
    """SnapStart: the runtime is ready to be snapshotted: ``GET /runtime/restore/next``."""


@record
class RestoreErrorReported:
    """SnapStart: an after-restore hook failed: ``POST /runtime/restore/error``."""

    error_type: str
    payload: bytes = field(repr=False)
    content_type: str = names.JSON

    def __post_init__(self) -> None:
        require_bytes(self.payload, "payload")
        require_field_value(self.error_type, "error_type")
        require_field_value(self.content_type, "content_type")


@record
class PingAsked:
    """``GET /ping``: is the Runtime API there?"""


@record
class ContinueAsked:
    """The runtime waits for ``100 Continue`` before it sends its body (RFC 9110, 10.1.1)."""


# -- what the service answers


@record
class Invocation:
    """An event for the function, with everything that the Runtime API says about it.

    Text fields are empty when their header is absent.
    """

    request_id: str
    payload: bytes = field(repr=False)
    deadline_ms: int | None = None
    """Unix time in milliseconds; ``None`` when the header is missing or is not a number."""
    invoked_function_arn: str = ""
    trace_id: str = ""
    client_context: str = field(default="", repr=False)
    """JSON text of the mobile client context (raw UTF-8 on the wire), unparsed."""
    cognito_identity: str = field(default="", repr=False)
    """JSON text of the Cognito identity, unparsed."""
    tenant_id: str = ""
    invocation_id: str = ""
    """Unique per attempt (2026-07). Echo it with the answer exactly when it is not empty."""
    content_type: str = names.JSON
    headers: Headers = ()
    """Fields that this version has no name for, in order, as received."""

    def __post_init__(self) -> None:
        require_bytes(self.payload, "payload")
        if not self.request_id or not are_plain(
            self.request_id,
            self.invoked_function_arn,
            self.trace_id,
            self.client_context,
            self.cognito_identity,
            self.tenant_id,
            self.invocation_id,
            self.content_type,
        ):
            _require_request_id(self.request_id)
            for what in (
                "invoked_function_arn",
                "trace_id",
                "client_context",
                "cognito_identity",
                "tenant_id",
                "invocation_id",
                "content_type",
            ):
                require_field_value(getattr(self, what), what)
        if self.deadline_ms is not None:
            _require_integer(self.deadline_ms, "deadline_ms", lowest=0, highest=limits.MAX_DEADLINE_MS)
        require_fields(self.headers, SAID_ELSEWHERE)


@record
class Accepted:
    """The service took the report: 202."""


@record
class Refused:
    """The service did not take it. News, not an exception: the runtime goes on, except after 403 or 500 to a poll.

    ``error_type`` and ``error_message`` are those of the JSON error document; where the service answers plain text
    (404, 431) or nothing (405), ``error_type`` is empty and ``error_message`` is the text.
    """

    status: int
    error_type: str = ""
    error_message: str = ""
    allow: str = ""
    """The method that the path does serve, with 405."""

    def __post_init__(self) -> None:
        _require_integer(self.status, "the status of a refusal", lowest=400, highest=599)
        require_text(self.error_type, "error_type")
        require_text(self.error_message, "error_message")
        require_field_value(self.allow, "allow")


@record
class RestoreReady:
    """SnapStart: the environment was restored; run the after-restore hooks."""


@record
class Pong:
    """The answer to ``PingAsked``."""


@record
class Continue:
    """``100 Continue``: send the body."""


# -- what either end may learn


@record
class ConnectionClosed:
    """The connection is over: between two messages, or in the middle of one; or it was given up here."""


@record
class Violation:
    """The runtime asked for what the law refuses; ``send(reply)`` tells it so. Then see ``must_close``."""

    reply: Refused


Ask: TypeAlias = (
    NextAsked
    | BufferedResponse
    | ResponseStarted
    | ResponseChunk
    | ResponseFinished
    | ResponseFailed
    | ErrorReported
    | InitErrorReported
    | RestoreAsked
    | RestoreErrorReported
    | PingAsked
)
"""What a runtime sends and a service receives."""

Answer: TypeAlias = Invocation | Accepted | Refused | RestoreReady | Pong | Continue
"""What a service sends."""

Event: TypeAlias = Ask | Answer | ContinueAsked | ConnectionClosed | Violation
"""Everything that ``next_event()`` of any role can give."""
