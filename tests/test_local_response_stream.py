"""InvokeWithResponseStream of ``lambda-wire local``, as AWS's SDK for Python calls it."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import logging
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import pytest

from lambda_wire._responses import HttpResponse, StreamingResponse
from lambda_wire.bootstrap import Handler
from lambda_wire.local.call import Call
from lambda_wire.testing import LocalLambda
from tests.aws_sdk import lambda_client, log_of, whole
from tests.running_local import PATIENCE_S

PATH = "/2021-11-15/functions/any%3Aname/response-streaming-invocations"
INTEGRATION = "application/vnd.awslambda.http-integration-response"

Message: TypeAlias = tuple[list[tuple[str, str]], bytes]


@contextmanager
def sdk_around(handler: Handler) -> Iterator[Any]:
    """AWS's SDK, and behind it a Lambda that runs ``handler`` in a thread of this process."""
    with LocalLambda(handler) as fn, lambda_client(fn.url) as aws:
        yield aws


# -- what arrives


def test_each_chunk_is_seen_before_the_next_is_written() -> None:
    """The function waits until its caller has the event of the chunk before; nothing is held back or joined.

    It shows IN-STREAM-5, RS-CHUNK-9.
    """
    seen = threading.Semaphore(0)
    written = []

    def body() -> Iterator[bytes]:
        for number in range(50):
            written.append(number)
            yield b"%d" % number
            assert seen.acquire(timeout=PATIENCE_S)

    with sdk_around(lambda _, __: StreamingResponse(body())) as aws:
        events = iter(aws.invoke_with_response_stream(FunctionName="any")["EventStream"])
        for number in range(50):
            assert next(events) == {"PayloadChunk": {"Payload": b"%d" % number}}
            assert written == list(range(number + 1))
            seen.release()
        assert list(events) == [{"InvokeComplete": {}}]


@pytest.mark.parametrize("size", [1, 4096, 65_536, 300_000])
def test_no_end_of_a_chunk_is_held_back(size: int) -> None:
    """However large it is, the caller has its last byte before the function writes on."""
    seen = threading.Semaphore(0)

    def body() -> Iterator[bytes]:
        for number in range(3):
            yield bytes([number]) * size
            assert seen.acquire(timeout=PATIENCE_S)

    with sdk_around(lambda _, __: StreamingResponse(body())) as aws:
        received = b""
        for event in aws.invoke_with_response_stream(FunctionName="any")["EventStream"]:
            if "PayloadChunk" in event:
                received += event["PayloadChunk"]["Payload"]
                if len(received) % size == 0:
                    seen.release()
    assert received == b"".join(bytes([number]) * size for number in range(3))


def test_chunks_that_are_written_at_once_stay_apart() -> None:
    """One event each, in their order (ES-MESSAGE-9)."""
    pieces = [b"%d" % number for number in range(500)]
    with sdk_around(lambda _, __: StreamingResponse(pieces)) as aws:
        assert whole(aws.invoke_with_response_stream(FunctionName="any")) == (pieces, {})


def test_the_prelude_is_not_taken_away() -> None:
    """JSON, eight NULs and body arrive as they were written; the integration type stands in the remapped header.

    It shows IN-STREAM-1, RS-PRELUDE-6.
    """

    def handler(_: object, __: object) -> object:
        return HttpResponse(status_code=201, headers={"content-type": "text/plain"}, cookies=["a=1"], body=["b", "\0c"])

    with sdk_around(handler) as aws:
        answer = aws.invoke_with_response_stream(FunctionName="any")
        chunks, complete = whole(answer)
    head, nuls, body = b"".join(chunks).partition(b"\0" * 8)
    prelude = json.loads(head)
    assert (prelude["statusCode"], prelude["headers"], prelude["cookies"]) == (
        201,
        {"content-type": "text/plain"},
        ["a=1"],
    )
    assert (nuls, body, complete) == (b"\0" * 8, b"b\0c", {})
    assert chunks[-2:] == [b"b", b"\0c"]
    assert answer["StatusCode"] == 200
    assert answer["ResponseStreamContentType"] == "application/vnd.amazon.eventstream"
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-remapped-content-type"] == INTEGRATION


@pytest.mark.parametrize(("content_type", "streaming"), [(INTEGRATION, True), ("application/json", False)])
def test_a_prelude_needs_no_streaming_mode(content_type: str, streaming: bool) -> None:
    """So AWS's client for Go sends it: the type of the response says that it is a stream (RS-PRELUDE-7)."""

    async def check() -> None:
        call = Call(b"{}", request_id="it")
        call.start(content_type, streaming=False)
        started = await call.started()
        assert started is not None
        assert started.streaming is streaming

    asyncio.run(check())


