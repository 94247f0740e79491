"""``examples/selectors_driver.py``: the exchanges are enough to write a driver, with nothing that is not public."""

from __future__ import annotations

import ast
import concurrent.futures
import http.client
import json
import os
import runpy
import select
import selectors
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any, TypeVar

import pytest

from lambda_wire import (
    Accepted,
    BufferedResponse,
    ConnectionLost,
    ErrorReported,
    Invocation,
    NextAsked,
    Refused,
    ResponseChunk,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    Signal,
    decode_error,
)
from lambda_wire.exchanges import Dial, Exchange, Hangup, Read, Write
from lambda_wire.sync import connect_caller
from tests.aws_sdk import lambda_client, whole
from tests.driver_services import REFUSED, RESET, Script, Service, accept, assert_nobody_dials, nobody, service
from tests.real_parts import running_emulator, running_managed_emulator
from tests.running_local import PATIENCE_S, ROOT, RunningLocal, running_local

T = TypeVar("T")

EXAMPLE = ROOT / "examples" / "selectors_driver.py"
SLOTS = 4
MEGABYTE = 1024 * 1024
#: More than all buffers between the example and a caller hold.
LONG = {"words": ["x" * 5 * MEGABYTE], "times": 13}
#: Why a slot of the scripts below ends.
ENOUGH = Refused(status=500, error_type="InternalServerError", error_message="enough")


# -- in the embedded Lambda, for real callers


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLocal]:
    """One process for all: nothing that one test does disturbs the next."""
    strict = {"PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error"}
    options = ["--concurrency", str(SLOTS)]
    directory = tmp_path_factory.mktemp("selectors")
    with running_local("--", sys.executable, str(EXAMPLE), cwd=directory, env=strict, options=options) as running:
        yield running
    assert "Traceback" not in running.output
    assert "a slot has ended" not in running.output


@pytest.fixture
def aws(local: RunningLocal) -> Iterator[Any]:
    with lambda_client(f"http://127.0.0.1:{local.port}") as client:
        yield client


def invoke(local: RunningLocal, event: object) -> tuple[str | None, Any]:
    """Return what kind of failure there was, and the answer."""
    status, headers, body = local.invoke(json.dumps(event).encode())
    assert status == 200
    return headers["x-amz-function-error"], json.loads(body)


def test_each_answer_carries_its_question(local: RunningLocal) -> None:
    """More callers than slots, many calls: none is lost, doubled or crossed."""
    with concurrent.futures.ThreadPoolExecutor(2 * SLOTS) as callers:
        asked = [callers.submit(invoke, local, {"question": n}) for n in range(200)]
        assert [answer.result(PATIENCE_S) for answer in asked] == [(None, {"question": n}) for n in range(200)]


def test_it_answers_its_url(local: RunningLocal) -> None:
    """As ``curl`` asks, which is what its user tries first."""
    connection = http.client.HTTPConnection("127.0.0.1", local.port, timeout=PATIENCE_S)
    with closing(connection):
        connection.request("GET", "/a/b")
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())) == (200, {"question": "/a/b"})


def test_slots_whose_writes_wait_hold_nobody_up(local: RunningLocal) -> None:
    """All slots but one are full of a stream that nobody reads, and the last serves on; then every stream is whole."""
    with ExitStack() as stack:
        callers = [stack.enter_context(connect_caller(f"http://127.0.0.1:{local.port}")) for _ in range(SLOTS - 1)]
        held = [caller.invoke_with_response_stream("f", json.dumps(LONG).encode()) for caller in callers]
        for n in range(20):
            assert invoke(local, {"question": n}) == (None, {"question": n})
        assert [sum(map(len, answer)) for answer in held] == [65 * MEGABYTE] * len(held)


def test_the_sdk_streams_from_all_slots(aws: Any) -> None:
    """Each word a chunk, from as many streams at once as there are slots."""

    def ask(n: int) -> tuple[list[bytes], dict[str, str]]:
        words = [f"{n}-{word}" for word in range(20)]
        return whole(aws.invoke_with_response_stream(FunctionName="f", Payload=json.dumps({"words": words}).encode()))

    with concurrent.futures.ThreadPoolExecutor(SLOTS) as callers:
        for n, (chunks, complete) in enumerate(callers.map(ask, range(40), timeout=PATIENCE_S)):
            assert b"".join(chunks) == b"".join(b"%d-%d" % (n, word) for word in range(20))
            assert "ErrorCode" not in complete


