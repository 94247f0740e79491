"""Managed instances as the embedded Lambda serves them: one runtime, several invocations at once."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import random
import select
import socket
import sys
import threading
import uuid
from base64 import b64decode
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Self, TypeAlias

import pytest

from lambda_wire.local.report import Report
from lambda_wire.local.server import EmbeddedLambda
from lambda_wire.local.worker import Worker, child_environment
from tests.local_bench import PATIENCE_S, PREFIX, Bench
from tests.real_parts import need_module, running_managed_emulator
from tests.running_local import RunningLocal, running_local

Called: TypeAlias = "concurrent.futures.Future[tuple[http.client.HTTPMessage, bytes]]"
Refusal: TypeAlias = "tuple[int, str]"
Invoke: TypeAlias = "Callable[[], concurrent.futures.Future[str]]"
ACCEPTED: Refusal = (202, "")
UNKNOWN: Refusal = (400, "InvalidRequestID")
LATE: Refusal = (410, "InvokeTimeout")


@contextlib.contextmanager
def bench_of(
    *, concurrency: int = 2, environments: int = 1, timeout_s: float = PATIENCE_S
) -> Generator[Bench, None, None]:
    bench = Bench(timeout_s=timeout_s, environments=environments, concurrency=concurrency)
    try:
        yield bench
    finally:
        bench.close()


class Slot:
    """One connection of a runtime that does as the test says.

    Attributes:
        request_id: Of the invocation that it was told of last.
        invocation_id: Of that attempt.
    """

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=PATIENCE_S)
        self.request_id = ""
        self.invocation_id = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def poll(self) -> Self:
        self._connection.request("GET", f"{PREFIX}/invocation/next")
        return self

    def event(self) -> bytes:
        """Wait until the poll is answered."""
        answer = self._connection.getresponse()
        assert answer.status == 200
        self.request_id = answer.headers["Lambda-Runtime-Aws-Request-Id"]
        self.invocation_id = answer.headers["Lambda-Runtime-Invocation-Id"]
        return answer.read()

    def respond(self, body: bytes = b"1", **headers: str) -> Refusal:
        """Answer the invocation that it was told of last."""
        return self.report(f"invocation/{self.request_id}/response", body, **headers)

    def fail(self, body: bytes = b"{}", **headers: str) -> Refusal:
        return self.report(f"invocation/{self.request_id}/error", body, **headers)

    def report(self, path: str, body: bytes = b"", **headers: str) -> Refusal:
        named = {f"Lambda-Runtime-{name.replace('_', '-')}": value for name, value in headers.items()}
        self._connection.request("POST", f"{PREFIX}/{path}", body, named)
        return self.refusal()

    def refusal(self) -> Refusal:
        """Return an answer's status, and the error type that it names."""
        answer = self._connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body)["errorType"] if answer.status not in (202, 404) else ""

    def begin(self, piece: bytes = b"x", **headers: str) -> None:
        """Begin a response, and leave it open once the service takes it."""
        self._connection.putrequest("POST", f"{PREFIX}/invocation/{self.request_id}/response")
        for name, value in {"Function_Response_Mode": "streaming", **headers}.items():
            self._connection.putheader(f"Lambda-Runtime-{name.replace('_', '-')}", value)
        self._connection.putheader("Transfer-Encoding", "chunked")
        self._connection.putheader("Expect", "100-continue")
        self._connection.endheaders()
        assert self._connection.sock is not None
        assert self._connection.sock.recv(25, socket.MSG_WAITALL) == b"HTTP/1.1 100 Continue\r\n\r\n"
        self.go_on(piece)

    def go_on(self, piece: bytes) -> None:
        self._connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))

    def finish(self) -> Refusal:
        self._connection.send(b"0\r\n\r\n")
        return self.refusal()

    def fileno(self) -> int:
        """Let ``select`` see it."""
        assert self._connection.sock is not None
        return self._connection.sock.fileno()

    def leave_half(self) -> None:
        """Say that no more comes."""
        assert self._connection.sock is not None
        self._connection.sock.shutdown(socket.SHUT_WR)


def polling(address: str, count: int, stack: contextlib.ExitStack) -> list[Slot]:
    """Return connections that have polled."""
    return [stack.enter_context(Slot(address)).poll() for _ in range(count)]


