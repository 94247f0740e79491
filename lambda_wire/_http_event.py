"""What a function URL does: HTTP request -> event in payload format 2.0; prelude or JSON result -> HTTP response head.

Sources: AWS docs (Lambda, page urls-invocation); function URLs as recorded 2026-09 in us-east-1
(github.com/radkawar/stackd, testdata/aws/lambda). What is in neither is inferred, as the rules say that are named
(spec/function-url.md).
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from typing import Final

from lambda_wire import _names as names
from lambda_wire._json import Json, parse_json
from lambda_wire._malformed import Malformed
from lambda_wire._percents import decode_percents
from lambda_wire._prelude import Prelude, prelude_from_json
from lambda_wire._record import field, record
from lambda_wire._types import Headers

# json and datetime are imported where they are used: a runtime never needs them from here.

__all__ = [
    "INTERNAL_SERVER_ERROR",
    "UrlRequest",
    "buffered_response",
    "function_url_event",
    "media_type",
    "streamed_head",
]

_CONTENT_TYPE: Final = names.CONTENT_TYPE.lower()
_CONTENT_LENGTH: Final = names.CONTENT_LENGTH.lower()
_CONNECTION: Final = names.CONNECTION.lower()
_TRANSFER_ENCODING: Final = names.TRANSFER_ENCODING.lower()
_SET_COOKIE: Final = "set-cookie"

INTERNAL_SERVER_ERROR: Final[tuple[int, Headers, bytes]] = (
    502,
    ((_CONTENT_TYPE, names.JSON),),
    b"Internal Server Error",
)
"""The answer when a function failed or its status was none; no JSON, whatever its type says (FU-BODY-29)."""

_REMAPPED: Final = frozenset(
    {
        # FU-HEAD-9
        _CONNECTION,
        _CONTENT_LENGTH,
        names.X_AMZN_REQUEST_ID.lower(),
        "date",
        "server",
        # FU-HEAD-10
        "www-authenticate",
    }
)

#: They are for one connection only (FU-HEAD-11).
_DROPPED: Final = names.HOP_BY_HOP_FIELDS - _REMAPPED

_TEXT_TYPES: Final = frozenset({names.JSON, "application/xml", "application/javascript"})
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
_NOT_BASE64: Final = bytes(set(range(256)) - set(_BASE64))
_STANDARD_BASE64: Final = bytes.maketrans(b"-_", b"+/")


@record
class UrlRequest:
    """An HTTP request to a function URL, with what the URL knows about it."""

    method: str
    target: str
    """Path and query, as received."""
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)
    source_ip: str
    """The address of the TCP peer."""
    request_id: str
    trace_id: str
    """``X-Amzn-Trace-Id`` of the event; AWS writes ``Self=...;Root=...``."""
    time_ms: int
    """Unix time in milliseconds."""
    domain_name: str
    """Its first label is the id of the URL."""
    port: int
    protocol: str = "HTTP/1.1"
    scheme: str = "http"


def function_url_event(request: UrlRequest) -> dict[str, object]:
    """Return the event of payload format 2.0, its keys in the order that was recorded.

    ``rawPath`` stays percent-encoded (FU-EVENT-6) while ``requestContext.http.path`` is decoded, and ``cookies``,
    ``queryStringParameters`` and ``body`` are absent when empty (FU-EVENT-1). The two TLS headers are left out. A
    header that is given in two casings is one header (FU-EVENT-12).
    """
    path, _, query = request.target.partition("?")
    headers = _event_headers(request)
    url_id = request.domain_name.partition(".")[0]
    event: dict[str, object] = {"version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query}
    if cookies := _cookies(request.headers):
        event["cookies"] = cookies
    event["headers"] = headers
    if query:
        event["queryStringParameters"] = _query_parameters(query)
    event["requestContext"] = {
        "accountId": "anonymous",
        "apiId": url_id,
        "domainName": request.domain_name,
        "domainPrefix": url_id,
        "http": {
            "method": request.method,
            "path": decode_percents(path),
            "protocol": request.protocol,
            "sourceIp": request.source_ip,
            "userAgent": headers.get("user-agent", ""),
        },
        "requestId": request.request_id,
        "routeKey": "$default",
        "stage": "$default",
        "time": _clf_time(request.time_ms),
        "timeEpoch": request.time_ms,
    }
    is_base64 = False
    if request.body:
        event["body"], is_base64 = _event_body(request.body, headers.get(_CONTENT_TYPE, ""))
    event["isBase64Encoded"] = is_base64
    return event


def _event_headers(request: UrlRequest) -> dict[str, str]:
    """Return one value a name, repeated ones joined with a comma, with what the URL takes away and adds."""
    headers: dict[str, str] = {}
    for name, value in request.headers:
        text = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        headers[name] = f"{headers[name]},{text}" if name in headers else text
    for name in (_CONNECTION, _TRANSFER_ENCODING, _CONTENT_LENGTH):  # the event holds the whole body
        headers.pop(name, None)
    if request.body or request.method not in {"HEAD", "OPTIONS"}:  # "0" with GET, absent with these two: recorded
        headers[_CONTENT_LENGTH] = str(len(request.body))
    headers["x-amzn-trace-id"] = request.trace_id
    headers["x-forwarded-proto"] = request.scheme
    headers["x-forwarded-port"] = str(request.port)
    headers.setdefault("x-forwarded-for", request.source_ip)
    headers.setdefault("host", request.domain_name)
    return headers


def _cookies(headers: Headers) -> list[str]:
    """Return one entry a pair, over all Cookie lines."""
    lines = [value for name, value in headers if name == "cookie"]
    return [pair.strip() for line in lines for pair in line.split(";") if pair.strip()]


def _query_parameters(query: str) -> dict[str, str]:
    """Return decoded names and values; repeated names have their values joined with a comma."""
    parameters: dict[str, str] = {}
    for pair in query.split("&"):
        if pair:
            name, _, value = (decode_percents(part) for part in pair.replace("+", " ").partition("="))
            parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    return parameters


def _clf_time(time_ms: int) -> str:
    """Return ``15/Sep/2026:11:53:32 +0000``; month names must not follow the locale, as ``strftime`` does."""
    from datetime import UTC, datetime

    at = datetime.fromtimestamp(time_ms // 1000, UTC)
    return f"{at.day:02}/{_MONTHS[at.month - 1]}/{at.year}:{at.hour:02}:{at.minute:02}:{at.second:02} +0000"


def _event_body(body: bytes, content_type: str) -> tuple[str, bool]:
    """Return the body for the event, and whether it is in base64.

    Text types travel as text (FU-EVENT-32); everything else, a missing type too, in base64 (FU-EVENT-33), and so does
    text that is not UTF-8 (FU-EVENT-34).
    """
    kind = media_type(content_type)
    if kind.startswith("text/") or kind in _TEXT_TYPES:
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return b2a_base64(body, newline=False).decode("ascii"), True


def media_type(content_type: str) -> str:
    """Return a Content-Type without its parameters, in lower case (RFC 9110, 8.3.1)."""
    return content_type.partition(";")[0].strip().lower()


def streamed_head(prelude: Prelude) -> tuple[int, Headers]:
    """Return status and headers that a function URL makes of a prelude, in the order that was recorded.

    Framing, date and request id are for whoever sends it.

    Raises:
        Malformed: The prelude has multi-value headers, which a function URL answers with 500 (FU-PRELUDE-32).
    """
    if prelude.multi_value_headers:
        raise Malformed("multiValueHeaders work behind API Gateway REST APIs only: a function URL answers 500")
    return _head(prelude, default_type=names.OCTET_STREAM)


def buffered_response(payload: bytes) -> tuple[int, Headers, bytes]:
    """Return the answer that a function URL in BUFFERED mode makes of a buffered result.

    An object with ``statusCode`` says status, headers, cookies and body (FU-BODY-20); other JSON is the body as it is
    (FU-BODY-22), a string without its quotes (FU-BODY-23); what is no JSON is octets, whatever type the runtime gave it
    (FU-BODY-24).
    """
    as_json: Headers = ((_CONTENT_TYPE, names.JSON),)
    if not payload:
        return 200, as_json, b""
    try:
        result = parse_json(payload)
    except Malformed:
        return 200, ((_CONTENT_TYPE, names.OCTET_STREAM),), payload
    if isinstance(result, str):
        return 200, as_json, _utf8(result)
    if not isinstance(result, dict) or "statusCode" not in result:
        return 200, as_json, payload
    try:
        status, headers = _head(prelude_from_json(result), default_type=names.JSON)
    except Malformed:
        return INTERNAL_SERVER_ERROR
    return status, headers, _body(result)


def _head(prelude: Prelude, *, default_type: str) -> tuple[int, Headers]:
    """Return Content-Type, then cookies (those among the headers first: FU-HEAD-7), then everything else."""
    content_type = default_type
    cookies: list[tuple[str, str]] = []
    others: list[tuple[str, str]] = []
    for name, value in prelude.headers:
        lower = name.lower()
        if lower == _CONTENT_TYPE:
            content_type = value
        elif lower == _SET_COOKIE:
            cookies.append((lower, value))
        elif lower in _REMAPPED:
            others.append((names.X_AMZN_REMAPPED_PREFIX.lower() + lower, value))
        elif lower not in _DROPPED:
            others.append((lower, value))
    cookies += [(_SET_COOKIE, cookie) for cookie in prelude.cookies]
    return prelude.status_code, ((_CONTENT_TYPE, content_type), *cookies, *others)


def _body(result: dict[str, Json]) -> bytes:
    """Return the body of a result; what is no string is its JSON text, null is nothing (FU-BODY-26)."""
    import json

    body = result.get("body")
    if body is None:
        return b""
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return _decode_base64(text) if result.get("isBase64Encoded") is True else _utf8(text)


def _decode_base64(text: str) -> bytes:
    """Decode as far as it goes: both alphabets count, other characters do not (FU-BODY-28)."""
    digits = text.partition("=")[0].encode("ascii", "ignore").translate(_STANDARD_BASE64, _NOT_BASE64)
    if len(digits) % 4 == 1:
        digits = digits[:-1]
    return a2b_base64(digits + b"==")


def _utf8(text: str) -> bytes:
    """Encode text that may hold lone surrogates, which JSON can say and UTF-8 cannot: ``?`` (FU-BODY-26)."""
    return text.encode("utf-8", "replace")
