"""What the service answers: read back as it was meant, and byte for byte what the emulator was recorded to say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lambda_wire._answers import FinalAnswer, decode_answer, encode_answer
from lambda_wire._events import (
    Accepted,
    BufferedResponse,
    Continue,
    ErrorReported,
    InitErrorReported,
    Invocation,
    NextAsked,
    PingAsked,
    Pong,
    Refused,
    ResponseStarted,
    RestoreAsked,
    RestoreErrorReported,
    RestoreReady,
)
from lambda_wire._http11 import MessageReader
from lambda_wire._lifecycle import NOT_FOUND
from lambda_wire._malformed import Malformed
from lambda_wire._messages import MessageEnd, RequestHead, ResponseHead
from lambda_wire._routes import Match, match, route_of
from lambda_wire._signals import NEED_DATA, Role, Signal
from lambda_wire.testing import deliveries
from tests.capture import Capture, Direction, load_all

ASKS = (
    NextAsked,
    BufferedResponse,
    ResponseStarted,
    ErrorReported,
    InitErrorReported,
    RestoreAsked,
    RestoreErrorReported,
    PingAsked,
)
REPORTS = tuple(ask for ask in ASKS if Accepted in route_of(ask).answers)


def is_document(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


#: Field values: any text that fits in a header line, no byte lost.
VALUES = st.text(st.characters(exclude_categories=("Cc", "Cs")) | st.sampled_from("\t\udc80\udcff"), max_size=20).map(
    lambda text: text.strip(" \t")
)
TEXT = st.text(max_size=30)
STATUS = st.integers(400, 599)
ALLOW = st.sampled_from(["", "GET", "POST"])
#: Plain text is told from a document by what it is, and its last line ending is not kept: no plain refusal has either.
PLAIN = TEXT.filter(lambda text: not text.endswith("\n") and not is_document(text))
INVOCATIONS = st.builds(
    Invocation,
    request_id=VALUES.filter(bool),
    payload=st.binary(max_size=40),
    deadline_ms=st.none() | st.integers(0, 10**19 - 1),
    invoked_function_arn=VALUES,
    trace_id=VALUES,
    client_context=VALUES,
    cognito_identity=VALUES,
    tenant_id=VALUES,
    invocation_id=VALUES,
    content_type=VALUES,
    headers=st.lists(st.tuples(st.sampled_from(["traceparent", "tracestate", "x-y"]), VALUES), max_size=3).map(tuple),
)
ANSWERS: st.SearchStrategy[FinalAnswer] = st.one_of(
    st.sampled_from([Accepted(), RestoreReady(), Pong()]),
    INVOCATIONS,
    st.builds(Refused, status=STATUS, error_type=TEXT.filter(bool), error_message=TEXT, allow=ALLOW),
    st.builds(Refused, status=STATUS, error_message=PLAIN, allow=ALLOW),
)


def sent(event: FinalAnswer | Continue, *, close: bool = False, has_body: bool = True) -> bytes:
    return b"".join(encode_answer(event, connection="close" if close else "", has_body=has_body))


def received(pieces: list[bytes], method: str = "GET") -> tuple[ResponseHead, bytes]:
    """Read one whole response."""
    reader = MessageReader(Role.CLIENT)
    reader.expect(method)
    head, body = None, b""
    for piece in (*pieces, b""):
        reader.receive_data(piece)
        while (part := reader.next_event()) is not NEED_DATA:
            if isinstance(part, MessageEnd):
                assert head is not None
                return head, body
            if isinstance(part, ResponseHead):
                head = part
            else:
                assert isinstance(part, bytes)
                body += part
    raise AssertionError("no whole response")


@given(ANSWERS, st.booleans())
@example(NOT_FOUND, False)
@example(Refused(status=404), False)
@example(Refused(status=405, allow="GET"), False)
@example(Refused(status=400, error_type="T", error_message="<&>\u2028\u2029\x00\x7f\U0001d11e"), True)
def test_what_is_sent_is_received_however_it_is_delivered(event: FinalAnswer, close: bool) -> None:
    """``decode(encode(x)) == x`` through a whole response, cut anywhere, for every request that it may answer.

    (RT-NEXT-4)
    """
    data = sent(event, close=close)
    for ask in ASKS:
        if type(event) in route_of(ask).answers:
            for pieces in deliveries(data):
                head, body = received(pieces)
                assert decode_answer(ask, head.status, head.headers, body) == event
                assert head.keep_alive is not close


@given(ANSWERS)
def test_an_answer_to_head_is_only_a_head(event: FinalAnswer) -> None:
    """Its fields are those of the answer to GET, but for the length of nothing, which Go's server leaves out (a40)."""
    whole, bare = sent(event), sent(event, has_body=False)
    head, body = whole.split(b"\r\n\r\n", 1)
    assert bare == head.replace(b"\r\nContent-Length: 0", b"") + b"\r\n\r\n"
    assert received([bare], "HEAD")[1] == b""
    assert body == received([whole])[1]