def told(slots: list[Slot], count: int) -> dict[bytes, Slot]:
    """Wait until so many of them have an event; return them by what it is, and take them out of the list."""
    events: dict[bytes, Slot] = {}
    while len(events) < count:
        readable, _, _ = select.select(slots, [], [], PATIENCE_S)
        assert readable
        for slot in readable[: count - len(events)]:
            slots.remove(slot)
            events[slot.event()] = slot
    return events


def error_of(called: Called) -> str:
    headers, body = called.result(PATIENCE_S)
    assert headers["x-amz-function-error"] == "Unhandled"
    said: str = json.loads(body)["errorType"]
    return said


def body_of(called: Called) -> bytes:
    headers, body = called.result(PATIENCE_S)
    assert headers["x-amz-function-error"] is None, body
    return body


# -- slots and polls


def test_each_slot_runs_an_invocation_and_answers_in_any_order() -> None:
    """On any connection; the caller is answered although nobody polls again. Every attempt has an id of its own.

    (RT-NEXT-12, RT-MANAGED-3, RT-MANAGED-4, UN-5)
    """
    with bench_of() as bench, contextlib.ExitStack() as stack:
        called = [bench.call("0", request_id="a"), bench.call("1", request_id="b", tail=True)]
        asked = told(polling(bench.address(), 2, stack), 2)
        assert {payload: slot.request_id for payload, slot in asked.items()} == {b"0": "a", b"1": "b"}
        assert len({uuid.UUID(slot.invocation_id) for slot in asked.values()}) == 2
        assert asked[b"0"].report("invocation/b/response", b"10") == ACCEPTED
        assert body_of(called[1]) == b"10"  # its log is complete, too
        assert asked[b"0"].respond(b"00") == ACCEPTED
        assert body_of(called[0]) == b"00"


def test_one_slot_is_standard_mode() -> None:
    """No attempt has an id, and an order that is none is 403 (RT-NEXT-12, RT-RESP-9, UN-1)."""
    with bench_of(concurrency=1) as bench:
        called = bench.call("0")
        with Slot(bench.address()).poll() as slot:
            assert slot.event() == b"0"
            assert slot.invocation_id is None
            assert slot.respond(b"1", Invocation_Id="another") == ACCEPTED
            assert body_of(called) == b"1"
            assert slot.respond(b"1") == (403, "InvalidStateTransition")


def test_more_polls_than_slots() -> None:
    """Any number may be open. A caller waits until a slot is free, and then has one of them."""
    with bench_of() as bench, contextlib.ExitStack() as stack:
        calls = [bench.call(name, request_id=name) for name in "123"]
        slots = polling(bench.address(), 3, stack)
        first, second = told(slots, 2).values()
        assert first.respond() == ACCEPTED
        (third,) = told(slots, 1).values()
        assert second.respond() == third.respond() == ACCEPTED
        assert [body_of(call) for call in calls] == [b"1"] * 3
        lines = [tuple(line.split()[:3:2]) for line in bench.lines]
        assert lines.index(("REPORT", first.request_id)) < lines.index(("START", third.request_id))


def test_fewer_polls_than_slots() -> None:
    """The invocation waits for one; when none comes in all its time it fails, and the runtime is left alone.

    (RT-MANAGED-10, ER-TYPE-8)
    """
    with bench_of(concurrency=3, timeout_s=1.0) as bench, contextlib.ExitStack() as stack:
        calls = [bench.call(name, request_id=name) for name in "12"]
        (slot,) = polling(bench.address(), 1, stack)
        slot.event()
        assert slot.respond() == ACCEPTED
        slot.poll().event()
        assert slot.respond() == ACCEPTED
        assert [body_of(call) for call in calls] == [b"1", b"1"]
        assert error_of(bench.call(request_id="c")) == "Runtime.Unavailable"
        called = bench.call("4", request_id="d")
        assert slot.poll().event() == b"4"
        assert slot.respond(b"5") == ACCEPTED
        assert body_of(called) == b"5"


def test_environments_have_slots_each() -> None:
    """A runtime is started when the slots of those before are taken; the next caller waits."""
    with bench_of(environments=2) as bench, contextlib.ExitStack() as stack:
        calls = {name: bench.call(name, request_id=name) for name in "12"}
        here = polling(bench.address(), 2, stack)
        running = told(here, 2)
        calls |= {name: bench.call(name, request_id=name) for name in "345"}
        there = polling(bench.address(), 2, stack)
        running |= told(there, 2)
        assert len(running) == 4
        freed = next(iter(running.values()))
        assert freed.respond() == ACCEPTED
        last = told([freed.poll()], 1)
        for slot in [*[*running.values()][1:], *last.values()]:
            assert slot.respond() == ACCEPTED
        assert {*running, *last} == {b"1", b"2", b"3", b"4", b"5"}
        assert [body_of(call) for call in calls.values()] == [b"1"] * 5


