"""Invoke, as the SDKs call it: ``POST /2015-03-31/functions/{name}/invocations``. Any name is this function's.

InvokeWithResponseStream is known and refused: whoever calls it is told what to use in its place.

Sources: AWS's service model (botocore, lambda/2015-03-31); for what a streamed response looks like here, a recording of
2026-09 (github.com/radkawar/stackd, testdata/aws/lambda): its bytes whole, prelude included, as octets. That error
trailers win over the bytes before them is how managed instances do it (emulator of aws-sam-cli 1.170.0, observed).
"""

from __future__ import annotations

import base64
import json
import string
from collections.abc import Callable
from typing import Final

from lambda_wire import _limits as limits
from lambda_wire import _names as names
from lambda_wire._heads import field_value
from lambda_wire._malformed import Malformed, quote
from lambda_wire._prelude import parse_json
from lambda_wire._types import Headers
from lambda_wire.local.call import Call, fresh_request_id
from lambda_wire.local.callers import Reply, Request

__all__ = ["MAX_EVENT", "answer_invoke", "is_invoke", "is_streaming_invoke", "refuse_streaming_invoke", "too_large"]

#: The largest event. Source: AWS docs "Lambda quotas" (6 MB), in the words of the service's own refusal.
MAX_EVENT: Final = 6 * 1024 * 1024
#: The largest event of an asynchronous invocation. Source: AWS docs "Lambda quotas", 1 MB.
_MAX_ASYNC_EVENT: Final = 1024 * 1024

_CLIENT_CONTEXT: Final = names.X_AMZ_CLIENT_CONTEXT.lower()
_INVOCATION_TYPE: Final = names.X_AMZ_INVOCATION_TYPE.lower()
_REQUEST_ID: Final = names.X_AMZN_REQUEST_ID.lower()
_TENANT_ID: Final = names.X_AMZ_TENANT_ID.lower()
_TRACE_ID: Final = names.X_AMZN_TRACE_ID.lower()
_ID_CHARACTERS: Final = frozenset(string.ascii_letters + string.digits + "-._~")  # unreserved (RFC 3986, 2.3)
_MAX_ID: Final = 128
_NO_EVENT: Final = b"{}"  # what a function gets when its caller sends nothing


def is_invoke(target: str) -> bool:
    """Say whether a request target is Invoke's, for whichever function."""
    return _names_function(target, names.INVOKE_PREFIX, names.INVOKE_SUFFIX)


def is_streaming_invoke(target: str) -> bool:
    """Say whether a request target is InvokeWithResponseStream's, for whichever function."""
    return _names_function(target, names.STREAMING_INVOKE_PREFIX, names.STREAMING_INVOKE_SUFFIX)


def _names_function(target: str, prefix: str, suffix: str) -> bool:
    path = target.partition("?")[0]
    if not (path.startswith(prefix) and path.endswith(suffix)):
        return False
    name = path[len(prefix) : -len(suffix)]
    return bool(name) and "/" not in name