def test_a_payload_is_not_copied() -> None:
    """The buffer that goes out is the one that came in."""
    payload = b"x" * 100_000
    assert encode_answer(Invocation(request_id="r", payload=payload))[1] is payload


def test_an_empty_event_is_counted() -> None:
    """``Content-Length: 0``, and no empty buffer after it (a60; RT-NEXT-4)."""
    (head,) = encode_answer(Invocation(request_id="r", payload=b""))
    assert b"\r\nContent-Length: 0\r\n\r\n" in bytes(head)


def test_continue_is_a_head_without_fields() -> None:
    """An interim answer (a42), whatever else was asked of it."""
    assert sent(Continue()) == sent(Continue(), close=True) == b"HTTP/1.1 100 Continue\r\n\r\n"


JSON = b"Content-Type: application/json\r\n"
TEXT_PLAIN = b"Content-Type: text/plain; charset=utf-8\r\n"
CUT = "HTTP request detected as truncated"
CUT_DOCUMENT = b'{"errorMessage":"HTTP request detected as truncated","errorType":"TruncatedHTTPRequest"}\n'


@pytest.mark.parametrize(
    ("event", "status", "rest"),
    [
        (Accepted(), b"202 Accepted", JSON + b'Content-Length: 16\r\n\r\n{"status":"OK"}\n'),  # RT-RESP-10
        (RestoreReady(), b"200 OK", b"Content-Length: 0\r\n\r\n"),  # RT-RESTORE-3
        (Pong(), b"200 OK", b"Content-Length: 4\r\n" + TEXT_PLAIN + b"\r\npong"),  # RT-PING-1
        (  # RT-PATH-2
            NOT_FOUND,
            b"404 Not Found",
            TEXT_PLAIN + b"X-Content-Type-Options: nosniff\r\nContent-Length: 19\r\n\r\n404 page not found\n",
        ),
        (Refused(status=405, allow="GET"), b"405 Method Not Allowed", b"Allow: GET\r\nContent-Length: 0\r\n\r\n"),
        (  # RT-STATE-5
            Refused(status=400, error_type="TruncatedHTTPRequest", error_message=CUT),
            b"400 Bad Request",
            JSON + b"Content-Length: 89\r\n\r\n" + CUT_DOCUMENT,
        ),
    ],
)
def test_an_answer_is_these_bytes(event: FinalAnswer, status: bytes, rest: bytes) -> None:
    """Those of the specification."""
    assert sent(event) == b"HTTP/1.1 " + status + b"\r\n" + rest


def test_a_document_is_escaped_as_go_escapes_it() -> None:
    """Seen with Go 1.26's ``encoding/json`` (RT-STATE-6)."""
    event = Refused(
        status=500, error_type="T", error_message='\b\f\n\r\t\x00\x1f "\\/<>&\u2028\u2029\x7f\x85é\U0001d11e'
    )
    expected = r"\b\f\n\r\t\u0000\u001f \"\\/\u003c\u003e\u0026\u2028\u2029" + "\x7f\x85é\U0001d11e"
    assert sent(event).endswith(f'\r\n\r\n{{"errorMessage":"{expected}","errorType":"T"}}\n'.encode())
    assert sent(Refused(status=404, error_message="<é>")).endswith("\r\n\r\n<é>\n".encode())


# -- what other services may say


def read(ask: type, status: int, body: bytes = b"", *headers: tuple[str, str]) -> FinalAnswer:
    return decode_answer(ask, status, headers, body)


@pytest.mark.parametrize("ask", REPORTS)
@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_accepts_a_report(ask: type, status: int) -> None:
    """AWS's own clients take 200 and 204 beside 202; the body does not matter (RT-RESP-11)."""
    assert read(ask, status, b"whatever") == Accepted()


@pytest.mark.parametrize("ask", [ask for ask in ASKS if ask not in REPORTS])
@pytest.mark.parametrize("status", [201, 202, 204, 206, 300, 304, 399, 600, 999])
def test_a_question_is_answered_with_200_or_refused(ask: type, status: int) -> None:
    """An event cannot be taken from anything else."""
    with pytest.raises(Malformed, match=f"after {ask.__name__}, got {status}"):
        read(ask, status, b"{}", ("lambda-runtime-aws-request-id", "r"))


