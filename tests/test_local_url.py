"""The function URL of the embedded Lambda: what reaches the handler, and what its caller sees, byte by byte."""

from __future__ import annotations

import functools
import gzip
import http.client
import json
import logging
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest

from lambda_wire import _names as names
from lambda_wire._limits import MAX_INVOKE_EVENT
from lambda_wire._responses import HttpResponse, StreamingResponse
from lambda_wire.local.call import Call
from lambda_wire.testing import LocalLambda, deliveries

INTEGRATION = names.HTTP_INTEGRATION_RESPONSE


class Function:
    """A handler whose answers the tests choose."""

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, object]], object] = lambda _: None
        self.events: list[dict[str, object]] = []
        self.request_ids: list[str] = []

    def __call__(self, event: dict[str, object], context: object) -> object:
        self.events.append(event)
        self.request_ids.append(context.aws_request_id)  # type: ignore[attr-defined]  # awslambdaric's context
        return self.answer(event)


@pytest.fixture
def function() -> Function:
    return Function()


@pytest.fixture
def fn(function: Function) -> Iterator[LocalLambda]:
    with LocalLambda(function) as running:
        yield running


def port_of(fn: LocalLambda) -> int:
    return int(fn.url.rpartition(":")[2])


def get(
    fn: LocalLambda, path: str = "/", method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(fn), timeout=30)
    try:
        connection.request(method, path, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def exchange(fn: LocalLambda, *pieces: bytes) -> bytes:
    """Send raw bytes piece by piece and read until the connection is closed."""
    with socket.create_connection(("127.0.0.1", port_of(fn)), timeout=30) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            wire.sendall(piece)
        received = b""
        while data := wire.recv(65_536):
            received += data
        return received


def said(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records if record.name == "lambda_wire.local")


# -- streams


def test_curl_shows_each_chunk_the_moment_it_is_written(function: Function, fn: LocalLambda) -> None:
    """The second chunk is written only after curl has shown the first (FU-BODY-1)."""
    shown = threading.Event()

    def body() -> Iterator[str]:
        yield "1\n"
        assert shown.wait(30)
        yield "2\n"

    function.answer = lambda _: HttpResponse(headers={"content-type": "text/plain"}, body=body())
    with subprocess.Popen(["curl", "-sN", fn.url], stdout=subprocess.PIPE) as curl:
        assert curl.stdout is not None
        assert curl.stdout.readline() == b"1\n"
        shown.set()
        assert curl.stdout.read() == b"2\n"
    assert curl.returncode == 0


def test_the_head_is_sent_as_soon_as_the_prelude_is_known(function: Function, fn: LocalLambda) -> None:
    """A caller sees status and headers before the first body byte exists (FU-HEAD-16)."""
    shown = threading.Event()

    def body() -> Iterator[str]:
        assert shown.wait(30)
        yield "late"

    function.answer = lambda _: HttpResponse(status_code=201, body=body())
    connection = http.client.HTTPConnection("127.0.0.1", port_of(fn), timeout=30)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert answer.status == 201
    shown.set()
    assert answer.read() == b"late"
    connection.close()


def test_status_headers_and_cookies_come_from_the_prelude(function: Function, fn: LocalLambda) -> None:
    """Names in lower case, one Set-Cookie a cookie, what belongs to the service is remapped.

    It shows FU-HEAD-1, FU-HEAD-2, FU-HEAD-3, FU-HEAD-8, FU-HEAD-9, FU-HEAD-13, FU-BODY-1.
    """
    function.answer = lambda _: HttpResponse(
        status_code=418,
        headers={"Content-Type": "text/plain", "X-Owned": "me", "Date": "never"},
        cookies=["a=1; Path=/", "b=2"],
        body=[b"short ", b"and stout"],
    )
    raw = exchange(fn, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    assert first == "HTTP/1.1 418 I'm a Teapot"
    assert [line.partition(":")[0] for line in lines] == [
        "Date", "Content-Type", "Transfer-Encoding", "Connection", "X-Amzn-RequestId",
        "Set-Cookie", "Set-Cookie", "x-owned", "x-amzn-remapped-date", "X-Amzn-Trace-Id",
    ]  # fmt: skip
    assert {"Content-Type: text/plain", "Set-Cookie: a=1; Path=/", "Set-Cookie: b=2", "x-owned: me"} <= set(lines)
    assert body == b"6\r\nshort \r\n9\r\nand stout\r\n0\r\n\r\n"


def test_a_status_without_a_name_is_passed_on(function: Function, fn: LocalLambda) -> None:
    """Any from 200 to 599."""
    function.answer = lambda _: HttpResponse(status_code=599, body="odd")
    assert get(fn)[::2] == (599, b"odd")


def test_a_stream_without_prelude_has_its_own_content_type(function: Function, fn: LocalLambda) -> None:
    """200, the type the runtime gave, and every byte is body, NULs too (RS-PRELUDE-1, FU-HEAD-15)."""
    function.answer = lambda _: StreamingResponse([b"a", b"\0" * 9], content_type="text/x-own")
    status, headers, body = get(fn)
    assert (status, headers["content-type"], body) == (200, "text/x-own", b"a" + b"\0" * 9)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b'{"statusCode":', b'"404"}' + b"\0" * 3, b"\0" * 5 + b"\0x"], (404, b"\0x")),
        ([b"{}" + b"\0" * 8 + b"x"], (200, b"x")),
        ([b"not json" + b"\0" * 8], (502, b"Internal Server Error")),  # FU-PRELUDE-14
        ([b'{"statusCode":200}'], (502, b"Internal Server Error")),  # FU-PRELUDE-14
        ([b"x" * 20_000], (502, b"Internal Server Error")),  # FU-PRELUDE-13
        ([b'{"headers":{"a":"b\\r\\nc: d"}}' + b"\0" * 8], (502, b"Internal Server Error")),  # FU-PRELUDE-27
        ([b'{"statusCode":103}' + b"\0" * 8], (502, b"Internal Server Error")),
        ([b'{"multiValueHeaders":{"a":["b"]}}' + b"\0" * 8], (502, b"Internal Server Error")),  # FU-PRELUDE-32
    ],
)
def test_preludes_of_other_runtimes(
    function: Function, fn: LocalLambda, pieces: list[bytes], expected: tuple[int, bytes]
) -> None:
    """Split anywhere; what is none is a 502, and the next request is served (RS-CHUNK-6)."""
    function.answer = lambda _: StreamingResponse(pieces, content_type=INTEGRATION)
    status, _, body = get(fn)
    assert (status, body) == expected
    function.answer = lambda _: "next"
    assert get(fn)[2] == b"next"