def test_polls_that_leave_lose_nothing() -> None:
    """Whoever half-closes a poll has the event or the end of the connection, never neither."""
    asked: list[str] = []
    left: list[bool] = []
    enough = threading.Event()

    def work(address: str, seed: int) -> None:
        dice = random.Random(seed)
        while not enough.is_set():
            with Slot(address).poll() as slot:
                select.select([slot], [], [], dice.choice((0.0, 0.001, 0.05)))
                slot.leave_half()
                try:
                    payload = slot.event()
                except http.client.RemoteDisconnected:
                    left.append(True)
                    continue
                asked.append(slot.request_id)
                with Slot(address) as other:
                    other.request_id = slot.request_id
                    assert other.respond(payload * 2, Invocation_Id=slot.invocation_id) == ACCEPTED

    with bench_of(concurrency=4) as bench, concurrent.futures.ThreadPoolExecutor() as workers:
        calls = {str(number): bench.call(str(number), request_id=f"r{number}") for number in range(150)}
        address = bench.address()
        working = [workers.submit(work, address, seed) for seed in range(5)]
        try:
            answers = {name: body_of(call) for name, call in calls.items()}
        finally:
            enough.set()
        for worker in working:
            worker.result(PATIENCE_S)
    assert answers == {name: name.encode() * 2 for name in calls}
    assert sorted(asked) == sorted(f"r{name}" for name in calls)
    assert left


# -- deadlines and ids


def test_a_deadline_ends_the_invocation_and_not_the_runtime() -> None:
    """Its late answer is 410 once and then 400; the slot is free, and all of them are served by the same runtime.

    (RT-MANAGED-6, ER-EXIT-7)
    """
    with bench_of(timeout_s=1.0) as bench, contextlib.ExitStack() as stack:
        late = bench.call("0", request_id="late")
        address = bench.address()
        (slot,) = polling(address, 1, stack)
        slot.event()
        assert error_of(late) == "Sandbox.Timedout"
        assert b"Task timed out after 1.00 seconds" in late.result()[1]
        assert slot.respond() == LATE
        assert slot.respond() == slot.fail() == UNKNOWN
        others = polling(address, 2, stack)
        calls = [bench.call("1", request_id="b"), bench.call("2", request_id="c")]
        for payload, other in told(others, 2).items():
            assert other.respond(payload) == ACCEPTED
        assert [body_of(call) for call in calls] == [b"1", b"2"]
        bench.wait_for("REPORT", 3)
        (report,) = [line for line in bench.lines if line.endswith("Status: timeout")]
        assert report.startswith("REPORT RequestId: late")


def test_a_deadline_ends_an_answer_that_has_begun() -> None:
    """It is refused at once, and its slot is free, although the runtime has said nothing more.

    The caller is told; the same runtime serves as many as before. (RS-END-7, IN-STREAM-16, ER-EXIT-7)
    """
    with bench_of(timeout_s=1.0) as bench, contextlib.ExitStack() as stack:
        hanging = [bench.call(name, request_id=name) for name in "01"]
        address = bench.address()
        slots = [*told(polling(address, 2, stack), 2).values()]
        for slot in slots:
            slot.begin(b"half")
        assert [error_of(call) for call in hanging] == ["Sandbox.Timedout"] * 2
        assert [slot.refusal() for slot in slots] == [LATE] * 2
        others = polling(address, 2, stack)
        calls = [bench.call(name, request_id=name) for name in "23"]
        for payload, other in told(others, 2).items():
            assert other.respond(payload) == ACCEPTED
        assert [body_of(call) for call in calls] == [b"2", b"3"]
        bench.wait_for("REPORT", 4)
        reports = [line for line in bench.lines if line.startswith("REPORT")]
        assert [line.endswith("Status: timeout") for line in reports] == [True, True, False, False]
        assert not bench.lines[-1].startswith("WARN")


