"""What a caller asks, as the target and the header fields of a request, both ways.

Source: AWS's service model (botocore, lambda/2015-03-31/service-2.json, protocol rest-json). The wording of the
refusals is the service's where it is known from its SDKs' users; the order in which it looks is inferred.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from typing import Final

from lambda_wire import _limits as limits
from lambda_wire import _names as names
from lambda_wire._heads import field_value
from lambda_wire._invoke_events import INVOCATION_TYPES, SAID_ELSEWHERE, InvokeAsked, InvokeRefused
from lambda_wire._json import require_json
from lambda_wire._malformed import Malformed, quote
from lambda_wire._percents import UNRESERVED, decode_percents, encode_percents
from lambda_wire._record import record
from lambda_wire._types import Headers

__all__ = [
    "InvokeTarget",
    "decode_invoke",
    "encode_invoke",
    "find_invoke",
    "invoke_target",
    "too_large",
    "too_large_for_url",
]

_CLIENT_CONTEXT: Final = names.X_AMZ_CLIENT_CONTEXT.lower()
_INVOCATION_TYPE: Final = names.X_AMZ_INVOCATION_TYPE.lower()
_LOG_TYPE: Final = names.X_AMZ_LOG_TYPE.lower()
_TENANT_ID: Final = names.X_AMZ_TENANT_ID.lower()
_TRACE_ID: Final = names.X_AMZN_TRACE_ID.lower()
_QUALIFIER: Final = "Qualifier"
_BUFFERED: Final = (names.INVOKE_PREFIX, names.INVOKE_SUFFIX)
_STREAMING: Final = (names.STREAMING_INVOKE_PREFIX, names.STREAMING_INVOKE_SUFFIX)
_CONTROLS_TO_BLANKS: Final = dict.fromkeys({*range(0x20), 0x7F} - {ord("\t")}, " ")
_NO_EVENT: Final = b"{}"  # what a function gets when its caller sends nothing (IN-ASK-3)


@record
class InvokeTarget:
    """What a request target says of a call."""

    function_name: str
    qualifier: str
    streaming: bool


def invoke_target(event: InvokeAsked) -> str:
    """Return the request target that calls a function."""
    prefix, suffix = _STREAMING if event.streaming else _BUFFERED
    query = f"?{_QUALIFIER}={encode_percents(event.qualifier, UNRESERVED)}" if event.qualifier else ""
    return f"{prefix}{encode_percents(event.function_name, UNRESERVED)}{suffix}{query}"


def find_invoke(target: str) -> InvokeTarget | None:
    """Return what a request target calls; ``None`` when it is no Invoke's."""
    if not target.startswith("/"):  # in absolute form (RFC 9112, 3.2.2)
        target = "/" + target.partition("://")[2].partition("/")[2]
    path, _, query = target.partition("?")
    for streaming, (prefix, suffix) in ((False, _BUFFERED), (True, _STREAMING)):
        name = path[len(prefix) : -len(suffix)]
        if path == f"{prefix}{name}{suffix}" and name and "/" not in name:
            qualifiers = [value for key, _, value in (p.partition("=") for p in query.split("&")) if key == _QUALIFIER]
            qualifier = decode_percents(qualifiers[0]) if qualifiers else ""
            return InvokeTarget(function_name=decode_percents(name), qualifier=qualifier, streaming=streaming)
    return None


def encode_invoke(event: InvokeAsked) -> Headers:
    """Return the fields of the request that says ``event``. What the service assumes anyway is left out."""
    context = b2a_base64(event.client_context.encode(), newline=False).decode("ascii")
    fields = (
        (names.X_AMZ_INVOCATION_TYPE, "" if event.invocation_type == "RequestResponse" else event.invocation_type),
        (names.X_AMZ_LOG_TYPE, "" if event.log_type == "None" else event.log_type),
        (names.X_AMZ_CLIENT_CONTEXT, context),
        (names.X_AMZ_TENANT_ID, event.tenant_id),
        (names.X_AMZN_TRACE_ID, event.trace_id),
    )
    length = (names.CONTENT_LENGTH, str(len(event.payload)))
    return (*(field for field in fields if field[1]), *event.headers, length)


def decode_invoke(target: InvokeTarget, method: str, headers: Headers, payload: bytes) -> InvokeAsked | InvokeRefused:
    """Return what a whole request asks, or the refusal that it gets. No payload is an empty object.

    InvokeWithResponseStream runs ``DryRun`` and ``Event`` like everything else (IN-STREAM-12).
    """
    if method != "POST":
        allow: Headers = ((names.ALLOW.lower(), "POST"),)
        return InvokeRefused(status=405, error_type=names.METHOD_NOT_ALLOWED, message="Invoke is a POST", headers=allow)
    kind = field_value(headers, _INVOCATION_TYPE) or "RequestResponse"
    if kind not in INVOCATION_TYPES:
        message = f"Unknown invocation type {quote(kind)}"
        return InvokeRefused(status=400, error_type=names.INVALID_PARAMETER_VALUE, message=message)
    if kind == "Event" and not target.streaming and len(payload) > limits.MAX_ASYNC_EVENT:
        return too_large(limits.MAX_ASYNC_EVENT)
    payload = payload or _NO_EVENT
    try:
        require_json(payload)
    except Malformed as fault:
        return _bad_content(f"Could not parse request body into json: {fault.reason}")
    try:
        client_context = _client_context(field_value(headers, _CLIENT_CONTEXT))
    except ValueError:  # no base64, no ASCII, no UTF-8, no JSON
        return _bad_content("Client context must be a valid Base64-encoded JSON object.")
    return InvokeAsked(
        function_name=target.function_name,
        qualifier=target.qualifier,
        streaming=target.streaming,
        payload=payload,
        invocation_type=kind,
        log_type=field_value(headers, _LOG_TYPE) or "None",
        client_context=client_context,
        tenant_id=field_value(headers, _TENANT_ID),
        trace_id=field_value(headers, _TRACE_ID),
        headers=tuple(pair for pair in headers if pair[0] not in SAID_ELSEWHERE),
    )


def too_large(limit: int) -> InvokeRefused:
    """Return what the service says of an event above the limit."""
    message = f"Request must be smaller than {limit} bytes for the InvokeFunction operation"
    return InvokeRefused(status=413, error_type=names.REQUEST_TOO_LARGE, message=message)


def too_large_for_url(limit: int) -> InvokeRefused:
    """Return what a function URL says of an event above the limit (FU-EVENT-39)."""
    return InvokeRefused(status=413, message=f"Request must be smaller than {limit} bytes")


def _bad_content(message: str) -> InvokeRefused:
    return InvokeRefused(status=400, error_type=names.INVALID_REQUEST_CONTENT, message=message)


def _client_context(encoded: str) -> str:
    """Return the JSON text of a client context with blanks for control characters (IN-ASK-14)."""
    if not encoded:
        return ""
    decoded = a2b_base64(encoded, strict_mode=True)
    require_json(decoded)
    return decoded.decode().translate(_CONTROLS_TO_BLANKS).strip()
