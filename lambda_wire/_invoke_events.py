"""The vocabulary of a function's callers: what they ask, and what the service answers, as it arrives.

Invoke is answered by ``InvokeAnswered``, InvokeWithResponseStream by ``InvokeAccepted``, any number of ``PayloadChunk``
and ``InvokeComplete``; either by ``InvokeRefused`` alone. What else is asked on the same port is an ``OtherAsked``.

Sources: AWS's service model (botocore, lambda/2015-03-31/service-2.json: Invoke, InvokeWithResponseStream,
InvokeWithResponseStreamResponseEvent); recordings of 2026-09 (github.com/radkawar/stackd, testdata/aws/lambda).
"""

from __future__ import annotations

from typing import Final, TypeAlias

from lambda_wire import _names as names
from lambda_wire._fields import is_token, require_bytes, require_field_value, require_fields, require_text
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


#: In lower case. Answers have a field for it; a caller may name his request among the other fields.
REQUEST_ID: Final = names.X_AMZN_REQUEST_ID.lower()
_SAID_BY_ANSWERS: Final = SAID_ELSEWHERE | {REQUEST_ID}
_BODILESS: Final = (204, 304)  # RFC 9110, 6.4.1


def _require_texts(event: object, *fields: str) -> None:
    for what in fields:
        require_text(getattr(event, what), what)


def _require_field_values(event: object, *fields: str) -> None:
    for what in fields:
        require_field_value(getattr(event, what), what)


def _require_status(status: object, lowest: int, highest: int) -> None:
    if type(status) is not int or not lowest <= status <= highest:
        raise Malformed(f"expected a status from {lowest} to {highest}, got {quote(status)}")


def is_error_type(text: str) -> bool:
    """Say whether ``text`` is the bare name of an error: colon and hash sign part it from what may stand around it."""
    return is_token(text) and "#" not in text


# -- what the caller asks


@record
class InvokeAsked:
    """Call a function: ``Invoke``, or with ``streaming`` ``InvokeWithResponseStream``."""

    function_name: str
    """Name, partial ARN or ARN."""
    payload: bytes = field(default=b"", repr=False)
    """The event, JSON. Empty means ``{}``: that is what the service hears, and the function gets."""
    streaming: bool = False
    qualifier: str = ""
    """Version or alias; empty for none."""
    invocation_type: str = "RequestResponse"
    """``RequestResponse``, ``Event`` or ``DryRun``; the service refuses any other."""
    log_type: str = "None"
    """``Tail`` asks for the end of the log."""
    client_context: str = field(default="", repr=False)
    """JSON text, on one line: the function gets it as a header value. In base64 on the wire."""
    tenant_id: str = ""
    trace_id: str = ""
    headers: Headers = field(default=(), repr=False)
    """Other fields, in order, names in lower case: ``authorization`` and its like."""

    def __post_init__(self) -> None:
        require_bytes(self.payload, "payload")
        if type(self.streaming) is not bool:
            raise Malformed(f"streaming must be a bool, got {type(self.streaming).__name__}")
        _require_texts(self, "function_name", "qualifier", "client_context")
        _require_field_values(self, "invocation_type", "log_type", "client_context", "tenant_id", "trace_id")
        for what in ("function_name", "invocation_type", "log_type"):
            if not getattr(self, what):
                raise Malformed(f"{what} must not be empty")
        require_fields(self.headers, SAID_ELSEWHERE)


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
        if self.payload and self.status in _BODILESS:
            raise Malformed(f"an answer with status {self.status} has no payload")
        _require_field_values(self, "content_type", "function_error", "log_result")
        _require_field_values(self, "executed_version", "request_id", "trace_id")
        require_fields(self.headers, _SAID_BY_ANSWERS)


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
        _require_field_values(self, "content_type", "executed_version", "request_id", "trace_id")
        require_fields(self.headers, _SAID_BY_ANSWERS)


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
    to leave it out (ES-MESSAGE-20).
    """

    error_code: str = ""
    error_details: str = field(default="", repr=False)
    """The error document."""
    log_result: str = field(default="", repr=False)
    """The last 4 KB of the log in base64, when ``log_type`` asked for it."""

    def __post_init__(self) -> None:
        _require_texts(self, "error_code", "error_details", "log_result")


@record
class InvokeFailed:
    """The service ended the stream with an exception or error message instead of ``InvokeComplete``."""

    error_code: str
    """``:exception-type`` or ``:error-code``."""
    message: str = ""

    def __post_init__(self) -> None:
        _require_texts(self, "error_code", "message")


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
        _require_texts(self, "error_type", "message")
        if self.error_type and not is_error_type(self.error_type):
            raise Malformed(f"error_type must be a name such as ServiceException, got {quote(self.error_type)}")
        if self.message and self.status in _BODILESS:
            raise Malformed(f"a refusal with status {self.status} has no message")
        _require_field_values(self, "request_id")
        require_fields(self.headers, _SAID_BY_ANSWERS)


@record
class InvokeViolation:
    """A caller asked for what cannot be called; ``send(reply)`` tells him so. The connection goes on."""

    reply: InvokeRefused


InvokeAnswer: TypeAlias = InvokeAnswered | InvokeAccepted | PayloadChunk | InvokeComplete | InvokeFailed | InvokeRefused
"""What the service answers to ``InvokeAsked``."""