def test_an_echo_of_another_attempt_is_late_and_takes_nothing() -> None:
    """A fresh attempt of the same request is another; the right echo is accepted afterwards (RT-MANAGED-7)."""
    with bench_of(timeout_s=1.0) as bench, contextlib.ExitStack() as stack:
        late = bench.call("0", request_id="same")
        address = bench.address()
        (old,) = polling(address, 1, stack)
        old.event()
        assert error_of(late) == "Sandbox.Timedout"
        bench.wait_for("REPORT", 1)
        called = bench.call("1", request_id="same")
        (new,) = polling(address, 1, stack)
        assert new.event() == b"1"
        assert new.invocation_id != old.invocation_id
        assert old.respond(Invocation_Id=old.invocation_id) == LATE
        assert old.fail(Invocation_Id=new.invocation_id.upper()) == LATE
        assert new.respond(b"2", Invocation_Id=new.invocation_id) == ACCEPTED
        assert body_of(called) == b"2"


def test_an_id_that_runs_is_not_handed_out_again() -> None:
    """The second caller of that id is told; the first has his answer (RT-MANAGED-11, ER-TYPE-8)."""
    with bench_of() as bench, contextlib.ExitStack() as stack:
        called = bench.call("0", request_id="same")
        (slot,) = polling(bench.address(), 1, stack)
        slot.event()
        assert error_of(bench.call("1", request_id="same", tail=True)) == "Client.DuplicatedInvokeId"
        assert slot.respond(b"2") == ACCEPTED
        assert body_of(called) == b"2"


# -- runtimes that end


def test_a_runtime_that_dies_fails_all_that_it_ran() -> None:
    """What it has not been told of yet goes to the runtime that replaces it (ER-EXIT-4)."""
    with bench_of(concurrency=3) as bench, contextlib.ExitStack() as stack:
        calls = {name: bench.call(name, request_id=name) for name in "12"}
        slots = polling(bench.address(), 2, stack)
        running = told(slots, 2)
        running[b"1"].begin()
        untold = bench.call("3", request_id="3")
        bench.wait_for("START RequestId: 3", 1)
        bench.end_runtime()
        for slot in running.values():
            slot.close()
        assert [error_of(call) for call in calls.values()] == ["Runtime.ExitError"] * 2
        (fresh,) = polling(bench.address(), 1, stack)
        assert fresh.event() == b"3"
        assert fresh.respond(b"3") == ACCEPTED
        assert body_of(untold) == b"3"


def test_all_wait_for_one_start() -> None:
    """Whoever comes while a runtime starts waits for it; when it cannot start, the next of them starts another.

    (ER-DOC-3)
    """
    with bench_of(concurrency=3) as bench, contextlib.ExitStack() as stack:
        calls = [bench.call(name, request_id=name) for name in "123"]
        with Slot(bench.address()) as slot:
            assert slot.report("init/error", b'{"errorType":"Mine"}') == ACCEPTED
            bench.end_runtime()
        slots = polling(bench.address(), 2, stack)
        for one in told(slots, 2).values():
            assert one.respond() == ACCEPTED
        answers = sorted(call.result(PATIENCE_S)[1] for call in calls)
        assert answers == [b"1", b"1", b'{"errorType":"Mine"}']


def test_an_init_error_after_the_first_poll_is_taken_once() -> None:
    """The environment keeps working (emulator, observed)."""
    with bench_of() as bench, contextlib.ExitStack() as stack:
        called = bench.call("0")
        (slot,) = polling(bench.address(), 1, stack)
        slot.event()
        assert slot.report("init/error", b"{}") == ACCEPTED
        assert slot.report("init/error", b"{}") == (403, "InvalidStateTransition")
        assert slot.respond(b"1") == ACCEPTED
        assert body_of(called) == b"1"


def test_callers_who_wait_are_told_when_it_stops() -> None:
    """Those who run, those whose poll has not come, and those without a slot."""
    with contextlib.ExitStack() as stack:
        with bench_of() as bench:
            calls = [bench.call(request_id=name) for name in "123"]
            (slot,) = polling(bench.address(), 1, stack)
            slot.event()
            bench.wait_for("START", 2)
        assert [error_of(call) for call in calls] == ["Sandbox.Failure"] * 3


# -- the log


