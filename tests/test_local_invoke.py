"""Invoke of the embedded Lambda, as real SDKs call it."""

from __future__ import annotations

import base64
import http.client
import json
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lambda_wire._responses import HttpResponse, StreamingResponse
from lambda_wire.testing import LocalLambda
from tests.aws_sdk import lambda_client

PATH = "/2015-03-31/functions/any%3Aname/invocations"


class Function:
    """A handler whose answers the tests choose."""

    def __init__(self) -> None:
        self.answer: Callable[[Any, Any], object] = lambda event, _: event
        self.calls: list[tuple[Any, Any]] = []
        self.called = threading.Semaphore(0)

    def __call__(self, event: object, context: object) -> object:
        self.calls.append((event, context))
        self.called.release()
        return self.answer(event, context)


@pytest.fixture
def function() -> Function:
    return Function()


@pytest.fixture
def fn(function: Function) -> Iterator[LocalLambda]:
    with LocalLambda(function) as running:
        yield running


@pytest.fixture
def aws(fn: LocalLambda) -> Iterator[Any]:
    """AWS's SDK, with nothing but the endpoint changed."""
    with lambda_client(fn.url) as client:
        yield client


def post(
    fn: LocalLambda, body: bytes | None = b"{}", method: str = "POST", path: str = PATH, **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", int(fn.url.rpartition(":")[2]), timeout=30)
    try:
        connection.request(method, path, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


# -- by boto3


def test_boto3_invokes_a_function(function: Function, aws: Any) -> None:
    """Payload in, payload out; version and request id in the headers (IN-ANSWER-1, IN-ANSWER-11, IN-ANSWER-12)."""
    answer = aws.invoke(FunctionName="any", Payload=b'{"a": [1]}')
    assert json.loads(answer["Payload"].read()) == {"a": [1]}
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert "FunctionError" not in answer
    assert answer["ResponseMetadata"]["RequestId"] == function.calls[0][1].aws_request_id


def test_boto3_learns_of_a_function_error(function: Function, aws: Any) -> None:
    """Status 200, FunctionError, and the document as the payload (IN-ANSWER-1, IN-ERROR-1, IN-ERROR-2, IN-ERROR-4)."""

    def fail(_: object, __: object) -> object:
        raise ValueError("no")

    function.answer = fail
    answer = aws.invoke(FunctionName="any", Payload=b"1")
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    document = json.loads(answer["Payload"].read())
    assert (document["errorType"], document["errorMessage"]) == ("ValueError", "no")


def test_boto3_passes_client_context_and_tenant(function: Function, aws: Any) -> None:
    """Decoded from base64, raw UTF-8, line breaks as blanks (TF-8, IN-ASK-14, IN-ASK-16, RT-NEXT-9, RT-NEXT-11)."""
    context = json.dumps({"custom": {"ключ": "é"}}, ensure_ascii=False, indent=1)
    aws.invoke(
        FunctionName="any", ClientContext=base64.b64encode(context.encode()).decode(), TenantId="blue", Payload=b"{}"
    )
    (_, seen) = function.calls[0]
    assert seen.client_context.custom == {"ключ": "é"}
    assert seen.tenant_id == "blue"


def test_boto3_invokes_asynchronously(function: Function, aws: Any) -> None:
    """202 and nothing else, before the function has run (IN-ANSWER-2, IN-ANSWER-4)."""
    release = threading.Event()

    def wait(_: object, __: object) -> object:
        assert release.wait(30)
        return None

    function.answer = wait
    answer = aws.invoke(FunctionName="any", InvocationType="Event", Payload=b'"later"')
    assert (answer["StatusCode"], answer["Payload"].read()) == (202, b"")
    answer = aws.invoke(FunctionName="any", InvocationType="DryRun", Payload=b"{}")  # on the same connection
    assert answer["StatusCode"] == 204
    release.set()
    assert function.called.acquire(timeout=30)
    assert function.calls[0][0] == "later"


def test_an_asynchronous_stream_is_thrown_away(function: Function, fn: LocalLambda) -> None:
    """However long it is: nobody takes it."""
    function.answer = lambda _, __: StreamingResponse(b"x" * 65_536 for _ in range(50))
    assert post(fn, x_amz_invocation_type="Event")[::2] == (202, b"")
    function.answer = lambda event, _: event
    assert post(fn, b"2")[2] == b"2"


def test_boto3_tries_without_running(function: Function, aws: Any) -> None:
    """DryRun: 204, and the function is not called (IN-ANSWER-3)."""
    answer = aws.invoke(FunctionName="any", InvocationType="DryRun", Payload=b"{}")
    assert (answer["StatusCode"], answer["Payload"].read()) == (204, b"")
    assert function.calls == []


def test_boto3_sends_nothing(function: Function, aws: Any) -> None:
    """No payload is an empty object (IN-ASK-3, IN-ASK-4)."""
    assert json.loads(aws.invoke(FunctionName="any")["Payload"].read()) == {}


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        ({"Payload": b"not json"}, "InvalidRequestContentException", 400),
        ({"ClientContext": "e30", "Payload": b"{}"}, "InvalidRequestContentException", 400),
        ({"ClientContext": "bm8=", "Payload": b"{}"}, "InvalidRequestContentException", 400),
        ({"Payload": b'"' + b"x" * 6 * 1024 * 1024 + b'"'}, "RequestTooLargeException", 413),
        ({"InvocationType": "Event", "Payload": b'"' + b"x" * 1024 * 1024 + b'"'}, "RequestTooLargeException", 413),
        ({"InvocationType": "Sometimes"}, "InvalidParameterValueException", 400),
    ],
)
def test_boto3_is_refused_what_cannot_be_invoked(
    function: Function, aws: Any, arguments: dict[str, Any], code: str, status: int
) -> None:
    """As errors that the SDK knows; the function is not called."""
    with pytest.raises(aws.exceptions.ClientError) as caught:
        aws.invoke(FunctionName="any", **arguments)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert function.calls == []