@pytest.mark.parametrize("event", [{}, {"words": [7]}, 7])
def test_an_error_of_the_handler_is_reported(local: RunningLocal, event: object) -> None:
    """Before the first byte: the caller is told which, and the slot goes on."""
    for _ in range(SLOTS + 1):
        failed, document = invoke(local, event)
        assert failed == "Unhandled"
        assert document["errorType"] in ("KeyError", "AttributeError", "TypeError")


def test_an_error_amid_a_stream_is_in_its_trailers(aws: Any) -> None:
    """After what was yielded before it."""
    payload = json.dumps({"words": ["first", 7]}).encode()
    for _ in range(SLOTS + 1):
        chunks, complete = whole(aws.invoke_with_response_stream(FunctionName="f", Payload=payload))
        assert chunks == [b"first"]
        assert complete["ErrorCode"] == "AttributeError"
        assert "'int' object has no attribute 'encode'" in complete["ErrorDetails"]


def test_a_stream_of_nothing_ends(local: RunningLocal) -> None:
    """An empty piece is no end of chunks, and none at all is a stream all the same."""
    for words in ([], [""], ["", "a", ""]):
        assert local.invoke(json.dumps({"words": words}).encode())[2] == "".join(words).encode()


# -- in AWS's emulator


def test_managed_instances_of_the_emulator() -> None:
    """As many slots as it says, all at once; it reads the trailers too."""
    bootstrap = f"#!/bin/sh\nexec {sys.executable} {EXAMPLE}\n"
    with (
        running_managed_emulator(bootstrap, slots=SLOTS) as emulator,
        concurrent.futures.ThreadPoolExecutor(SLOTS) as callers,
    ):
        events = [json.dumps({"question": n}).encode() for n in range(40)]
        for n, (status, _, body) in enumerate(callers.map(emulator.invoke, events, timeout=PATIENCE_S)):
            assert (status, json.loads(body)) == (200, {"question": n})
        assert emulator.invoke(b'{"words": ["a", "b"]}')[2] == b"ab"
        assert decode_error(emulator.invoke(b'{"words": [7]}')[2]).error_type == "AttributeError"
        # It tells its caller of no type but AWS's own; without the trailers it would tell of none at all.
        assert emulator.invoke(b'{"words": ["a"]}')[1]["error-type"] is None
        assert emulator.invoke(b'{"words": ["a", 7]}')[1]["error-type"] == "Runtime.Unknown"


def test_the_emulator_with_one_slot() -> None:
    """Standard mode: the number of slots is an argument, and one when nobody says."""
    for arguments in ([], ["1"]):
        with running_emulator([sys.executable, str(EXAMPLE), *arguments]) as emulator:
            assert json.loads(emulator.invoke(b'{"question": 1}')[2]) == {"question": 1}
            assert emulator.invoke(b'{"words": ["a", "b"]}')[2] == b"ab"
            assert decode_error(emulator.invoke(b"{}")[2]).error_type == "KeyError"


# -- with services that go away


def said_of(script: Script, *arguments: str) -> str:
    """Run the example with a service that does as the script says; it must end by itself. Return what it said."""
    with service(script) as address:
        return said_at(address, *arguments)


def said_at(address: str, *arguments: str) -> str:
    command = [sys.executable, "-X", "dev", "-W", "error", str(EXAMPLE), *arguments]
    environment = {**os.environ, "AWS_LAMBDA_RUNTIME_API": address, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        command, env=environment, stderr=subprocess.PIPE, text=True, check=False, timeout=PATIENCE_S, cwd=ROOT
    )
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert "ResourceWarning" not in run.stderr
    *said, last = run.stderr.splitlines()
    assert last == "no slot is left"
    return "\n".join(said)


def invoked(listener: socket.socket, event: object) -> Service:
    """Accept a connection and answer its poll."""
    held = accept(listener)
    assert held.hear() == NextAsked()
    held.say(Invocation(request_id="id-1", payload=json.dumps(event).encode()))
    return held


def end_slot(listener: socket.socket) -> None:
    """Refuse the poll on the next connection: the slot has nothing else to do."""
    with (held := accept(listener)).wire:
        assert held.hear() == NextAsked()
        held.say(ENOUGH)


def test_a_service_that_closes_kept_connections() -> None:
    """After each answer: the next poll is on a new connection, and nothing is lost."""

    def script(listener: socket.socket) -> None:
        for n in range(3):
            with (held := invoked(listener, {"question": n})).wire:
                assert held.hear() == BufferedResponse(request_id="id-1", payload=b'{"question": %d}' % n)
                held.say(Accepted())
        end_slot(listener)
        assert_nobody_dials(listener)

    said = said_of(script)
    assert said.startswith("a slot has ended: the service refused: ")
    assert said.count("\n") == 0