class _CallerFault(Exception):
    """An error of the Lambda API: nothing was invoked."""

    def __init__(self, status: int, error_type: str, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.headers = headers


async def refuse_streaming_invoke(request: Request, reply: Reply) -> None:
    """Answer a request for what is not served."""
    message = "InvokeWithResponseStream is not served yet; use the function URL, which streams on every other path."
    fault = _CallerFault(501, "NotImplementedException", message)
    await _send_fault(fault, reply, ((names.X_AMZN_REQUEST_ID, _request_id(request)),))


async def answer_invoke(request: Request, reply: Reply, submit: Callable[[Call], None]) -> None:
    """Answer one Invoke request; ``submit`` runs a call."""
    request_id = _request_id(request)
    common: Headers = ((names.X_AMZN_REQUEST_ID, request_id),)
    try:
        kind = _invocation_type(request)
        call = _call(request, request_id, MAX_EVENT if kind != "Event" else _MAX_ASYNC_EVENT)
    except _CallerFault as fault:
        await _send_fault(fault, reply, common)
        return
    if kind == "DryRun":
        await reply.send(204, common)
        return
    submit(call)
    if kind == "Event":
        call.discard()
        await reply.send(202, common)
        return
    await _answer_with_result(call, reply, common)


async def _send_fault(fault: _CallerFault, reply: Reply, common: Headers) -> None:
    document = json.dumps({"Type": "User", "message": str(fault)}).encode("ascii")
    fields = ((names.CONTENT_TYPE, names.JSON), (names.X_AMZN_ERROR_TYPE, fault.error_type), *fault.headers)
    await reply.send(fault.status, (*fields, *common), document)


async def _answer_with_result(call: Call, reply: Reply, common: Headers) -> None:
    started = await call.started()
    body = await call.rest()
    executed: Headers = (*common, (names.X_AMZ_EXECUTED_VERSION, "$LATEST"), (names.X_AMZN_TRACE_ID, call.trace_id))
    failure = call.failure
    if failure is not None:
        fields: Headers = ((names.CONTENT_TYPE, names.JSON), (names.X_AMZ_FUNCTION_ERROR, "Unhandled"))
        await reply.send(200, (*fields, *executed), failure.document)
    elif started is not None and started.streaming:
        fields = ((names.CONTENT_TYPE, names.OCTET_STREAM), (f"{names.X_AMZN_REMAPPED_PREFIX}Content-Length", "0"))
        await reply.send(200, (*fields, *executed), body)
    else:
        content_type = (started.content_type if started is not None else "") or names.JSON
        await reply.send(200, ((names.CONTENT_TYPE, content_type), *executed), body)


def _request_id(request: Request) -> str:
    """Return the caller's id for his request if it can be one segment of the Runtime API's paths, else a new one."""
    given = field_value(request.head.headers, _REQUEST_ID)
    is_segment = 0 < len(given) <= _MAX_ID and _ID_CHARACTERS.issuperset(given) and given not in (".", "..")
    return given if is_segment else fresh_request_id()


def _invocation_type(request: Request) -> str:
    if request.head.method != "POST":
        raise _CallerFault(405, "MethodNotAllowedException", "Invoke is a POST", ((names.ALLOW, "POST"),))
    kind = field_value(request.head.headers, _INVOCATION_TYPE) or "RequestResponse"
    if kind not in ("RequestResponse", "Event", "DryRun"):
        raise _CallerFault(400, "InvalidParameterValueException", f"Unknown invocation type {quote(kind)}")
    return kind


def _call(request: Request, request_id: str, max_event: int) -> Call:
    """Return the call that a request asks for."""
    headers = request.head.headers
    if request.too_large or len(request.body) > max_event:
        raise _CallerFault(413, "RequestTooLargeException", too_large(max_event))
    payload = request.body or _NO_EVENT
    try:
        parse_json(payload)
    except Malformed as fault:
        message = f"Could not parse request body into json: {fault}"
        raise _CallerFault(400, "InvalidRequestContentException", message) from fault
    return Call(
        payload,
        request_id=request_id,
        trace_id=field_value(headers, _TRACE_ID),
        client_context=_client_context(field_value(headers, _CLIENT_CONTEXT)),
        tenant_id=field_value(headers, _TENANT_ID),
        max_stream=limits.MAX_PAYLOAD,
    )


def too_large(max_event: int) -> str:
    """Return what the service says of an event above the limit."""
    return f"Request must be smaller than {max_event} bytes for the InvokeFunction operation"


def _client_context(encoded: str) -> str:
    """Return the JSON text of a client context, on one line as the service sends it (observed)."""
    if not encoded:
        return ""
    try:
        decoded = base64.b64decode(encoded, validate=True)
        parse_json(decoded)
    except ValueError as fault:  # Malformed is one
        message = "Client context must be a valid Base64-encoded JSON object."
        raise _CallerFault(400, "InvalidRequestContentException", message) from fault
    return decoded.decode().translate({ord("\r"): " ", ord("\n"): " "}).strip(" \t")