def test_an_event_of_6_mib_passes(function: Function, aws: Any) -> None:
    """The limit itself is allowed."""
    payload = b'"' + b"x" * (6 * 1024 * 1024 - 2) + b'"'
    function.answer = lambda event, _: len(event)
    assert aws.invoke(FunctionName="any", Payload=payload)["Payload"].read() == b"6291454"


# -- streams


def test_a_stream_is_given_whole(function: Function, fn: LocalLambda) -> None:
    """Prelude and all, as octets (recorded 2026-09; IN-ANSWER-8, IN-ANSWER-9, RS-PRELUDE-6)."""
    function.answer = lambda _, __: HttpResponse(headers={"content-type": "text/plain"}, body=["a", "b"])
    status, headers, body = post(fn)
    assert (status, headers["content-type"]) == (200, "application/octet-stream")
    assert headers["x-amzn-remapped-content-length"] == "0"
    prelude, _, rest = body.partition(b"\0" * 8)
    assert json.loads(prelude)["statusCode"] == 200
    assert rest == b"ab"


def test_error_trailers_win_over_the_bytes_before_them(function: Function, fn: LocalLambda) -> None:
    """As managed instances do (emulator, observed; IN-ERROR-6, RS-TRAILER-9)."""

    def body() -> Iterator[bytes]:
        yield b"begun"
        raise KeyError("midway")

    function.answer = lambda _, __: StreamingResponse(body())
    status, headers, answer = post(fn)
    assert (status, headers["x-amz-function-error"], headers["content-type"]) == (200, "Unhandled", "application/json")
    assert json.loads(answer)["errorType"] == "KeyError"


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_response_has_6_mib_and_100_bytes(function: Function, fn: LocalLambda, streamed: bool, over: int) -> None:
    """One byte more is refused to the runtime, and its caller gets a document; the next invocation is served.

    It shows IN-ANSWER-6, IN-ANSWER-10.
    """
    data = b"x" * (6 * 1024 * 1024 + 100 + over)
    function.answer = lambda _, __: StreamingResponse([data[:100], data[100:]]) if streamed else data
    status, headers, body = post(fn)
    assert status == 200
    if over:
        assert headers["x-amz-function-error"] == "Unhandled"
        assert json.loads(body)["errorType"] == "Function.ResponseSizeTooLarge"
        assert "(6291556 bytes)" in json.loads(body)["errorMessage"]
    else:
        assert headers["x-amz-function-error"] is None
        assert body == data
    function.answer = lambda _, __: "next"
    assert post(fn)[2] == b'"next"'