@pytest.mark.parametrize("reset", [False, True])
def test_a_service_that_closes_instead_of_taking_an_answer(reset: bool) -> None:
    """Its fate is unknown: that is said, and the slot polls on."""

    def script(listener: socket.socket) -> None:
        for event in ({"question": 1}, {"words": ["x" * MEGABYTE], "times": 50}):
            with (held := invoked(listener, event)).wire:
                assert isinstance(held.hear(), BufferedResponse | ResponseStarted)
                if reset:
                    held.wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        end_slot(listener)

    lost, cut, _ = said_of(script).splitlines()
    assert lost.startswith("the answer to id-1 was not accepted: the service closed the connection without an answer")
    assert cut.startswith(
        "the answer to id-1 was not accepted: the service closed the connection before the streamed response"
    )


@pytest.mark.parametrize("kind", ["question", "words"])
def test_a_refusal_is_heard_while_the_write_waits(kind: str) -> None:
    """From a service that reads no further and does not close either."""
    huge = "x" * 50 * MEGABYTE

    def script(listener: socket.socket) -> None:
        with (held := invoked(listener, {kind: huge if kind == "question" else [huge]})).wire:
            held.connection.receive_data(held.wire.recv(65_536))
            assert isinstance(held.connection.next_event(), Signal if kind == "question" else ResponseStarted)
            held.say(REFUSED)
            end_slot(listener)

    refused, _ = said_of(script).splitlines()
    assert refused.startswith("the answer to id-1 was not accepted: ")
    assert "RequestEntityTooLarge" in refused


def test_a_slot_ends_alone() -> None:
    """One poll is refused, and the other slot serves on."""

    def script(listener: socket.socket) -> None:
        with (held := invoked(listener, {"words": ["a", "b"]})).wire:
            end_slot(listener)
            assert [held.hear() for _ in range(4)] == [
                ResponseStarted(request_id="id-1"),
                ResponseChunk(data=b"a"),
                ResponseChunk(data=b"b"),
                ResponseFinished(),
            ]
            held.say(Accepted())
            assert held.hear() == NextAsked()
            held.say(ENOUGH)

    assert said_of(script, "2").count("a slot has ended") == 2


def test_errors_on_the_wire() -> None:
    """``/error`` before the first byte, trailers after it."""

    def script(listener: socket.socket) -> None:
        with (held := invoked(listener, {})).wire:
            report = held.hear()
            assert isinstance(report, ErrorReported)
            assert (report.error_type, decode_error(report.payload).error_message) == ("KeyError", "'question'")
            held.say(Accepted())
            assert held.hear() == NextAsked()
            held.say(Invocation(request_id="id-2", payload=b'{"words": ["a", 7]}'))
            assert [held.hear(), held.hear()] == [ResponseStarted(request_id="id-2"), ResponseChunk(data=b"a")]
            end = held.hear()
            assert isinstance(end, ResponseFailed)
            assert decode_error(end.error_body).error_type == end.error_type == "AttributeError"
            held.say(Accepted())
            assert held.hear() == NextAsked()
            held.say(ENOUGH)

    assert said_of(script).count("\n") == 0


def test_a_service_that_is_not_there() -> None:
    """Every slot says so, and the program ends."""
    with nobody() as address:
        said = said_at(address, "3").splitlines()
    assert len(said) == 3
    assert all(line.startswith("a slot has ended: ") and "refused" in line.lower() for line in said)


# -- want by want


def hold(exchange: Exchange[T], *addresses: str) -> T:
    """Hold a conversation by the example's driver alone, and wait as it says."""
    made = runpy.run_path(str(EXAMPLE))["Wire"]
    wires = [made(address) for address in addresses]
    for other in wires[1:]:
        other.socket.close()
        wires[0].addresses += other.addresses
    holding = wires[0].hold(exchange)
    while True:
        try:
            waiting, events = next(holding)
        except StopIteration as done:
            assert wires[0].socket.fileno() == -1
            result: T = done.value
            return result
        readable = [waiting] if events & selectors.EVENT_READ else []
        writable = [waiting] if events & selectors.EVENT_WRITE else []
        assert any(select.select(readable, writable, [], PATIENCE_S))


def address_of(listener: socket.socket) -> str:
    return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(PATIENCE_S)
        yield made