@pytest.mark.parametrize("answer", [HttpResponse(status_code=103, body="mine"), {"statusCode": 103, "body": "mine"}])
def test_a_status_that_ends_no_answer_is_a_502(
    function: Function, fn: LocalLambda, answer: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the handler's body; the terminal says why (FU-PRELUDE-21)."""
    caplog.set_level(logging.INFO)
    function.answer = lambda _: answer
    assert get(fn)[::2] == (502, b"Internal Server Error")
    assert "Status 103 cannot end an answer" in said(caplog)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_answers_without_body(
    function: Function, fn: LocalLambda, method: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Status and headers only, HEAD with a length of 0; the function runs and writes; nothing is warned of.

    It shows FU-BODY-5, FU-BODY-6.
    """
    caplog.set_level(logging.INFO)
    function.answer = lambda _: HttpResponse(status_code=status, headers={"x-a": "b"}, body=["dropped"])
    request = f"{method} / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    head, _, body = exchange(fn, request.encode()).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert (b"\r\nContent-Length: 0" in head) == (method == "HEAD")
    assert b"\r\nx-a: b" in head
    assert b"Transfer-Encoding" not in head
    assert body == b""
    assert "WARN" not in said(caplog)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (HttpResponse(status_code=201), 201),
        (StreamingResponse([], content_type=INTEGRATION), 200),
        (StreamingResponse([], content_type="text/plain"), 200),
    ],
)
def test_an_empty_stream_is_ended_and_warned_of(
    function: Function, fn: LocalLambda, answer: object, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """AWS never ends it; here it ends, and the terminal says what AWS does (FU-BODY-3, FU-BODY-4)."""
    caplog.set_level(logging.INFO)
    function.answer = lambda _: answer
    assert get(fn)[::2] == (status, b"")
    assert "AWS leaves its caller waiting" in said(caplog)


def test_a_content_encoding_is_passed_on(function: Function, fn: LocalLambda) -> None:
    """The body as the function encoded it, and the field (FU-BODY-12)."""
    function.answer = lambda _: HttpResponse(headers={"content-encoding": "gzip"}, body=gzip.compress(b"text"))
    _, headers, body = get(fn)
    assert (headers["content-encoding"], gzip.decompress(body)) == ("gzip", b"text")


def test_a_body_that_is_too_large_is_ended(
    function: Function, fn: LocalLambda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if it were complete, one byte beyond the limit (FU-BODY-10)."""
    monkeypatch.setattr("lambda_wire.local.function_url.Call", functools.partial(Call, max_stream=1000))
    function.answer = lambda _: StreamingResponse([b"x" * 600] * 2)
    assert get(fn)[::2] == (200, b"x" * 1001)


# -- failures


def test_an_error_before_the_first_byte_is_a_502(function: Function, fn: LocalLambda) -> None:
    """As a function URL answers when its function throws (FU-BODY-7, FU-BODY-29, FU-BODY-30)."""

    def fail(_: object) -> object:
        raise ValueError("no")

    function.answer = fail
    status, headers, body = get(fn)
    assert (status, headers["content-type"], body) == (502, "application/json", b"Internal Server Error")
    assert headers["x-amzn-requestid"] == function.request_ids[0]
    assert headers["x-amzn-trace-id"] is None


def test_an_error_after_the_first_byte_ends_the_body_cleanly(
    function: Function, fn: LocalLambda, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller cannot tell; the terminal shows the document and says so (FU-BODY-8)."""
    caplog.set_level(logging.INFO)

    def body() -> Iterator[bytes]:
        yield b"begun"
        raise KeyError("midway")

    function.answer = lambda _: HttpResponse(body=body())
    status, _, received = get(fn)
    assert (status, received) == (200, b"begun")
    get(fn)  # the lines of an invocation are complete when the next one runs
    assert '"errorType":"KeyError"' in said(caplog)
    assert "the caller cannot tell" in said(caplog)


def test_a_timeout_midway_cuts_the_connection(function: Function, caplog: pytest.LogCaptureFixture) -> None:
    """No last chunk: curl says 18, and the next caller gets a new environment (FU-BODY-9)."""
    caplog.set_level(logging.INFO)
    release = threading.Event()

    def body() -> Iterator[bytes]:
        yield b"begun"
        release.wait(30)

    function.answer = lambda _: HttpResponse(body=body())
    with LocalLambda(function, timeout_s=0.2) as fn:
        done = subprocess.run(["curl", "-sN", fn.url], capture_output=True, timeout=30)
        assert (done.returncode, done.stdout) == (18, b"begun")
        function.answer = lambda _: "again"
        assert get(fn)[2] == b"again"
        release.set()
    assert "Task timed out after 0.20 seconds" in said(caplog)
    assert "Status: timeout" in said(caplog)
    assert "was cut" in said(caplog)


# -- buffered results


@pytest.mark.parametrize(
    ("result", "status", "content_type", "body"),
    [
        ({"statusCode": 201, "body": "made", "headers": {"content-type": "text/x"}}, 201, "text/x", b"made"),
        ({"a": 1}, 200, "application/json", b'{"a": 1}'),
        ("text", 200, "application/json", b"text"),
        ({"statusCode": 700}, 502, "application/json", b"Internal Server Error"),
    ],
)
def test_buffered_results_are_mapped_as_a_buffered_url_does(
    function: Function, fn: LocalLambda, result: object, status: int, content_type: str, body: bytes
) -> None:
    function.answer = lambda _: result
    answered = get(fn)
    assert (answered[0], answered[1]["content-type"]) == (status, content_type)
    assert answered[2] == body or json.loads(answered[2]) == json.loads(body)


# -- events


def test_the_event_is_format_2(function: Function, fn: LocalLambda) -> None:
    """One id everywhere; path, query, headers and body as AWS was recorded to give them (FU-EVENT-5, FU-EVENT-23)."""
    function.answer = lambda _: "ok"
    _, headers, _ = get(fn, "/a%2Fb?x=1&x=2", "POST", b"hello", content_type="text/plain", cookie="c=1")
    (event,) = function.events
    assert event["version"] == "2.0"
    assert (event["rawPath"], event["rawQueryString"], event["cookies"]) == ("/a%2Fb", "x=1&x=2", ["c=1"])
    assert event["queryStringParameters"] == {"x": "1,2"}
    assert (event["body"], event["isBase64Encoded"]) == ("hello", False)
    context = event["requestContext"]
    assert isinstance(context, dict)
    assert context["requestId"] == headers["x-amzn-requestid"] == function.request_ids[0]
    assert (context["domainName"], context["http"]["sourceIp"]) == ("127.0.0.1", "127.0.0.1")
    assert isinstance(event["headers"], dict)
    assert event["headers"]["x-amzn-trace-id"].startswith("Self=1-")
    assert headers["x-amzn-trace-id"].startswith("Root=1-")


def test_every_method_reaches_the_function(function: Function, fn: LocalLambda) -> None:
    """Those that AWS takes; any other, too (FU-EVENT-35)."""
    methods = ["GET", "POST", "PUT", "HEAD", "OPTIONS", "PATCH", "DELETE", "BREW"]
    assert [get(fn, method=method)[0] for method in methods] == [200] * len(methods)
    contexts = [event["requestContext"] for event in function.events]
    assert [context["http"]["method"] for context in contexts if isinstance(context, dict)] == methods


def test_a_repeated_field_is_one(function: Function, fn: LocalLambda) -> None:
    """In whatever casing: AWS says the values twice then, which nobody can want (FU-EVENT-11, FU-EVENT-12)."""
    exchange(fn, b"GET / HTTP/1.1\r\nHost: h\r\nX-Repeat: one\r\nx-repeat: two,three\r\nConnection: close\r\n\r\n")
    headers = function.events[0]["headers"]
    assert isinstance(headers, dict)
    assert headers["x-repeat"] == "one,two,three"


def test_the_trace_is_the_urls_and_then_the_callers(function: Function, fn: LocalLambda) -> None:
    """Its own, where the caller named none (FU-EVENT-16)."""
    get(fn)
    get(fn, x_amzn_trace_id="Root=1-2-3")
    headers = [event["headers"] for event in function.events]
    own, given = [each["x-amzn-trace-id"] for each in headers if isinstance(each, dict)]
    new = "1-[0-9a-f]{8}-[0-9a-f]{24}"
    assert re.fullmatch(f"Self={new};Root={new}", own)
    assert re.fullmatch(f"Self={new};Root=1-2-3", given)


def test_a_target_in_absolute_form_is_a_path(function: Function, fn: LocalLambda) -> None:
    """As proxies' clients send it (RFC 9112, 3.2.2)."""
    function.answer = lambda _: "ok"
    exchange(fn, b"GET http://elsewhere/p?q=1 HTTP/1.1\r\nHost: elsewhere\r\nConnection: close\r\n\r\n")
    assert (function.events[0]["rawPath"], function.events[0]["rawQueryString"]) == ("/p", "q=1")


# -- the callers' HTTP


def test_a_request_is_the_same_however_it_is_delivered(function: Function, fn: LocalLambda) -> None:
    """Whole, byte by byte, and randomly cut."""
    function.answer = lambda event: str(event["body"])
    chunked = b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nTrailer-Field: t\r\n\r\n"
    request = b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n"
    for pieces in deliveries(request + b"Connection: close\r\n\r\n" + chunked):
        assert exchange(fn, *pieces).endswith(b"\r\n\r\nabcde")


def test_a_connection_carries_one_request_after_the_other(function: Function, fn: LocalLambda) -> None:
    """Kept alive after counted, chunked and bodiless answers, and requests may be sent ahead."""
    function.answer = lambda event: (
        HttpResponse(status_code=204) if event["rawPath"] == "/204" else str(event["rawPath"])
    )
    requests = [f"GET /{path} HTTP/1.1\r\nHost: h\r\n".encode() for path in ("one", "204", "two")]
    received = exchange(fn, requests[0] + b"\r\n" + requests[1] + b"\r\n" + requests[2] + b"Connection: close\r\n\r\n")
    assert received.count(b"HTTP/1.1 ") == 3
    assert b"/one" in received
    assert received.endswith(b"/two")


@pytest.mark.parametrize("keep", [b"", b"Connection: keep-alive\r\n"])
def test_http_1_0_callers_get_a_body_up_to_the_end(function: Function, fn: LocalLambda, keep: bytes) -> None:
    """They know no chunks (RFC 9112, 6.1)."""
    function.answer = lambda _: HttpResponse(body=["a", "b"])
    head, _, body = exchange(fn, b"GET / HTTP/1.0\r\n" + keep + b"\r\n").partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert b"\r\nConnection: close" in head
    assert body == b"ab"


def test_expect_100_continue_is_answered_before_the_body(function: Function, fn: LocalLambda) -> None:
    """A caller that waits for it sends its body then."""
    function.answer = lambda event: str(event["body"])
    with socket.create_connection(("127.0.0.1", port_of(fn)), timeout=30) as wire:
        wire.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n")
        wire.sendall(b"Expect: 100-continue\r\nConnection: close\r\n\r\n")
        assert wire.recv(25, socket.MSG_WAITALL) == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.sendall(b"hi")
        received = b""
        while data := wire.recv(65_536):
            received += data
    assert received.endswith(b"\r\n\r\nhi")


@pytest.mark.parametrize(
    ("data", "status"),
    [(b"nonsense\r\n\r\n", b"400"), (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", b"505"), (b"\x16\x03\x01", b"400")],
)
def test_what_is_no_http_is_told_so(fn: LocalLambda, data: bytes, status: bytes) -> None:
    """An answer, then the connection is closed."""
    assert exchange(fn, data).startswith(b"HTTP/1.1 " + status + b" ")


@pytest.mark.parametrize("size", [5 * 1024 * 1024, MAX_INVOKE_EVENT, MAX_INVOKE_EVENT + 1, 7 * 1024 * 1024])
def test_a_request_that_is_too_large_is_refused(
    function: Function, fn: LocalLambda, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    """In one way, whether it is the body or the event with it in base64; the connection goes on (FU-EVENT-39)."""
    caplog.set_level(logging.INFO)
    connection = http.client.HTTPConnection("127.0.0.1", port_of(fn), timeout=30)
    connection.request("POST", "/", body=b"\0" * size)
    answer = connection.getresponse()
    message = "Request must be smaller than 6291456 bytes"
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (413, None)
    assert json.loads(answer.read()) == {"Message": message}
    request_id = answer.headers["x-amzn-requestid"]
    assert f"WARN RequestId: {request_id} The caller gets 413: {message}" in said(caplog).splitlines()
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"null"
    connection.close()
    assert len(function.events) == 1


def test_the_largest_event(function: Function, fn: LocalLambda) -> None:
    """6,291,456 bytes, with all that the URL says in it; one more is refused (IN-ASK-5, FU-EVENT-39)."""
    some = 1_000_000  # it has as many digits
    assert get(fn, method="POST", body=b"x" * some, content_type="text/plain")[0] == 200
    around = len(json.dumps(function.events[0], separators=(",", ":"))) - some
    for size, status in ((MAX_INVOKE_EVENT, 200), (MAX_INVOKE_EVENT + 1, 413)):
        assert get(fn, method="POST", body=b"x" * (size - around), content_type="text/plain")[0] == status


def test_a_caller_who_leaves_does_not_disturb_the_function(function: Function, fn: LocalLambda) -> None:
    """It runs to its end, its bytes are thrown away, and the next caller is served (IN-ASK-23)."""
    left, ended = threading.Event(), threading.Event()

    def body() -> Iterator[bytes]:
        yield b"x"
        assert left.wait(30)
        for _ in range(200):
            yield b"x" * 65_536
        ended.set()

    function.answer = lambda _: HttpResponse(body=body())
    with socket.create_connection(("127.0.0.1", port_of(fn)), timeout=30) as wire:
        wire.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert wire.recv(1)
    left.set()
    assert ended.wait(30)
    function.answer = lambda _: "next"
    assert get(fn)[2] == b"next"


def test_a_slow_caller_slows_the_function_down(function: Function, fn: LocalLambda) -> None:
    """100 MiB are not read from the runtime while the caller takes none of them; then all arrive."""
    ended = threading.Event()

    def body() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 1024 * 1024
        ended.set()

    function.answer = lambda _: HttpResponse(body=body())
    connection = http.client.HTTPConnection("127.0.0.1", port_of(fn), timeout=30)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert not ended.wait(0.5)
    size = 0
    while data := answer.read(1024 * 1024):
        size += len(data)
    connection.close()
    assert size == 100 * 1024 * 1024
    assert ended.wait(30)
