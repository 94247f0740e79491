"""What the service answers, as the status, the header fields and the body of a response, both ways.

Documents are the emulator's, byte for byte: order of keys and fields, Go's escaping of ``<``, ``>`` and ``&``, one LF.
Two things are not: there is no ``Date``, because the core has no clock (RFC 9110, 6.6.1), and every body is counted,
where Go's server begins to chunk at 2,049 bytes.
"""

from __future__ import annotations

from lambda_wire import _names as names
from lambda_wire._events import Accepted, Answer, Continue, Invocation, Pong, Refused, RestoreReady
from lambda_wire._fields import without_surrogates
from lambda_wire._heads import encode_response_head, field_value
from lambda_wire._invocation import decode_invocation, encode_invocation
from lambda_wire._malformed import Malformed, quote
from lambda_wire._routes import route_of
from lambda_wire._types import BytesLike, Headers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, TypeAlias, assert_never
else:
    from lambda_wire._typing import assert_never

__all__ = ["FinalAnswer", "decode_answer", "encode_answer"]

FinalAnswer: TypeAlias = Invocation | Accepted | Refused | RestoreReady | Pong

_REQUEST_ID: Final = names.AWS_REQUEST_ID.lower()
_ACCEPTED: Final = Accepted()
_OK: Final = b'{"status":"OK"}\n'
_GO_ESCAPES: Final = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})


def encode_answer(event: Answer, *, connection: str = "", has_body: bool = True) -> list[BytesLike]:
    """Return the response that says ``event``: its head, then its body where there is one.

    Args:
        event: What to say.
        connection: What the ``Connection`` field says; nothing when empty.
        has_body: ``False`` in answer to HEAD: the body is only counted, and an empty one not even that (observed).
    """
    if isinstance(event, Continue):
        return [encode_response_head(100)]
    status, fields, body = _parts(event)
    if body or has_body:
        fields += ((names.CONTENT_LENGTH, str(len(body))),)
    if isinstance(event, Pong):
        fields += ((names.CONTENT_TYPE, names.PLAIN_TEXT),)  # last: Go's server finds it out when it has the body
    if connection:
        fields += ((names.CONNECTION, connection),)
    head = encode_response_head(status, fields)
    return [head, body] if body and has_body else [head]


def _parts(event: FinalAnswer) -> tuple[int, Headers, bytes]:
    match event:
        case Invocation():
            return 200, encode_invocation(event), event.payload
        case Accepted():
            return 202, ((names.CONTENT_TYPE, names.JSON),), _OK
        case Refused():
            return event.status, *_refusal_parts(event)
        case RestoreReady():
            return 200, (), b""
        case Pong():
            return 200, (), b"pong"
        case _ as never:
            return assert_never(never)


def _refusal_parts(event: Refused) -> tuple[Headers, bytes]:
    allow: Headers = ((names.ALLOW, event.allow),) if event.allow else ()
    if event.error_type:
        return (*allow, (names.CONTENT_TYPE, names.JSON)), _document(event)
    text = event.error_message.encode()
    if event.status == 404:
        plain: Headers = ((names.CONTENT_TYPE, names.PLAIN_TEXT), (names.X_CONTENT_TYPE_OPTIONS, "nosniff"))
        return allow + plain, text + b"\n"
    return (*allow, (names.CONTENT_TYPE, names.PLAIN_TEXT)) if text else allow, text


def _document(event: Refused) -> bytes:
    import json  # a runtime never gets here, and its cold start does not pay for it

    document = {names.ERROR_MESSAGE: event.error_message, names.ERROR_TYPE: event.error_type}
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False).translate(_GO_ESCAPES)
    return text.encode() + b"\n"


def decode_answer(ask: type, status: int, headers: Headers, body: bytes) -> FinalAnswer:
    """Return what a complete response to ``ask`` says.

    A 2xx to a report is an acceptance whatever its number: AWS's own clients take 200 and 204 beside 202. Where only
    the status answers, fields and body do not matter, save that nothing may pass for an answer that is an invocation:
    the emulator's snapshot mode lends ``/restore/next`` the invocation that ``/next`` then never gives (RT-RESTORE-3).

    Args:
        ask: The type of what was asked.
        status: Of the response.
        headers: Its fields, names in lower case.
        body: All of it.

    Raises:
        Malformed: This status does not answer ``ask``, an invocation cannot be answered (no request id), or an
            invocation answers what is no poll for one.
    """
    if 400 <= status <= 599:
        return _decode_refusal(status, headers, body)
    answers = route_of(ask).answers
    if Accepted in answers and 200 <= status <= 299:
        return _ACCEPTED
    if status != 200:
        raise Malformed(f"expected status 200 or a refusal after {ask.__name__}, got {status}", rule="RT-NEXT-4")
    if Invocation in answers:
        return decode_invocation(headers, body)
    if request_id := field_value(headers, _REQUEST_ID):
        raise Malformed(f"expected no invocation after {ask.__name__}, got {quote(request_id)}", rule="RT-RESTORE-3")
    return RestoreReady() if RestoreReady in answers else Pong()


def _decode_refusal(status: int, headers: Headers, body: bytes) -> Refused:
    from lambda_wire._error_payload import decode_error

    allow = field_value(headers, names.ALLOW.lower())
    try:
        document = decode_error(body)
        error_type = without_surrogates(document.error_type)
        error_message = without_surrogates(document.error_message)
    except Malformed:
        error_type = error_message = ""
    if not (error_type or error_message):  # no error document: what it says is kept as it stands
        error_message = body.decode("utf-8", "replace").removesuffix("\n")
    return Refused(status=status, error_type=error_type, error_message=error_message, allow=allow)