@pytest.mark.parametrize(
    ("result", "chunks", "content_type"),
    [
        ({"a": [1, "é"]}, [{"a": [1, "é"]}], "application/json"),
        (None, [None], "application/json"),
        (b'"octets"', ["octets"], "application/octet-stream"),
        (StreamingResponse([b"1"], content_type="text/x-own"), [1], "text/x-own"),
        (StreamingResponse([]), [], "application/octet-stream"),
    ],
)
def test_whatever_a_handler_returns(result: object, chunks: list[object], content_type: str) -> None:
    """A plain result is one PayloadChunk, an empty stream is none; the remapped type is the function's.

    It shows IN-STREAM-2, IN-STREAM-10, RS-HEAD-6.
    """
    with sdk_around(lambda _, __: result) as aws:
        answer = aws.invoke_with_response_stream(FunctionName="any")
        received, complete = whole(answer)
    assert ([json.loads(chunk) for chunk in received], complete) == (chunks, {})
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-remapped-content-type"] == content_type


def test_the_ids_are_those_of_the_invocation() -> None:
    """Request id, trace id and executed version, as the runtime was told them (IN-ANSWER-12, IN-ANSWER-13)."""
    contexts: list[Any] = []
    with sdk_around(lambda _, context: contexts.append(context)) as aws:
        answer = aws.invoke_with_response_stream(FunctionName="any")
        whole(answer)
    metadata = answer["ResponseMetadata"]
    assert metadata["RequestId"] == metadata["HTTPHeaders"]["x-amzn-requestid"] == contexts[0].aws_request_id
    assert metadata["HTTPHeaders"]["x-amzn-trace-id"].startswith("Root=1-")
    assert metadata["HTTPHeaders"]["transfer-encoding"] == "chunked"
    assert answer["ExecutedVersion"] == "$LATEST"


def post(
    connection: http.client.HTTPConnection, body: bytes = b"{}", method: str = "POST"
) -> tuple[http.client.HTTPResponse, bytes]:
    connection.request(method, PATH, body=body)
    answer = connection.getresponse()
    return answer, answer.read()


@contextmanager
def connected(handler: Handler) -> Iterator[http.client.HTTPConnection]:
    with LocalLambda(handler) as fn:
        connection = http.client.HTTPConnection("127.0.0.1", int(fn.url.rpartition(":")[2]), timeout=PATIENCE_S)
        yield connection
        connection.close()


def messages(data: bytes) -> Iterator[Message]:
    """Yield headers and payload of each message, after its checksums were found right."""
    while data:
        total, headers_size, prelude_crc = struct.unpack(">III", data[:12])
        message, data = data[:total], data[total:]
        assert len(message) == total
        assert prelude_crc == zlib.crc32(message[:8])
        assert message[-4:] == zlib.crc32(message[:-4]).to_bytes(4, "big")
        fields, payload = message[12 : 12 + headers_size], message[12 + headers_size : -4]
        headers = []
        while fields:
            name_end = 1 + fields[0]
            assert fields[name_end] == 7
            value_end = name_end + 3 + int.from_bytes(fields[name_end + 1 : name_end + 3], "big")
            headers.append((fields[1:name_end].decode(), fields[name_end + 3 : value_end].decode()))
            fields = fields[value_end:]
        yield headers, payload


def test_messages_are_written_as_aws_writes_them() -> None:
    """Headers in AWS's order, all strings; the last message is AWS's, byte for byte (ES-MESSAGE-1, ES-MESSAGE-12)."""
    last = bytes.fromhex(
        "00000066 00000054 1f56c869"  # total length, headers length, crc of both
        "0b 3a6576656e742d74797065 07 000e 496e766f6b65436f6d706c657465"  # :event-type: InvokeComplete
        "0d 3a636f6e74656e742d74797065 07 0010 6170706c69636174696f6e2f6a736f6e"  # :content-type: application/json
        "0d 3a6d6573736167652d74797065 07 0005 6576656e74"  # :message-type: event
        "7b7d 7006d467"  # payload, crc of everything above (as recorded for the tests of Kong's aws-lambda plugin)
    )
    with connected(lambda _, __: StreamingResponse([b"a", b"bc"])) as connection:
        answer, body = post(connection)
    headers = [
        (":event-type", "PayloadChunk"),
        (":content-type", "application/octet-stream"),
        (":message-type", "event"),
    ]
    assert list(messages(body))[:-1] == [(headers, b"a"), (headers, b"bc")]
    assert body.endswith(last)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/vnd.amazon.eventstream")
    assert answer.headers["transfer-encoding"] == "chunked"


