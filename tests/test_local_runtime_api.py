"""What the embedded Lambda makes of runtimes that are none of ours: this file plays the runtime, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from lambda_wire.local.call import Call
from lambda_wire.local.handover import Handover
from lambda_wire.local.modes import ManagedMode, StandardMode
from lambda_wire.local.runtime_api import RuntimeApi
from lambda_wire.sync import connect
from lambda_wire.testing import deliveries
from tests.local_bench import PATIENCE_S, PREFIX, Bench, Wire


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


RESPONSE = f"POST {PREFIX}/invocation/it/response HTTP/1.1\r\nHost: h\r\n"


def test_a_response_is_the_same_however_it_is_delivered(bench: Bench) -> None:
    """Whole, byte by byte, and randomly cut; its caller has it before the next poll (UN-5)."""
    called = bench.call()
    with Wire(bench.address()) as wire:
        for pieces in deliveries(
            (RESPONSE + 'Transfer-Encoding: chunked\r\n\r\n2\r\n"a\r\n2\r\nb"\r\n0\r\n\r\n').encode()
        ):
            wire.poll()
            assert wire.answer() == (200, b"{}")
            for piece in pieces:
                wire.send(piece)
            assert wire.answer() == (202, b'{"status":"OK"}\n')
            assert called.result(PATIENCE_S)[1] == b'"ab"'
            called = bench.call()
        wire.poll()
        assert wire.answer()[0] == 200


def test_a_poll_is_told_of_its_invocation(bench: Bench) -> None:
    """Its id, its deadline, the function's ARN, its trace, and what kind of event it is; no field without a value.

    (RT-NEXT-5, RT-NEXT-6, RT-NEXT-7, RT-NEXT-8, RT-NEXT-13, LI-TIME-1)
    """
    before_ms = time.time() * 1000
    called = bench.call('{"k": 1}')
    with contextlib.closing(http.client.HTTPConnection(bench.address(), timeout=PATIENCE_S)) as polling:
        polling.request("GET", f"{PREFIX}/invocation/next")
        answer = polling.getresponse()
        assert (answer.status, answer.read()) == (200, b'{"k": 1}')
        said = dict(answer.getheaders())
        assert said["Lambda-Runtime-Aws-Request-Id"] == "it"
        assert before_ms + 29_999 <= int(said["Lambda-Runtime-Deadline-Ms"]) <= time.time() * 1000 + 30_001
        assert said["Lambda-Runtime-Invoked-Function-Arn"].endswith(":function:function")
        assert said["Lambda-Runtime-Trace-Id"].startswith("Root=1-")
        assert said["Content-Type"] == "application/json"
        assert len(said) == 6, "and the length"
        polling.request("POST", f"{PREFIX}/invocation/it/response", b"1")
        assert polling.getresponse().status == 202
    assert called.result(PATIENCE_S)[1] == b"1"


def test_polls_are_served_in_the_order_in_which_they_came() -> None:
    """Whatever has waited longest has the next invocation (RT-NEXT-21)."""

    async def check() -> None:
        api = await RuntimeApi.open(ManagedMode())
        polls = [api.wait_for_call() for _ in range(3)]
        calls = [Call(b"1", request_id=request_id) for request_id in "abc"]
        handovers = [Handover(call, call.invocation(function_arn="arn"), timeout_s=1.0) for call in calls]
        for handover in handovers:
            api.hand_over(handover)
        assert [poll.result() for poll in polls] == handovers
        await api.close()

    asyncio.run(check())


def test_a_second_poll_gets_the_same_event_again(bench: Bench) -> None:
    """As in the emulator; and a ping is answered in between (RT-NEXT-20)."""
    called = bench.call("7")
    address = bench.address()
    with Wire(address) as one, Wire(address) as other:
        one.poll()
        assert one.answer() == (200, b"7")
        first = one.head
        other.send("GET /2018-06-01/ping HTTP/1.1\r\nHost: h\r\n\r\n")
        assert other.answer() == (200, b"pong")
        other.poll()
        assert other.answer() == (200, b"7")
        assert other.head == first  # id and deadline, too
        one.send(RESPONSE + "Content-Length: 1\r\n\r\n8")
        assert one.answer()[0] == 202
        assert called.result(PATIENCE_S)[1] == b"8"


def test_a_request_may_be_sent_ahead_of_the_polls_answer(bench: Bench) -> None:
    """Requests are answered strictly in order (RT-CONN-6)."""
    called = bench.call()
    with Wire(bench.address()) as wire:
        wire.poll()
        wire.send("GET /2018-06-01/ping HTTP/1.1\r\nHost: h\r\n\r\n")
        assert wire.answer()[0] == 200
        assert wire.answer() == (200, b"pong")
        wire.send("GET /2018-06-01/ping HTTP/1.1\r\nHost: h\r\n\r\n" + RESPONSE + "Content-Length: 1\r\n\r\n8")
        assert wire.answer() == (200, b"pong")
        assert wire.answer()[0] == 202
    assert called.result(PATIENCE_S)[1] == b"8"


def test_a_poll_whose_connection_ended_takes_no_event(bench: Bench) -> None:
    """The next poll gets it (RT-NEXT-22)."""
    called = bench.call()
    address = bench.address()
    with Wire(address) as one:
        one.poll()
        assert one.answer()[0] == 200
        one.send(RESPONSE + "Content-Length: 1\r\n\r\n1")
        assert one.answer()[0] == 202
        assert called.result(PATIENCE_S)[1] == b"1"
        one.poll()
        one.socket.shutdown(socket.SHUT_WR)
        assert one.socket.recv(1) == b""
    called = bench.call()
    with Wire(address) as other:
        other.poll()
        assert other.answer()[0] == 200
        other.send(RESPONSE + "Content-Length: 1\r\n\r\n2")
        assert other.answer()[0] == 202
    assert called.result(PATIENCE_S)[1] == b"2"


def _leave_idle(bench: Bench) -> None:
    """Let a runtime answer its first invocation and poll again; its connection then ends."""
    called = bench.call()
    with Wire(bench.address()) as wire:
        wire.poll()
        assert wire.answer()[0] == 200
        wire.send(RESPONSE + "Content-Length: 1\r\n\r\n1")
        assert wire.answer()[0] == 202
        assert called.result(PATIENCE_S)[1] == b"1"
        wire.poll()
        bench.wait_for("REPORT", 1)  # it is idle


def test_an_idle_runtime_that_dies_loses_no_event(bench: Bench) -> None:
    """Another is started for it; once: when that one dies too, the caller is told."""
    _leave_idle(bench)
    called = bench.call("2")
    bench.wait_for("START", 2)
    bench.end_runtime()
    with Wire(bench.address()) as wire:
        wire.poll()
        assert wire.answer() == (200, b"2")
        wire.send(RESPONSE + "Content-Length: 1\r\n\r\n2")
        assert wire.answer()[0] == 202
        assert called.result(PATIENCE_S)[1] == b"2"
        wire.poll()
        called = bench.call("3")
        assert wire.answer() == (200, b"3")  # the lines of an invocation are complete when the next one runs
        bench.end_runtime()
    assert json.loads(called.result(PATIENCE_S)[1])["errorType"] == "Runtime.ExitError"
    assert len([line for line in bench.lines if line.startswith("START")]) == 3


def test_a_second_runtime_that_dies_is_told_of(bench: Bench) -> None:
    """No third is started; the invocation begins once."""
    _leave_idle(bench)
    called = bench.call("2")
    bench.wait_for("START", 2)
    bench.end_runtime()
    assert bench.address()
    bench.end_runtime()
    assert json.loads(called.result(PATIENCE_S)[1])["errorType"] == "Runtime.ExitError"
    called = bench.call("3")
    with Wire(bench.address()) as wire:
        wire.poll()
        assert wire.answer() == (200, b"3")
        assert len([line for line in bench.lines if line.startswith("START")]) == 3
        wire.send(RESPONSE + "Content-Length: 1\r\n\r\n3")
        assert wire.answer()[0] == 202
    assert called.result(PATIENCE_S)[1] == b"3"


@pytest.mark.parametrize("mode", [StandardMode, ManagedMode])
def test_an_event_keeps_when_its_poll_has_just_left(mode: type[StandardMode | ManagedMode]) -> None:
    """It was handed over before the end of the connection was seen: nobody was sent it."""

    async def check() -> None:
        api = await RuntimeApi.open(mode())
        with Wire(api.address) as wire:
            wire.poll()
            assert await api.ready is None
        call = Call(b"7", request_id="it")
        handover = Handover(call, call.invocation(function_arn="arn"), timeout_s=1.0)
        api.hand_over(handover)
        await api.finished()
        assert not handover.was_sent
        with Wire(api.address) as wire:
            wire.poll()
            assert await asyncio.to_thread(wire.answer) == (200, b"7")
        assert handover.was_sent
        await api.close()

    asyncio.run(check())


def test_a_call_that_is_taken_back_is_not_sent() -> None:
    """Even if it was given to a poll; that goes on waiting (RT-NEXT-3)."""

    async def check() -> None:
        api = await RuntimeApi.open(ManagedMode())
        with Wire(api.address) as wire:
            wire.poll()
            assert await api.ready is None
            calls = [Call(payload, request_id="it") for payload in (b"1", b"2", b"3")]
            given, queued, last = (Handover(call, call.invocation(function_arn="arn"), timeout_s=1.0) for call in calls)
            for handover in (given, queued):
                api.hand_over(handover)
                api.take_back(handover)
            api.hand_over(last)
            assert await asyncio.to_thread(wire.answer) == (200, b"3")
        assert [handover.was_sent for handover in (given, queued, last)] == [False, False, True]
        await api.close()

    asyncio.run(check())


def test_expect_100_continue_is_answered(bench: Bench) -> None:
    """Large bodies of clients made with libcurl wait for it."""
    called = bench.call()
    with Wire(bench.address()) as wire:
        wire.poll()
        assert wire.answer()[0] == 200
        wire.send(RESPONSE + "Content-Length: 1\r\nExpect: 100-continue\r\n\r\n")
        assert wire.socket.recv(25, socket.MSG_WAITALL) == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.send("1")
        assert wire.answer()[0] == 202
    assert called.result(PATIENCE_S)[1] == b"1"


@pytest.mark.parametrize(
    ("request_", "status", "error_type"),
    [
        (
            f"POST {PREFIX}/invocation/other/response HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
            400,
            "InvalidRequestID",
        ),
        (f"POST {PREFIX}/init/error HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 403, "InvalidStateTransition"),
    ],
)
def test_what_the_law_refuses_is_told_and_the_invocation_goes_on(
    bench: Bench, request_: str, status: int, error_type: str
) -> None:
    """The connection is kept (RT-INIT-4, RT-STATE-4)."""
    called = bench.call()
    with Wire(bench.address()) as wire:
        wire.poll()
        assert wire.answer()[0] == 200
        wire.send(request_)
        answered, document = wire.answer()
        assert (answered, json.loads(document)["errorType"]) == (status, error_type)
        wire.send(RESPONSE + "Content-Length: 1\r\n\r\n1")
        assert wire.answer()[0] == 202
    assert called.result(PATIENCE_S)[1] == b"1"


def test_what_is_no_http_is_answered_and_the_invocation_goes_on(bench: Bench) -> None:
    """On another connection."""
    called = bench.call()
    address = bench.address()
    with Wire(address) as wire:
        wire.send("nonsense\r\n\r\n")
        assert wire.socket.recv(65_536).startswith(b"HTTP/1.1 400 ")
    with Wire(address) as wire:
        wire.poll()
        assert wire.answer()[0] == 200
        wire.send(RESPONSE + "Content-Length: 1\r\n\r\n1")
        assert wire.answer()[0] == 202
    assert called.result(PATIENCE_S)[1] == b"1"


@pytest.mark.parametrize("body", ["Content-Length: 9\r\n\r\n1", "Transfer-Encoding: chunked\r\n\r\n1\r\n1\r\n"])
def test_an_answer_that_is_cut_is_lost_when_the_runtime_goes_on(bench: Bench, body: str) -> None:
    """Its caller is told as soon as the runtime polls again (RS-END-3, RS-END-6, ER-TYPE-8)."""
    called = bench.call()
    address = bench.address()
    with Wire(address) as wire:
        wire.poll()
        assert wire.answer()[0] == 200
        wire.send(RESPONSE + body)
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.socket.recv(65_536).startswith(b"HTTP/1.1 400 ")
    with Wire(address) as wire:
        wire.poll()
        assert json.loads(called.result(PATIENCE_S)[1])["errorType"] == "Runtime.TruncatedResponse"
        called = bench.call("2")
        assert wire.answer() == (200, b"2")
        wire.send(RESPONSE + "Content-Length: 1\r\n\r\n1")
        assert wire.answer()[0] == 202
    assert called.result(PATIENCE_S)[1] == b"1"


def test_an_oversized_counted_response_is_refused_and_the_connection_kept(bench: Bench) -> None:
    """413 after all of it was read; the caller gets the document (RT-RESP-13, ER-TYPE-8, LI-PAYLOAD-3)."""
    called = bench.call()
    with Wire(bench.address()) as wire:
        wire.poll()
        assert wire.answer()[0] == 200
        size = 6 * 1024 * 1024 + 101
        wire.send(RESPONSE + f"Content-Length: {size}\r\n\r\n")
        wire.send(b"x" * size)
        assert wire.answer()[0] == 413
        assert json.loads(called.result(PATIENCE_S)[1])["errorType"] == "Function.ResponseSizeTooLarge"
        called = bench.call("2")
        wire.poll()
        assert wire.answer() == (200, b"2")
        wire.send(RESPONSE + "Content-Length: 1\r\n\r\n1")
        assert wire.answer()[0] == 202
    assert called.result(PATIENCE_S)[1] == b"1"


@pytest.mark.parametrize(
    ("trailers", "document"),
    [
        ("Lambda-Runtime-Function-Error-Body: bm8=\r\n", b"no"),
        ("Lambda-Runtime-Function-Error-Body: {}\r\n", b'{"errorType":"Mine","errorMessage":""}'),
    ],
)
def test_trailers_of_other_runtimes(bench: Bench, trailers: str, document: bytes) -> None:
    """A body that is not base64 leaves the type (managed instances, observed).

    (RS-TRAILER-7, RS-TRAILER-8, RS-TRAILER-10)
    """
    called = bench.call()
    with Wire(bench.address()) as wire:
        wire.poll()
        assert wire.answer()[0] == 200
        declared = "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n"
        wire.send(RESPONSE + declared + "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
        wire.send(f"Lambda-Runtime-Function-Error-Type: Mine\r\n{trailers}\r\n")
        assert wire.answer()[0] == 202
    headers, body = called.result(PATIENCE_S)
    assert (headers["x-amz-function-error"], body) == ("Unhandled", document)


def test_a_runtime_that_never_polls_exceeds_its_time() -> None:
    """The limit of init is at least ten seconds; a deadline is enforced on an answered call, too."""
    bench = Bench(timeout_s=0.2)
    called = bench.call()
    with Wire(bench.address()) as wire:
        wire.poll()
        assert wire.answer()[0] == 200
        wire.send(RESPONSE + "Content-Length: 1\r\n\r\n1")
        assert wire.answer()[0] == 202
        assert called.result(PATIENCE_S)[1] == b"1"
        assert wire.socket.recv(1) == b""  # not polled in time: the environment is replaced
    called = bench.call()
    assert bench.address()
    bench.close()
    headers, body = called.result(PATIENCE_S)
    assert headers["x-amz-function-error"] == "Unhandled"
    assert "was stopped" in json.loads(body)["errorMessage"]
    assert any(line.endswith("Status: timeout") for line in bench.lines)


def test_a_command_that_is_no_runtime_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long before the limit, and the failure is that of the init phase (LI-TIME-2)."""
    monkeypatch.setattr("lambda_wire.local.environment._INIT_S", 0.05)
    bench = Bench(timeout_s=0.1)
    headers, body = bench.call().result(PATIENCE_S)
    assert headers["x-amz-function-error"] == "Unhandled"
    document = {
        "errorType": "Sandbox.Timedout",
        "errorMessage": "RequestId: it Error: Init timed out after 0.10 seconds",
    }
    assert json.loads(body) == document
    bench.close()
    warnings = [line for line in bench.lines if line.startswith("WARN")]
    assert warnings == ["WARN RequestId: it The runtime has not asked for work for 0.05 s: is it a Lambda runtime?"]
    assert bench.lines[0] == warnings[0]