@pytest.mark.parametrize("ask", REPORTS)
@pytest.mark.parametrize("status", [300, 301, 307, 399, 600])
def test_a_report_is_never_redirected(ask: type, status: int) -> None:
    """The Runtime API has one address."""
    with pytest.raises(Malformed, match=f"got {status}"):
        read(ask, status)


def test_an_event_without_an_id_is_malformed() -> None:
    """It could be neither answered nor reported (RT-NEXT-15)."""
    with pytest.raises(Malformed, match="Lambda-Runtime-Aws-Request-Id"):
        read(NextAsked, 200, b"{}")


def test_a_question_is_answered_with_200() -> None:
    """Each with its own answer; bodies of the others do not matter (UN-13)."""
    assert read(NextAsked, 200, b"\xff", ("lambda-runtime-aws-request-id", "r")) == Invocation(
        request_id="r", payload=b"\xff", content_type=""
    )
    assert read(RestoreAsked, 200, b"whatever") == RestoreReady()
    assert read(PingAsked, 200, b"whatever") == Pong()


@pytest.mark.parametrize("ask", [RestoreAsked, PingAsked])
def test_an_invocation_that_was_not_asked_for_is_malformed(ask: type) -> None:
    """To take it for another answer would lose it silently; without an id it is none (UN-13)."""
    with pytest.raises(Malformed, match=f"expected no invocation after {ask.__name__}, got 'r'"):
        read(ask, 200, b"{}", ("lambda-runtime-aws-request-id", "r"))
    assert read(ask, 200, b"{}", ("lambda-runtime-aws-request-id", ""), ("lambda-runtime-deadline-ms", "1")) is not None


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize(
    ("status", "body", "error_type", "error_message"),
    [
        (403, b'{"errorType":"T","errorMessage":"m"}', "T", "m"),
        (400, b'{"errorMessage":"m"}', "", "m"),
        (500, b"{}", "", "{}"),
        (500, b'{"message":"no"}', "", '{"message":"no"}'),
        (599, b'{"errorType":null,"errorMessage":7}', "", "7"),
        (404, b"404 page not found\n", "", "404 page not found"),
        (431, b"431 Request Header Fields Too Large", "", "431 Request Header Fields Too Large"),
        (502, b"<html>\n\n", "", "<html>\n"),
        (400, b'["T"]', "", '["T"]'),
        (400, b"\xff{", "", "\ufffd{"),
        (500, b"[" * 100_000, "", "[" * 100_000),
        (403, b'{"errorType":"\\ud800T","errorMessage":"m\\udcff\\ud83d\\ude00"}', "?T", "m?\U0001f600"),
        (403, b'{"errorType":"T","errorMessage":["\\ud800"]}', "T", '["\\ud800"]'),
        (405, b"", "", ""),
    ],
)
def test_a_refusal_is_news_whatever_its_body(
    ask: type, status: int, body: bytes, error_type: str, error_message: str
) -> None:
    """A document where there is one, else its text; no request is too simple to be refused, and nothing crashes.

    (RT-STATE-7, UN-11)
    """
    expected = Refused(status=status, error_type=error_type, error_message=error_message, allow="PUT")
    assert read(ask, status, body, ("allow", "PUT"), ("allow", "x")) == expected


# -- the recordings

RECORDINGS = {capture.name: capture for capture in load_all()}


def split(data: bytes, methods: Iterator[str]) -> Iterator[bytes]:
    """Cut what one connection received into whole answers, interim ones among them."""
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if head.startswith(b"HTTP/1.1 100 ") or next(methods, "") == "HEAD":
            size = 0
        elif b"Transfer-Encoding" in fields:
            size = rest.index(b"\r\n0\r\n\r\n") + 7
        else:
            size = int(fields.get(b"Content-Length", b"%d" % len(rest)))
        yield data[: len(head) + 4 + size]
        data = rest[size:]


def requests(data: bytes) -> Iterator[RequestHead]:
    """Read the heads that one connection sent, up to the first that is none."""
    reader = MessageReader(Role.SERVER)
    reader.receive_data(data)
    while True:
        try:
            part = reader.next_event()
        except Malformed:
            return
        if isinstance(part, Signal):
            return
        if isinstance(part, RequestHead):
            yield part
        if isinstance(part, MessageEnd):
            reader.start_next()