def test_messages_are_not_compressed() -> None:
    """Whatever the caller would take (IN-STREAM-8)."""
    with connected(lambda _, __: StreamingResponse([b"a"])) as connection:
        connection.request("POST", PATH, headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        assert [payload for _, payload in messages(answer.read())] == [b"a", b"{}"]
    assert answer.headers["content-encoding"] is None


# -- what is asked


def test_all_that_invoke_takes_is_taken() -> None:
    """Event, client context and tenant reach the function; any name, ARN or qualifier is this function's."""
    seen: list[tuple[Any, Any]] = []
    name = "arn:aws:lambda:us-east-1:123456789012:function:any"
    custom = base64.b64encode(b'{"custom": {"a": "b"}}').decode()
    with sdk_around(lambda event, context: seen.append((event, context))) as aws:
        answer = aws.invoke_with_response_stream(
            FunctionName=name, Qualifier="7", ClientContext=custom, TenantId="blue", Payload='{"é": 1}'
        )
        assert whole(answer) == ([b"null"], {})
        assert whole(aws.invoke_with_response_stream(FunctionName="any:live")) == ([b"null"], {})
    (event, context), (nothing, _) = seen
    assert (event, nothing) == ({"é": 1}, {})
    assert (context.client_context.custom, context.tenant_id) == ({"a": "b"}, "blue")


@pytest.mark.parametrize("kind", ["RequestResponse", "DryRun", "Event"])
def test_every_invocation_type_runs_the_function(kind: str) -> None:
    """Unlike Invoke's: 200, and the stream (recorded 2026-09; IN-STREAM-12)."""
    with sdk_around(lambda event, _: StreamingResponse([str(event)])) as aws:
        answer = aws.invoke_with_response_stream(FunctionName="any", InvocationType=kind, Payload="5")
        assert (answer["StatusCode"], whole(answer)) == (200, ([b"5"], {}))


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        ({"Payload": b"not json"}, "InvalidRequestContentException", 400),
        ({"ClientContext": "bm8=", "Payload": b"{}"}, "InvalidRequestContentException", 400),
        ({"Payload": b'"' + b"x" * 6 * 1024 * 1024 + b'"'}, "RequestTooLargeException", 413),
    ],
)
def test_what_cannot_be_invoked_is_refused(arguments: dict[str, Any], code: str, status: int) -> None:
    """As errors that the SDK knows, before anything is streamed; the function is not called."""
    calls: list[object] = []
    with sdk_around(lambda event, _: calls.append(event)) as aws:
        with pytest.raises(getattr(aws.exceptions, code)) as caught:
            aws.invoke_with_response_stream(FunctionName="any", **arguments)
        assert calls == []
        assert whole(aws.invoke_with_response_stream(FunctionName="any")) == ([b"null"], {})
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_an_event_of_6_mib_passes() -> None:
    """The limit itself is allowed."""
    payload = b'"' + b"x" * (6 * 1024 * 1024 - 2) + b'"'
    with sdk_around(lambda event, _: len(event)) as aws:
        answer = aws.invoke_with_response_stream(FunctionName="any", Payload=payload)
        assert whole(answer) == ([b"6291454"], {})


def test_get_is_refused() -> None:
    """405 with the method that works; the connection goes on."""
    calls: list[object] = []
    with connected(lambda event, _: calls.append(event)) as connection:
        answer, _ = post(connection, method="GET")
        assert (answer.status, answer.headers["allow"], calls) == (405, "POST", [])
        assert post(connection)[0].status == 200


# -- failures


def test_a_failure_after_the_prelude_keeps_it() -> None:
    """The handler raises before its first body byte, and its head was written already."""

    def body() -> Iterator[bytes]:
        yield b""
        raise KeyError("late")

    with sdk_around(lambda _, __: HttpResponse(body=body())) as aws:
        chunks, complete = whole(aws.invoke_with_response_stream(FunctionName="any"))
    head, nuls, rest = b"".join(chunks).partition(b"\0" * 8)
    assert (json.loads(head)["statusCode"], nuls, rest) == (200, b"\0" * 8, b"")
    assert complete["ErrorCode"] == "KeyError"