def test_what_a_runtime_writes_goes_to_all_that_runs() -> None:
    """It cannot be told apart. START, END and REPORT lines are each invocation's own."""
    with bench_of() as bench, contextlib.ExitStack() as stack:
        calls = {name: bench.call(name, request_id=name, tail=True) for name in "12"}
        running = told(polling(bench.address(), 2, stack), 2)
        bench.write(b"both\n")
        assert running[b"1"].respond() == ACCEPTED
        logs = {"1": log_of(calls["1"])}
        bench.write(b"one\n")
        assert running[b"2"].respond() == ACCEPTED
        logs["2"] = log_of(calls["2"])
        assert [line.split("\t")[0].split(" Duration")[0] for line in logs["1"]] == [
            "START RequestId: 1 Version: $LATEST",
            "both",
            "END RequestId: 1",
            "REPORT RequestId: 1",
        ]
        assert "one" in logs["2"]
        assert not any("RequestId: 1" in line for line in logs["2"])


def log_of(called: Called) -> list[str]:
    return b64decode(called.result(PATIENCE_S)[0]["x-amz-log-result"]).decode().splitlines()


# -- beside AWS's emulator

LIMIT = 6 * 1024 * 1024 + 100


def out_of_order(slot: Slot, other: Slot, invoke: Invoke) -> Iterator[object]:
    """Say everything that a runtime may say wrongly; yield what it is answered, and what the callers are told."""

    def begin() -> concurrent.futures.Future[str]:
        called = invoke()
        slot.poll().event()
        other.request_id = slot.request_id
        return called

    called = begin()
    yield slot.report("invocation/nobody/response"), slot.respond(), slot.respond(), slot.fail(), called.result()
    called = begin()
    yield slot.respond(Invocation_Id="another"), slot.fail(Invocation_Id="another")
    yield slot.respond(Invocation_Id=slot.invocation_id), called.result()
    called = begin()
    yield slot.respond(Function_Response_Mode="bogus"), slot.respond(), called.result()
    called = begin()
    slot.begin()
    yield other.respond(), other.respond(Invocation_Id="another"), slot.finish(), called.result()
    called = begin()
    slot.begin()
    slot.leave_half()
    yield slot.refusal(), called.result()
    slot.close()
    called = begin()
    yield called.result(), slot.respond(), slot.respond()
    called = begin()
    yield slot.respond(b"x" * (LIMIT + 1)), slot.respond(), called.result()
    called = begin()
    document = b'{"errorType":"Runtime.Mine"}'
    yield slot.fail(document, Function_Error_Type="Runtime.Mine"), slot.fail(), called.result()
    yield slot.report("init/error", b"{}"), slot.report("init/error", b"{}"), slot.report("restore/error")
    called = begin()
    yield slot.respond(), called.result()


def heard_by_us() -> list[object]:
    with bench_of(timeout_s=2.0) as bench, concurrent.futures.ThreadPoolExecutor() as callers:
        bench.call(request_id="first")

        def invoke() -> str:
            headers, body = bench.call(request_id=str(uuid.uuid4())).result(PATIENCE_S)
            return json.loads(body)["errorType"] if headers["x-amz-function-error"] else ""

        address = bench.address()
        with Slot(address).poll() as slot, Slot(address) as other:
            slot.event()
            assert slot.respond() == ACCEPTED
            return list(out_of_order(slot, other, lambda: callers.submit(invoke)))


def heard_by_the_emulator() -> list[object]:
    bootstrap = "#!/bin/sh\nexec sleep 1000\n"
    with (
        running_managed_emulator(bootstrap, timeout_s=2, slots=2) as emulator,
        concurrent.futures.ThreadPoolExecutor() as callers,
        Slot(emulator.runtime_api) as slot,
        Slot(emulator.runtime_api) as other,
    ):
        invoke = lambda: callers.submit(lambda: emulator.invoke(b"{}")[1]["error-type"] or "")  # noqa: E731
        return list(out_of_order(slot, other, invoke))


EXPECTED: list[object] = [
    (UNKNOWN, ACCEPTED, UNKNOWN, UNKNOWN, ""),
    (LATE, LATE),
    (ACCEPTED, ""),
    ((400, "InvalidFunctionResponseMode"), UNKNOWN, "Runtime.InvalidResponseModeHeader"),
    (UNKNOWN, UNKNOWN, ACCEPTED, ""),
    ((400, "TruncatedHTTPRequest"), "Runtime.TruncatedResponse"),
    ("Sandbox.Timedout", LATE, UNKNOWN),
    ((413, "RequestEntityTooLarge"), UNKNOWN, "Function.ResponseSizeTooLarge"),
    (ACCEPTED, UNKNOWN, "Runtime.Mine"),
    (ACCEPTED, (403, "InvalidStateTransition"), (404, "")),
    (ACCEPTED, ""),
]


