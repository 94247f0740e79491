"""InvokeWithResponseStream of ``lambda-wire local``, as AWS's SDK for Node.js calls it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lambda_wire._responses import HttpResponse, StreamingResponse
from lambda_wire.testing import LocalLambda
from tests.aws_sdk import log_of
from tests.real_parts import node_sdk
from tests.running_local import PATIENCE_S

CALLER = Path(__file__).with_name("node_caller.mjs")


@contextmanager
def node_calls(answer: Callable[[Any], object], *inputs: dict[str, object]) -> Iterator[Iterator[dict[str, Any]]]:
    """Have the SDK call a function; give what it says, line by line as it comes. It must end well."""
    directory = node_sdk()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "NODE_"))}
    with LocalLambda(lambda event, _: answer(event)) as fn:
        command = ["node", str(CALLER), str(directory), fn.url, *(json.dumps(each) for each in inputs)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=inherited) as node:
            alarm = threading.Timer(PATIENCE_S, node.kill)  # a stream that never ends ends the caller
            alarm.start()
            try:
                assert node.stdout is not None
                yield (json.loads(line) for line in node.stdout)
            except BaseException:
                node.kill()
                raise
            finally:
                node.wait(2 * PATIENCE_S)
                alarm.cancel()
        assert node.returncode == 0


def heard(answer: Callable[[Any], object], **arguments: object) -> tuple[list[bytes], dict[str, str]]:
    """Call once; return the chunks and the completion, which must come last."""
    with node_calls(answer, {"FunctionName": "any", **arguments}) as lines:
        said = list(lines)
    assert not [line for line in said if "fault" in line]
    first, *chunks, last = said
    assert (first["answer"]["status"], first["answer"]["version"]) == (200, "$LATEST")
    assert first["answer"]["type"] == "application/vnd.amazon.eventstream"
    return [base64.b64decode(line["chunk"]) for line in chunks], last["complete"]


def test_each_chunk_is_printed_before_the_next_is_written() -> None:
    """The function waits until the line of the chunk before has been read."""
    seen = threading.Semaphore(0)
    written = []

    def body() -> Iterator[bytes]:
        for number in range(20):
            written.append(number)
            yield b"%d" % number
            assert seen.acquire(timeout=PATIENCE_S)

    with node_calls(lambda _: StreamingResponse(body()), {"FunctionName": "any"}) as lines:
        assert "answer" in next(lines)
        for number in range(20):
            assert next(lines) == {"chunk": base64.b64encode(b"%d" % number).decode()}
            assert written == list(range(number + 1))
            seen.release()
        assert list(lines) == [{"complete": {}}]


def test_the_prelude_is_not_taken_away() -> None:
    """JSON, eight NULs and body."""
    chunks, complete = heard(lambda _: HttpResponse(status_code=201, cookies=["a=1"], body=["b", "\0c"]))
    head, nuls, body = b"".join(chunks).partition(b"\0" * 8)
    assert (json.loads(head)["statusCode"], json.loads(head)["cookies"]) == (201, ["a=1"])
    assert (nuls, body, complete) == (b"\0" * 8, b"b\0c", {})


def test_a_plain_result_is_one_chunk() -> None:
    """Of JSON, made from the event that was sent."""
    assert heard(lambda event: {"got": event}, Payload='{"é": 1}') == ([b'{"got": {"\\u00e9": 1}}'], {})


def test_an_empty_stream_is_no_chunk() -> None:
    """Only the completion."""
    assert heard(lambda _: StreamingResponse([])) == ([], {})


def test_a_long_stream_arrives_whole() -> None:
    """8 MiB in pieces that fit no buffer, none of them waited for."""
    pieces = [bytes([number % 251]) * 40_009 for number in range(210)]
    chunks, complete = heard(lambda _: StreamingResponse(pieces))
    assert b"".join(chunks) == b"".join(pieces)
    assert complete == {}


@pytest.mark.parametrize("begun", [None, [], ["be", "gun"]])
def test_a_failure_is_told_at_the_end(begun: list[str] | None) -> None:
    """Before the stream, in it or after bytes: type and document."""

    def body(pieces: list[str]) -> Iterator[str]:
        yield from pieces
        raise ValueError("nö")

    def answer(_: object) -> object:
        if begun is None:
            raise ValueError("nö")
        return StreamingResponse(body(begun))

    chunks, complete = heard(answer)
    assert chunks == [piece.encode() for piece in begun or []]
    assert complete.keys() == {"ErrorCode", "ErrorDetails"}
    document = json.loads(complete["ErrorDetails"])
    assert complete["ErrorCode"] == document["errorType"] == "ValueError"
    assert document["errorMessage"] == "nö"
    assert document["stackTrace"]


def test_the_end_of_the_log_is_given_to_who_asks() -> None:
    """In base64, with the REPORT line as its last."""
    chunks, complete = heard(lambda _: StreamingResponse(["a"]), LogType="Tail")
    assert (chunks, list(complete)) == ([b"a"], ["LogResult"])
    assert log_of(complete["LogResult"]).splitlines()[-1].startswith("REPORT RequestId: ")


def test_one_client_streams_again_and_again_whatever_comes_between() -> None:
    """A refusal is an error that the SDK knows; the next call works."""
    inputs: list[dict[str, object]] = [
        {"FunctionName": "any", "Payload": "1"},
        {"FunctionName": "any", "Payload": "not json"},
        {"FunctionName": "any", "Payload": "2"},
        {"FunctionName": "any:live", "Payload": "3", "InvocationType": "DryRun"},
    ]
    with node_calls(lambda event: StreamingResponse([str(event)]), *inputs) as lines:
        said = list(lines)
    faults = [line["fault"] for line in said if "fault" in line]
    assert [base64.b64decode(line["chunk"]) for line in said if "chunk" in line] == [b"1", b"2", b"3"]
    assert [(fault["name"], fault["status"]) for fault in faults] == [("InvalidRequestContentException", 400)]
    assert [line["complete"] for line in said if "complete" in line] == [{}, {}, {}]
    assert len({line["answer"]["id"] for line in said if "answer" in line}) == 3