def exchanges(capture: Capture) -> Iterator[tuple[RequestHead | None, bytes]]:
    """Yield every whole answer that a runtime received, after its request if that can be read."""
    for connection, steps in capture.connections.items():
        data = b"".join(step.data for step in steps if step.direction is Direction.RECEIVED)
        if not connection.startswith("runtime") or not data:
            continue
        heads = list(requests(b"".join(step.data for step in steps if step.direction is Direction.SENT)))
        waiting = iter(heads)
        for answer in split(data, iter([head.method for head in heads])):
            yield None if answer.startswith(b"HTTP/1.1 100 ") else next(waiting, None), answer


def ours(request: RequestHead | None, answer: bytes) -> bytes:
    """Read the emulator's answer, and say it in our words."""
    method, found = "GET", None
    if request is not None:
        method, found = request.method, match(request.method, request.target)
    head, body = received([answer], method)
    try:
        ask = found.route.asks[0] if isinstance(found, Match) else PingAsked
        event = decode_answer(ask, head.status, head.headers, body)
    except Malformed:
        return b""
    return sent(event, close=b"\r\nConnection: close\r\n" in answer, has_body=method != "HEAD")


def difference(request: RequestHead | None, answer: bytes) -> str:
    """Name the reason why our answer is another one; empty where it is the same."""
    if answer.startswith(b"HTTP/1.1 100 "):
        return "" if answer == sent(Continue()) else "not equal"
    said, theirs = ours(request, answer), re.sub(rb"\r\nDate: [^\r]*", b"", answer)
    if said == theirs:
        return ""
    for reason, change in CHANGES.items():
        theirs = change(theirs)
        if said == theirs:
            return reason
    return "not equal" if request is None else f"not equal: {request.target}"


def counted(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.replace(b"\r\nConnection", b"\r\nContent-Length: %d\r\nConnection" % len(body)) + b"\r\n\r\n" + body


#: What makes the emulator's answer ours where it differs, tried one after the other, each upon the one before.
CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "HTTP/1.0": lambda answer: answer.replace(b"HTTP/1.0 ", b"HTTP/1.1 ").replace(b"\r\nConnection: keep-alive", b""),
    "chunked": lambda answer: dechunked(answer) if b"\r\nTransfer-Encoding: chunked\r\n" in answer else answer,
    "not counted": lambda answer: answer if b"\r\nContent-Length: " in answer else counted(answer),
    "says why in its status line": lambda answer: re.sub(rb"^([^:\r]*): [^\r]*", rb"\1", answer),
}


def dechunked(answer: bytes) -> bytes:
    head, body = answer.split(b"\r\n\r\n", 1)[0], received([answer])[1]
    return head.replace(b"Transfer-Encoding: chunked", b"Content-Length: %d" % len(body)) + b"\r\n\r\n" + body


#: The answers of the recordings that are not ours, with the reason. All others are the same, byte for byte.
DIFFERENCES = {
    "a40_routing": [
        "says why in its status line",  # no Host
        "HTTP/1.0",  # our status line says HTTP/1.1 always (RFC 9110, 6.2)
        "HTTP/1.0",
        "says why in its status line",  # HTTP/2.0
        "not counted",  # a head that is none: the close ends the emulator's answer, ours is counted as well
        "says why in its status line",  # a header name that is none
        "not counted",  # a head that is too large
    ],
    "a53_request_6mib": ["chunked"],  # Go's server chunks what is larger than its buffer, ours is counted
    "a57_xray_cause_big_header": ["not counted"],
    "a60_event_framing_boundary": ["chunked", "chunked", "chunked"],
    # The emulator answers /restore/next with an invocation, which is none; and /credentials is no endpoint of ours.
    "c30_snapstart_restore_next": ["not equal: /2021-04-23/credentials", "not equal: /2018-06-01/runtime/restore/next"],
    "c32_snapstart_restore_error": ["not equal: /2018-06-01/runtime/restore/next"] * 2,
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_recorded_answer_is_ours_byte_for_byte(name: str) -> None:
    """Status line, fields and their order, document: all but ``Date``, with each difference in the list above.

    (RT-STATE-3, RT-STATE-5)
    """
    found = [reason for request, answer in exchanges(RECORDINGS[name]) if (reason := difference(request, answer))]
    assert found == DIFFERENCES.get(name, [])


def test_the_recordings_hold_every_kind_of_answer() -> None:
    """So that the comparison above is one."""
    answers = [answer for capture in RECORDINGS.values() for _, answer in exchanges(capture)]
    assert len(answers) > 200
    assert {int(answer[9:12]) for answer in answers} == {100, 200, 202, 400, 403, 404, 405, 413, 431, 505}


def test_an_end_of_restoring_has_no_body() -> None:
    """Nothing else says what it is."""
    assert sent(RestoreReady()) == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