def test_an_unprintable_error_document_cannot_command_the_terminal(bench: Bench) -> None:
    """Control characters are shown as escapes, and a large document is cut; the caller gets it whole."""
    called = bench.call()
    document = b"\x1b[2J" + b"x" * 5000
    with connect(bench.address()) as runtime:
        runtime.report_error(runtime.next_invocation(), error_type="Mine", payload=document)
        assert called.result(PATIENCE_S)[1] == document
        with pytest.raises(TimeoutError):
            runtime.next_invocation(timeout=0.0)
        called = bench.call("2")
        invocation = runtime.next_invocation()
        shown = next(line for line in bench.lines if line.startswith("ERROR"))
        assert "\\x1b[2J" in shown
        assert shown.endswith("... (5004 bytes)")
        runtime.respond(invocation, b"1")
    assert called.result(PATIENCE_S)[1] == b"1"


def test_nothing_outlives_a_stopped_lambda() -> None:
    """A caller who waits in the middle of everything is told, and all threads and ports are gone."""
    before = threading.active_count()
    bench = Bench()
    called = bench.call()
    host, _, port = bench.address().rpartition(":")
    bench.close()
    assert "was stopped" in json.loads(called.result(PATIENCE_S)[1])["errorMessage"]
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=PATIENCE_S)
