"""The vocabulary of a function's callers: what they ask, and what the service answers, as it arrives.

Invoke is answered by ``InvokeAnswered``, InvokeWithResponseStream by ``InvokeAccepted``, any number of ``PayloadChunk``
and ``InvokeComplete``; either by ``InvokeRefused`` alone. What else is asked on the same port is an ``OtherAsked``.

Sources: AWS's service model (botocore, lambda/2015-03-31/service-2.json: Invoke, InvokeWithResponseStream,
InvokeWithResponseStreamResponseEvent); recordings of 2026-09 (github.com/radkawar/stackd, testdata/aws/lambda).
"""

from __future__ import annotations

from typing import Final, TypeAlias

from lambda_wire import _names as names
from lambda_wire._fields import is_token, require_bytes, require_field_value
from lambda_wire._malformed import Malformed, quote
from lambda_wire._record import field, record
from lambda_wire._types import Headers

__all__ = [
    "InvokeAccepted",
    "InvokeAnswer",
    "InvokeAnswered",
    "InvokeAsked",
    "InvokeComplete",
    "InvokeFailed",
    "InvokeRefused",
    "InvokeViolation",
    "OtherAsked",
    "PayloadChunk",
]

INVOCATION_TYPES: Final = ("RequestResponse", "Event", "DryRun")
LOG_TYPES: Final = ("None", "Tail")
#: What an event has a place for, or the message says of itself, in lower case: none of the other fields.
SAID_ELSEWHERE: Final = (
    names.HOP_BY_HOP_FIELDS
    | {"host", "user-agent", "expect", "date"}
    | {
        name.lower()
        for name in (
            *(names.CONTENT_LENGTH, names.CONTENT_TYPE, names.X_AMZ_CLIENT_CONTEXT, names.X_AMZ_EXECUTED_VERSION),
            *(names.X_AMZ_FUNCTION_ERROR, names.X_AMZ_INVOCATION_TYPE, names.X_AMZ_LOG_RESULT, names.X_AMZ_LOG_TYPE),
            *(names.X_AMZ_TENANT_ID, names.X_AMZN_ERROR_TYPE, names.X_AMZN_REMAPPED_CONTENT_TYPE),
            names.X_AMZN_TRACE_ID,
        )
    }
)


def _require_status(status: int, lowest: int, highest: int) -> None:
    if not lowest <= status <= highest:
        raise Malformed(f"expected a status from {lowest} to {highest}, got {status}")


def _require_others(headers: Headers) -> None:
    """Refuse fields that an event has a place for, or that speak of the message and not of the call."""
    for name, value in headers:
        if not is_token(name) or name != name.lower() or name in SAID_ELSEWHERE:
            raise Malformed(f"another header has a lower-case name that no field has, got {quote(name)}")
        require_field_value(value, name)


# -- what the caller asks


@record
class InvokeAsked:
    """Call a function: ``Invoke``, or with ``streaming`` ``InvokeWithResponseStream``."""

    function_name: str
    """Name, partial ARN or ARN."""
    payload: bytes = field(default=b"", repr=False)
    """The event, JSON."""
    streaming: bool = False
    qualifier: str = ""
    """Version or alias; empty for none."""
    invocation_type: str = "RequestResponse"
    """``RequestResponse``, ``Event`` or ``DryRun``; a service also receives what is none of them."""
    log_type: str = "None"
    """``Tail`` asks for the end of the log."""
    client_context: str = field(default="", repr=False)
    """JSON text; in base64 on the wire."""
    tenant_id: str = ""
    trace_id: str = ""
    headers: Headers = field(default=(), repr=False)
    """Other fields, in order, names in lower case: ``authorization`` and its like."""

    def __post_init__(self) -> None:
        require_bytes(self.payload, "payload")
        if not self.function_name:
            raise Malformed("function_name must not be empty")
        for what in ("invocation_type", "log_type", "tenant_id", "trace_id"):
            require_field_value(getattr(self, what), what)
        _require_others(self.headers)


@record
class OtherAsked:
    """A whole request for what is no Invoke, such as a function URL's. It is answered in plain HTTP."""

    method: str
    target: str
    """As received: path and query."""
    headers: Headers = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    http_version: str = "1.1"


# -- what the service answers


@record
class InvokeAnswered:
    """The whole answer of ``Invoke``."""

    payload: bytes = field(default=b"", repr=False)
    """What the function returned; its error document when it failed."""
    status: int = 200
    """202 with the invocation type ``Event``, 204 with ``DryRun``."""
    content_type: str = names.JSON
    function_error: str = ""
    """``X-Amz-Function-Error``: not empty when the function failed, and mostly ``Unhandled``."""
    log_result: str = field(default="", repr=False)
    """The last 4 KB of the log in base64, when ``log_type`` asked for it."""
    executed_version: str = ""
    request_id: str = ""
    trace_id: str = ""
    headers: Headers = ()
    """Other fields, in order, names in lower case."""

    def __post_init__(self) -> None:
        require_bytes(self.payload, "payload")
        _require_status(self.status, 200, 299)
        for what in ("content_type", "function_error", "log_result", "executed_version", "request_id", "trace_id"):
            require_field_value(getattr(self, what), what)
        _require_others(self.headers)


@record
class InvokeAccepted:
    """The function is being called, and its response follows as it comes."""

    content_type: str = ""
    """The function's own; empty when it said none."""
    executed_version: str = ""
    request_id: str = ""
    trace_id: str = ""
    headers: Headers = ()
    """Other fields, in order, names in lower case."""

    def __post_init__(self) -> None:
        for what in ("content_type", "executed_version", "request_id", "trace_id"):
            require_field_value(getattr(self, what), what)
        _require_others(self.headers)


@record
class PayloadChunk:
    """Bytes of the function's response, in order. How they are cut means nothing."""

    payload: bytes = field(repr=False)

    def __post_init__(self) -> None:
        require_bytes(self.payload, "payload")


@record
class InvokeComplete:
    """The response is complete.

    An ``error_code`` says that the function failed; that there is none does not prove that it did not: AWS was recorded
    to leave it out (see ``InvokeWithResponseStream`` in the specification).
    """

    error_code: str = ""
    error_details: str = field(default="", repr=False)
    """The error document."""
    log_result: str = field(default="", repr=False)
    """The last 4 KB of the log in base64, when ``log_type`` asked for it."""


@record
class InvokeFailed:
    """The service ended the stream with an exception or error message instead of ``InvokeComplete``."""

    error_code: str
    """``:exception-type`` or ``:error-code``."""
    message: str = ""


@record
class InvokeRefused:
    """The service did not call the function. News, not an exception."""

    status: int
    error_type: str = ""
    """Such as ``ResourceNotFoundException``; empty when the answer names none."""
    message: str = ""
    request_id: str = ""
    headers: Headers = field(default=(), repr=False)
    """Other fields, such as ``retry-after``, names in lower case."""

    def __post_init__(self) -> None:
        _require_status(self.status, 300, 599)
        for what in ("error_type", "request_id"):
            require_field_value(getattr(self, what), what)
        _require_others(self.headers)


@record
class InvokeViolation:
    """A caller asked for what cannot be called; ``send(reply)`` tells him so. The connection goes on."""

    reply: InvokeRefused


InvokeAnswer: TypeAlias = InvokeAnswered | InvokeAccepted | PayloadChunk | InvokeComplete | InvokeFailed | InvokeRefused
"""What the service answers to ``InvokeAsked``."""