def test_words_out_of_order_are_answered_as_the_law_says() -> None:
    """And the callers are told what became of their invocations."""
    assert heard_by_us() == EXPECTED


def test_words_out_of_order_are_answered_as_by_the_emulator() -> None:
    """The same list, from AWS's own."""
    assert heard_by_the_emulator() == EXPECTED


# -- real runtimes

APP = """
import os, socket, time

def handler(event, context):
    with open("asked", "a") as asked:
        asked.write(context.aws_request_id + "\\n")
    if event.get("meet"):
        with socket.create_connection(("127.0.0.1", event["meet"])) as meeting:
            meeting.recv(1)
    time.sleep(event.get("sleep", 0))
    told = [os.environ.get("AWS_LAMBDA_MAX_CONCURRENCY"), os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE")]
    return {"question": event["question"], "id": context.aws_request_id, "env": told}
"""

STREAMS = """
import pathlib, socket

def handler(event, context):
    try:
        yield b"first"
        if meet := event.get("queryStringParameters", {}).get("meet"):
            with socket.create_connection(("127.0.0.1", int(meet))) as meeting:
                meeting.recv(1)
        yield b"last"
    except GeneratorExit:
        pathlib.Path("closed").touch()
        raise
"""

THREADS = """
import json, os, socket, sys, threading
from lambda_wire.sync import connect

def slot():
    with connect(os.environ["AWS_LAMBDA_RUNTIME_API"]) as runtime:
        while True:
            invocation = runtime.next_invocation()
            event = json.loads(invocation.payload)
            if event.get("die"):
                os._exit(7)
            response = runtime.stream(invocation, content_type="text/plain")
            response.write(b"half")
            if event.get("meet"):
                with socket.create_connection(("127.0.0.1", event["meet"])) as meeting:
                    meeting.recv(1)
            response.write(json.dumps([event["question"], os.getpid()]).encode())
            response.finish()

for _ in range(int(os.environ["AWS_LAMBDA_MAX_CONCURRENCY"])):
    threading.Thread(target=slot).start()
"""


@contextlib.contextmanager
def meeting_of(count: int) -> Generator[tuple[int, Callable[[], None], Callable[[], None]], None, None]:
    """A place where handlers wait: its port, how to wait until so many are there, and how to let them go."""
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as stack:
        server.settimeout(PATIENCE_S)
        there: list[socket.socket] = []

        def gather() -> None:
            while len(there) < count:
                there.append(stack.enter_context(server.accept()[0]))

        def part() -> None:
            while there:
                there.pop().close()

        yield server.getsockname()[1], gather, part


def ask(local: RunningLocal, question: int, **more: object) -> Any:  # JSON
    payload = json.dumps({"question": question, **more}).encode()
    status, headers, body = local.invoke(payload, {"X-Amzn-RequestId": f"r{question}"})
    assert (status, headers["x-amz-function-error"]) == (200, None), body
    return json.loads(body)


def test_awslambdaric_serves_many_at_once(tmp_path: Path) -> None:
    """It forks a process for each slot. Of 200 invocations none is lost, doubled or crossed, and four run at once."""
    need_module("awslambdaric")
    (tmp_path / "app.py").write_text(APP, encoding="ascii")
    command = ("--", sys.executable, "-m", "awslambdaric", "app.handler")
    dice = random.Random(7)
    naps = [dice.choice((0, 0.001, 0.005, 0.02)) for _ in range(200)]
    env = ["4", "lambda-managed-instances"]
    with (
        running_local(*command, cwd=tmp_path, options=["--concurrency", "4"]) as local,
        concurrent.futures.ThreadPoolExecutor(16) as callers,
        meeting_of(4) as (port, gather, part),
    ):
        meeting = [callers.submit(ask, local, number, meet=port) for number in range(200, 204)]
        gather()
        part()
        asked = [callers.submit(ask, local, number, sleep=nap) for number, nap in enumerate(naps)]
        for number, answer in enumerate(asked + meeting):
            assert answer.result(PATIENCE_S) == {"question": number, "id": f"r{number}", "env": env}
    told = (tmp_path / "asked").read_text(encoding="ascii").split()
    assert sorted(told) == sorted(f"r{number}" for number in range(204))
    for word in ("START", "END", "REPORT"):
        assert sum(line.startswith(f"{word} RequestId: r") for line in local.output.splitlines()) == 204