def test_every_address_is_dialled(listener: socket.socket) -> None:
    """A name may stand for several: the first that takes us is used, without Nagle's delay."""

    def exchange() -> Exchange[bytes]:
        assert (yield Hangup()) == b""
        assert (yield Dial()) == b""
        with listener.accept()[0] as peer:
            peer.sendall(b"hello")
            return bytes((yield Read(max_bytes=4))) + bytes((yield Read(max_bytes=4)))

    with nobody() as nowhere:
        assert hold(exchange(), nowhere, address_of(listener)) == b"hello"


def test_a_dial_that_fails_sent_nothing() -> None:
    """The conversation is told so, and may dial again."""

    def exchange() -> Exchange[list[bool]]:
        told: list[bool] = []
        for _ in range(2):
            with pytest.raises(ConnectionLost) as caught:
                yield Dial()
            told.append(caught.value.nothing_sent)
        return told

    with nobody() as nowhere:
        assert hold(exchange(), nowhere) == [True, True]


def test_all_is_written_in_order(listener: socket.socket) -> None:
    """More buffers than a system call takes, more bytes than a socket does, and each once."""
    buffers = [bytes([n % 251]) * (1 + n * 997 % 40_000) for n in range(2000)]
    received: list[bytes] = []

    def receive() -> None:
        with listener.accept()[0] as peer:
            peer.settimeout(PATIENCE_S)
            while data := peer.recv(1 << 20):
                received.append(data)

    def exchange() -> Exchange[bool]:
        yield Dial()
        write = Write(buffers, look_first=True)
        assert (yield write) == b""
        yield Hangup()
        return not write.done

    thread = threading.Thread(target=receive)
    thread.start()
    assert not hold(exchange(), address_of(listener))
    thread.join(PATIENCE_S)
    assert b"".join(received) == b"".join(buffers)


def test_who_looks_first_hears_first(listener: socket.socket) -> None:
    """What is there is the answer, and nothing was written; nobody waits where nothing is."""

    def exchange() -> Exchange[bytes]:
        yield Dial()
        with listener.accept()[0] as peer:
            assert (yield Write(look_first=True)) == b""
            peer.sendall(b".early")
            assert (yield Read(max_bytes=1)) == b"."  # so the rest has arrived too
            write = Write([b"question"], look_first=True)
            heard = yield write
            assert write.next_buffers(9) == [b"question"]
            assert (yield write) == b""
            assert peer.recv(65_536) == b"question"
            return bytes(heard)

    assert hold(exchange(), address_of(listener)) == b"early"


def test_an_end_is_told_apart(listener: socket.socket) -> None:
    """To a read it is ``b""``; to who looks, and to who reads after a reset, ``ConnectionLost``."""

    def exchange() -> Exchange[None]:
        yield Dial()
        listener.accept()[0].close()
        assert (yield Read()) == b""
        with pytest.raises(ConnectionLost, match="closed the connection") as caught:
            yield Write(look_first=True)
        assert not caught.value.nothing_sent
        yield Hangup()
        yield Dial()
        with listener.accept()[0] as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        with pytest.raises(ConnectionLost):
            yield Read()

    hold(exchange(), address_of(listener))


def test_a_hangup_is_heard(listener: socket.socket) -> None:
    """At once; and once more is as good."""

    def exchange() -> Exchange[bytes]:
        yield Dial()
        with listener.accept()[0] as peer:
            peer.settimeout(PATIENCE_S)
            yield Hangup()
            yield Hangup()
            return peer.recv(1)

    assert hold(exchange(), address_of(listener)) == b""


def test_what_comes_after_half_a_hangup_is_read(listener: socket.socket) -> None:
    """The service hears that no more comes, and has the last word; once more is as good, also after its end."""

    def exchange() -> Exchange[bytes]:
        yield Dial()
        with listener.accept()[0] as peer:
            peer.settimeout(PATIENCE_S)
            yield Hangup(half=True)
            assert peer.recv(1) == b""
            peer.sendall(b"last")
        heard = bytes((yield Read()))
        assert (yield Read()) == b""
        yield Hangup(half=True)
        yield Hangup()
        return heard

    assert hold(exchange(), address_of(listener)) == b"last"


# -- by its text


def test_it_needs_nothing_that_is_not_public() -> None:
    """Of this package it imports the front door and the exchanges, and uses no name with an underscore."""
    tree = ast.parse(EXAMPLE.read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    ours = {name for name in imported if name.startswith("lambda_wire")}
    assert ours == {"lambda_wire", "lambda_wire.exchanges"}
    assert not imported & {"threading", "asyncio", "concurrent.futures", "trio"}
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert {name for name in used if name.startswith("_")} == {"__name__"}
