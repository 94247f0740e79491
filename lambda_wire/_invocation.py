"""Invocation headers, both ways: the fields of a ``GET /next`` answer <-> ``Invocation``."""

from __future__ import annotations

from lambda_wire import _names as names
from lambda_wire._events import SAID_ELSEWHERE, Invocation
from lambda_wire._limits import MAX_DEADLINE_MS
from lambda_wire._malformed import Malformed
from lambda_wire._types import Headers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

__all__ = ["decode_invocation", "encode_invocation"]

_CLIENT_CONTEXT: Final = names.CLIENT_CONTEXT.lower()
_COGNITO_IDENTITY: Final = names.COGNITO_IDENTITY.lower()
_CONTENT_TYPE: Final = names.CONTENT_TYPE.lower()
_DEADLINE_MS: Final = names.DEADLINE_MS.lower()
_INVOCATION_ID: Final = names.INVOCATION_ID.lower()
_INVOKED_FUNCTION_ARN: Final = names.INVOKED_FUNCTION_ARN.lower()
_REQUEST_ID: Final = names.AWS_REQUEST_ID.lower()
_TENANT_ID: Final = names.AWS_TENANT_ID.lower()
_TRACE_ID: Final = names.TRACE_ID.lower()
_LONGEST_DEADLINE: Final = len(str(MAX_DEADLINE_MS))


def encode_invocation(invocation: Invocation) -> Headers:
    """Return the header fields of ``invocation`` in the service's order (alphabetical); known ones are never empty."""
    deadline = "" if invocation.deadline_ms is None else str(invocation.deadline_ms)
    fields = (
        (names.CONTENT_TYPE, invocation.content_type),
        (names.AWS_REQUEST_ID, invocation.request_id),
        (names.AWS_TENANT_ID, invocation.tenant_id),
        (names.CLIENT_CONTEXT, invocation.client_context),
        (names.COGNITO_IDENTITY, invocation.cognito_identity),
        (names.DEADLINE_MS, deadline),
        (names.INVOCATION_ID, invocation.invocation_id),
        (names.INVOKED_FUNCTION_ARN, invocation.invoked_function_arn),
        (names.TRACE_ID, invocation.trace_id),
    )
    return (*(field for field in fields if field[1]), *invocation.headers)


def decode_invocation(headers: Headers, payload: bytes) -> Invocation:
    """Return the invocation that a 200 answer to ``GET /next`` carries.

    The first of repeated fields wins, as in the service's own reader. A missing content type is kept as missing; a
    deadline that is not a number is ``None``: such an invocation can still be served.

    Args:
        headers: Names in lower case.
        payload: The event, as received.

    Raises:
        Malformed: There is no request id: the invocation could be neither answered nor reported.
    """
    text = dict(reversed(headers))
    request_id = text.get(_REQUEST_ID)
    if not request_id:
        reason = f"an invocation needs the header {names.AWS_REQUEST_ID}: without it there is no way to answer"
        raise Malformed(reason, rule="RT-NEXT-5")
    return Invocation(
        request_id=request_id,
        payload=payload,
        deadline_ms=_decode_deadline(text.get(_DEADLINE_MS, "")),
        invoked_function_arn=text.get(_INVOKED_FUNCTION_ARN, ""),
        trace_id=text.get(_TRACE_ID, ""),
        client_context=text.get(_CLIENT_CONTEXT, ""),
        cognito_identity=text.get(_COGNITO_IDENTITY, ""),
        tenant_id=text.get(_TENANT_ID, ""),
        invocation_id=text.get(_INVOCATION_ID, ""),
        content_type=text.get(_CONTENT_TYPE, ""),
        headers=() if text.keys() <= SAID_ELSEWHERE else tuple([it for it in headers if it[0] not in SAID_ELSEWHERE]),
    )


def _decode_deadline(value: str) -> int | None:
    """Return a deadline in Unix milliseconds; ``None`` for text that is no such number."""
    return int(value) if value.isascii() and value.isdigit() and len(value) <= _LONGEST_DEADLINE else None