def test_a_process_that_dies_fails_all_that_it_ran(tmp_path: Path) -> None:
    """Although their streams have begun; the next invocation finds another process."""
    (tmp_path / "bootstrap.py").write_text(THREADS, encoding="ascii")
    command = ("--", sys.executable, "bootstrap.py")
    with (
        running_local(*command, cwd=tmp_path, options=["--concurrency", "3"]) as local,
        concurrent.futures.ThreadPoolExecutor() as callers,
        meeting_of(2) as (port, gather, _),
    ):
        hanging = [callers.submit(local.invoke, b'{"question": 0, "meet": %d}' % port) for _ in range(2)]
        gather()
        dying = callers.submit(local.invoke, b'{"die": true}')
        for called in [*hanging, dying]:
            _, headers, body = called.result(PATIENCE_S)
            said = json.loads(body)
            assert (headers["x-amz-function-error"], said["errorType"]) == ("Unhandled", "Runtime.ExitError")
            assert said["errorMessage"].endswith("Error: Runtime exited with error: exit status 7")
        _, headers, body = local.invoke(b'{"question": 9}')
        assert (headers["x-amz-function-error"], body[:7]) == (None, b"half[9,")


def test_our_own_runtime_is_served_too(tmp_path: Path) -> None:
    """However many of the slots it uses."""
    (tmp_path / "app.py").write_text(APP, encoding="ascii")
    with (
        running_local("app.handler", cwd=tmp_path, options=["--concurrency", "2", "--environments", "2"]) as local,
        concurrent.futures.ThreadPoolExecutor() as callers,
    ):
        answers = [answer.result(PATIENCE_S) for answer in [callers.submit(ask, local, number) for number in range(12)]]
        assert [(answer["question"], answer["id"]) for answer in answers] == [(n, f"r{n}") for n in range(12)]


def test_a_handler_that_streams_for_too_long_is_told_and_its_slot_polls_on(tmp_path: Path) -> None:
    """Its caller is cut meanwhile; another's stream, in the same process, goes on (RS-END-7, FU-BODY-9)."""
    (tmp_path / "app.py").write_text(STREAMS, encoding="ascii")
    with (
        running_local("app.handler", cwd=tmp_path, options=["--concurrency", "2", "--timeout", "2"]) as local,
        meeting_of(1) as (port, gather, part),
    ):
        with pytest.raises(http.client.IncompleteRead) as cut:
            local.request("GET", f"/?meet={port}")
        assert cut.value.partial == b"first"
        gather()
        assert local.request("GET", "/")[2] == b"firstlast"
        part()
        local.wait_for("410 InvokeTimeout")
        with concurrent.futures.ThreadPoolExecutor() as callers, meeting_of(2) as (there, both, go):
            calls = [callers.submit(local.request, "GET", f"/?meet={there}") for _ in range(2)]
            both()
            go()
            assert [call.result(PATIENCE_S)[2] for call in calls] == [b"firstlast"] * 2
        assert (tmp_path / "closed").exists()
        assert local.output.count("Status: timeout") == 1


def test_the_environment_of_a_child() -> None:
    """It is told of its slots, whatever we were told; without slots, of none (RT-MANAGED-1)."""
    inherited = {"AWS_LAMBDA_MAX_CONCURRENCY": "9", "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
    found = child_environment(inherited, address="a:1", handler="h", task_root="/", concurrency=3)
    assert found["AWS_LAMBDA_MAX_CONCURRENCY"] == "3"
    assert found["AWS_LAMBDA_INITIALIZATION_TYPE"] == "lambda-managed-instances"
    found = child_environment(inherited, address="a:1", handler="h", task_root="/")
    assert "AWS_LAMBDA_MAX_CONCURRENCY" not in found
    assert found["AWS_LAMBDA_INITIALIZATION_TYPE"] == "on-demand"


def test_no_slot_is_no_lambda() -> None:
    """It is refused before anything is started."""

    async def launch(address: str, hear: Callable[[bytes], None]) -> Worker:
        raise AssertionError(address)

    with pytest.raises(ValueError, match="expected a concurrency of 1 or more, got 0"):
        EmbeddedLambda(launch, report=Report(print), concurrency=0)
