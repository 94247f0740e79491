"""The sizes at which AWS ends a response, seen by AWS's SDK for Python."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lambda_wire import StreamingResponse
from lambda_wire.testing import LocalLambda
from tests.aws_sdk import lambda_client, whole
from tests.running_local import running_local

#: Source: the emulator's refusal text; AWS documents "6 MB".
BUFFERED = 6 * 1024 * 1024 + 100
#: Source: AWS docs "Lambda quotas", 200 MB with 1 MB = 1,024 KB.
STREAMED = 200 * 1024 * 1024
TOO_LARGE = "Function.ResponseSizeTooLarge"

ENDLESS = """
from lambda_wire import StreamingResponse

def handler(event, context):
    piece = bytes(65_536)
    return StreamingResponse(piece for _ in range(event["pieces"]))
"""


@contextmanager
def sdk_around_bytes() -> Iterator[Any]:
    """AWS's SDK, and behind it a function that returns as many bytes as it is asked for, whole or as a stream."""

    def handler(event: Any, context: object) -> object:
        body = bytes(event["size"])
        return StreamingResponse([body]) if event["stream"] else body

    with LocalLambda(handler) as function, lambda_client(function.url) as aws:
        yield aws


def asking_for(size: int, *, stream: bool = False) -> bytes:
    return json.dumps({"size": size, "stream": stream}).encode()


@pytest.mark.parametrize("stream", [False, True])
def test_a_whole_answer_ends_at_6_mib_and_100_bytes(stream: bool) -> None:
    """However the function gave it. One byte more is the function's error (IN-ANSWER-10, LI-PAYLOAD-1, LI-STREAM-2)."""
    with sdk_around_bytes() as aws:
        answer = aws.invoke(FunctionName="any", Payload=asking_for(BUFFERED, stream=stream))
        assert len(answer["Payload"].read()) == BUFFERED
        assert "FunctionError" not in answer
        answer = aws.invoke(FunctionName="any", Payload=asking_for(BUFFERED + 1, stream=stream))
        assert answer["FunctionError"] == "Unhandled"
        assert json.loads(answer["Payload"].read())["errorType"] == TOO_LARGE


def test_a_result_that_is_no_stream_has_its_limit_in_a_stream_too() -> None:
    """It is the runtime's limit: nothing of it is handed on (IN-STREAM-11, UN-3)."""
    with sdk_around_bytes() as aws:
        ask = aws.invoke_with_response_stream
        chunks, complete = whole(ask(FunctionName="any", Payload=asking_for(BUFFERED)))
        assert (sum(map(len, chunks)), complete) == (BUFFERED, {})
        chunks, complete = whole(ask(FunctionName="any", Payload=asking_for(BUFFERED + 1)))
        assert (chunks, complete["ErrorCode"]) == ([], TOO_LARGE)


def test_a_stream_ends_at_200_mib(tmp_path: Path) -> None:
    """All of it passes; of more, one byte beyond the limit (recorded 2026-09), and the error that AWS's code names.

    It shows ES-MESSAGE-26, IN-STREAM-14, LI-STREAM-1.
    """
    (tmp_path / "app.py").write_text(ENDLESS)
    pieces = STREAMED // 65_536
    with running_local("app.handler", cwd=tmp_path) as local, lambda_client(f"http://127.0.0.1:{local.port}") as aws:
        for asked, size, error in ((pieces, STREAMED, None), (pieces + 64, STREAMED + 1, TOO_LARGE)):
            payload = json.dumps({"pieces": asked}).encode()
            events = aws.invoke_with_response_stream(FunctionName="any", Payload=payload)["EventStream"]
            received, complete = 0, None
            for event in events:
                received += len(event.get("PayloadChunk", {}).get("Payload", b""))
                complete = event.get("InvokeComplete", complete)
            assert received == size
            assert complete is not None
            assert complete.get("ErrorCode") == error