def test_a_failure_without_stream_is_no_chunk() -> None:
    """A handler that raises: its document is told in InvokeComplete alone, with the traceback that it holds."""

    def fail(_: object, __: object) -> object:
        raise ValueError("no")

    with sdk_around(fail) as aws:
        chunks, complete = whole(aws.invoke_with_response_stream(FunctionName="any", LogType="Tail"))
    document = json.loads(complete["ErrorDetails"])
    assert (chunks, complete["ErrorCode"]) == ([], "ValueError")
    assert (document["errorType"], document["errorMessage"]) == ("ValueError", "no")
    assert "raise ValueError" in "".join(document["stackTrace"])
    assert log_of(complete["LogResult"]).endswith("\tStatus: error\n")


# -- the log's end


@pytest.mark.parametrize("kind", [None, "None", "Tail"])
def test_the_end_of_the_log_is_given_to_who_asks(kind: str | None) -> None:
    """START, END and REPORT of this invocation; nothing without ``LogType="Tail"`` (IN-LOG-2, IN-LOG-3)."""
    asked = {} if kind is None else {"LogType": kind}
    with sdk_around(lambda _, __: StreamingResponse(["a"])) as aws:
        for _ in range(2):
            answer = aws.invoke_with_response_stream(FunctionName="any", **asked)
            chunks, complete = whole(answer)
            assert chunks == [b"a"]
            assert complete.keys() == ({"LogResult"} if kind == "Tail" else set())
            assert "x-amz-log-result" not in answer["ResponseMetadata"]["HTTPHeaders"]
            request_id = answer["ResponseMetadata"]["RequestId"]
            if kind == "Tail":
                first, *_, end, report = log_of(complete["LogResult"]).splitlines()
                assert first == f"START RequestId: {request_id} Version: $LATEST"
                assert end == f"END RequestId: {request_id}"
                assert report.startswith(f"REPORT RequestId: {request_id}\t")
                assert "\tBytes: 1" in report


# -- callers


def test_one_connection_carries_stream_after_stream(caplog: pytest.LogCaptureFixture) -> None:
    """The SDK opens one and keeps it, also after a failed stream."""
    caplog.set_level(logging.DEBUG, "urllib3.connectionpool")

    def body(event: object) -> Iterator[str]:
        yield str(event)
        if event == 2:
            raise ValueError

    with sdk_around(lambda event, _: StreamingResponse(body(event))) as aws:
        for number in range(1, 6):
            answer = aws.invoke_with_response_stream(FunctionName="any", Payload=str(number))
            chunks, complete = whole(answer)
            assert (chunks, complete.get("ErrorCode")) == ([b"%d" % number], "ValueError" if number == 2 else None)
    assert caplog.text.count("Starting new HTTP connection") == 1
    assert "Resetting dropped connection" not in caplog.text


def test_a_caller_who_leaves_does_not_disturb_the_function() -> None:
    """It runs to its end, its bytes are thrown away, and the next call works (IN-ASK-23)."""
    left, ended = threading.Event(), threading.Event()

    def body() -> Iterator[bytes]:
        yield b"x"
        assert left.wait(PATIENCE_S)
        for _ in range(200):
            yield b"x" * 65_536
        ended.set()

    with sdk_around(lambda event, _: StreamingResponse(body()) if event == {} else "next") as aws:
        stream = aws.invoke_with_response_stream(FunctionName="any")["EventStream"]
        assert next(iter(stream)) == {"PayloadChunk": {"Payload": b"x"}}
        stream.close()
        left.set()
        assert ended.wait(PATIENCE_S)
        answer = aws.invoke_with_response_stream(FunctionName="any", Payload="1")
        assert whole(answer) == ([b'"next"'], {})


def test_a_slow_caller_slows_the_function_down() -> None:
    """100 MiB are not made while the caller takes none of them; then all arrive."""
    ended = threading.Event()

    def body() -> Iterator[bytes]:
        for _ in range(1600):
            yield b"x" * 65_536
        ended.set()

    with sdk_around(lambda _, __: StreamingResponse(body())) as aws:
        answer = aws.invoke_with_response_stream(FunctionName="any")
        assert not ended.wait(0.5)
        chunks, complete = whole(answer)
        assert (sum(map(len, chunks)), complete) == (100 * 1024 * 1024, {})
        assert ended.wait(PATIENCE_S)