def test_a_stream_that_goes_on_for_ever_is_stopped(function: Function, fn: LocalLambda) -> None:
    """Its caller is told, and its runtime gets 413 while it still writes."""
    stopped = threading.Event()

    def body() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 65_536
        finally:
            stopped.set()

    function.answer = lambda _, __: StreamingResponse(body())
    assert json.loads(post(fn)[2])["errorType"] == "Function.ResponseSizeTooLarge"
    assert stopped.wait(30)
    function.answer = lambda _, __: "next"
    assert post(fn)[2] == b'"next"'


# -- headers


def test_ids_of_the_caller_are_honoured(function: Function, fn: LocalLambda) -> None:
    """X-Amzn-RequestId and X-Amzn-Trace-Id reach the function and come back.

    (IN-ASK-17, IN-ASK-18, RT-NEXT-5, RT-NEXT-8)
    """
    _, headers, _ = post(fn, x_amzn_requestid="my-id", x_amzn_trace_id="Root=1-0-0;Sampled=1")
    assert headers["x-amzn-requestid"] == function.calls[0][1].aws_request_id == "my-id"
    assert headers["x-amzn-trace-id"] == "Root=1-0-0;Sampled=1"


@pytest.mark.parametrize("given", ["a/b", "..", "a b", "a%2Fb", "\u00e9", "x" * 129])
def test_an_id_that_cannot_stand_in_a_path_is_replaced(function: Function, fn: LocalLambda, given: str) -> None:
    """A runtime could not answer it, and would be given it again and again (IN-ASK-18)."""
    _, headers, body = post(fn, b"1", x_amzn_requestid=given)
    assert headers["x-amzn-requestid"] == function.calls[0][1].aws_request_id != given
    assert (body, len(function.calls)) == (b"1", 1)


def test_an_id_may_hold_whatever_needs_no_escape(function: Function, fn: LocalLambda) -> None:
    """Up to 128 characters (IN-ASK-18)."""
    given = "-._~aZ09" * 16
    assert post(fn, x_amzn_requestid=given)[1]["x-amzn-requestid"] == given
    assert function.calls[0][1].aws_request_id == given


def test_buffered_bytes_keep_their_content_type(function: Function, fn: LocalLambda) -> None:
    """What the runtime says is passed on (RT-RESP-3)."""
    assert post(fn)[1]["content-type"] == "application/json"


def test_get_is_not_invoke(function: Function, fn: LocalLambda, caplog: pytest.LogCaptureFixture) -> None:
    """405 with the method that works; the function is not called, and the terminal says so."""
    caplog.set_level(logging.INFO)
    status, headers, _ = post(fn, None, "GET")
    assert (status, headers["allow"]) == (405, "POST")
    assert function.calls == []
    warning = f"WARN RequestId: {headers['x-amzn-requestid']} The caller gets 405: Invoke is a POST"
    assert warning in [record.getMessage() for record in caplog.records]


def test_callers_wait_in_the_order_they_came(function: Function, fn: LocalLambda) -> None:
    """One environment serves one caller at a time, first come, first served."""
    release = threading.Event()

    def wait(event: object, _: object) -> object:
        assert release.wait(30)
        return event

    function.answer = wait
    streams = [fn.stream(number) for number in range(5)]
    release.set()
    assert [b"".join(stream) for stream in streams] == [b"0", b"1", b"2", b"3", b"4"]
    assert [event for event, _ in function.calls] == [0, 1, 2, 3, 4]
