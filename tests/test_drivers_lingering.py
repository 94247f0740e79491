"""A report that was cut on our side: the next poll waits, in every driver, until the service has ended it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lambda_wire import sync
from lambda_wire._errors import ConnectionLost, LocalProtocolError, RemoteProtocolError
from lambda_wire._events import Accepted, BufferedResponse, NextAsked, ResponseChunk, ResponseStarted
from lambda_wire._facade import Runtime
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._state import State
from tests.driver_parts import Driver, is_hung_up, on_every_driver
from tests.driver_services import HUGE, INVOCATION, Service, accept, assert_nobody_dials, runtime_of, service
from tests.running_local import PATIENCE_S, running_local
from tests.test_drivers_stop_polling import begin_poll


class Cut(BaseException):
    """What a signal handler raises, or a loop that cancels."""


async def cut_a_write(driver: Driver, runtime: Runtime, way: str) -> None:
    """Take an invocation, and cut the writing of its answer where it has to wait."""
    invocation = await runtime.next_invocation()
    cuts = [Cut()]

    def cut() -> None:
        if cuts:
            raise cuts.pop()

    driver.on_blocked_write(runtime, cut)
    with pytest.raises(Cut):
        await (runtime.stream if way == "stream" else runtime.respond)(invocation, bytes(HUGE))


def hand_out(listener: socket.socket, environment: StandardLifecycle) -> Service:
    """Take a connection and answer the poll on it."""
    held = accept(listener, environment)
    assert held.hear() == NextAsked()
    held.say(INVOCATION)
    return held


def read_on(held: Service) -> None:
    while isinstance(held.hear(), (ResponseStarted, ResponseChunk)):
        pass


def read_out(held: Service, listener: socket.socket) -> None:
    """Read what breaks off, to its end; up to there nobody else may come. Then refuse it, and close."""
    with pytest.raises(RemoteProtocolError, match="ended") as caught:
        read_on(held)
    assert_nobody_dials(listener)
    listener.settimeout(PATIENCE_S)
    assert caught.value.reply is not None
    held.say(caught.value.reply)
    held.wire.close()


@pytest.mark.parametrize("way", ["stream", "whole"])
@pytest.mark.parametrize("cuts", [0, 2])
@on_every_driver
async def test_a_poll_waits_for_the_end_of_a_report_that_was_cut(driver: Driver, way: str, cuts: int) -> None:
    """A poll that is cut meanwhile is resumed by the next: one invocation follows the other (RT-RESP-12)."""
    environment, go = StandardLifecycle(), threading.Event()

    def script(listener: socket.socket) -> None:
        held = hand_out(listener, environment)
        assert go.wait(PATIENCE_S)
        read_out(held, listener)
        assert environment.state is State.RESPONSE_SENT
        with hand_out(listener, environment).wire:
            pass

    async with runtime_of(driver, script) as runtime:
        await cut_a_write(driver, runtime, way)
        with pytest.raises(LocalProtocolError):  # an answer has begun, and waits for nobody
            await runtime.report_error(INVOCATION, error_type="Function.X", payload=b"{}")
        for _ in range(cuts):
            await begin_poll(driver, runtime, runtime.next_invocation)
        go.set()
        assert await runtime.next_invocation() == INVOCATION


@pytest.mark.parametrize("way", ["stop", "close"])
@on_every_driver
async def test_a_poll_that_waits_for_that_is_woken(driver: Driver, way: str) -> None:
    """It is told why, and dials no more."""
    environment, waits, ended = StandardLifecycle(), threading.Event(), threading.Event()

    def script(listener: socket.socket) -> None:
        with hand_out(listener, environment).wire:
            assert ended.wait(PATIENCE_S)
        assert_nobody_dials(listener)

    async with runtime_of(driver, script) as runtime:
        await cut_a_write(driver, runtime, "stream")
        wire: Any = runtime._wire
        hang_up = wire._hang_up

        def noting(*, half: bool = False) -> None:
            hang_up(half=half)
            waits.set()

        wire._hang_up = noting

        async def first() -> None:
            with pytest.raises(ConnectionLost, match="poll no more" if way == "stop" else "was closed"):
                await runtime.next_invocation()

        async def second() -> None:
            await driver.wait(waits.wait)
            await (runtime.stop_polling() if way == "stop" else runtime.close())

        await driver.at_once(first, second)
        await runtime.close()
        ended.set()


# -- a signal handler that raises


def interrupted(runtime: sync.Runtime, act: Callable[[], object]) -> None:
    """Do it; a signal handler raises while an answer is waited for."""
    wire: Any = runtime._wire
    receive = wire._receive

    def raising(*_: object) -> None:
        wire._receive = receive
        raise Cut

    wire._receive = raising
    with pytest.raises(Cut):
        act()


def test_a_report_whose_answer_was_not_heard_is_over_at_its_end() -> None:
    """The service hears at once that nobody waits; a poll still comes after its answer (RT-RESP-12)."""
    environment, go = StandardLifecycle(), threading.Event()

    def script(listener: socket.socket) -> None:
        held = hand_out(listener, environment)
        assert isinstance(held.hear(), BufferedResponse)
        assert held.wire.recv(1) == b""
        assert go.wait(PATIENCE_S)
        assert_nobody_dials(listener)
        listener.settimeout(PATIENCE_S)
        held.say(Accepted())
        held.wire.close()
        with hand_out(listener, environment).wire:
            pass

    with service(script) as address, sync.connect(address) as runtime:
        invocation = runtime.next_invocation()
        interrupted(runtime, lambda: runtime.respond(invocation, b"1"))
        with pytest.raises(TimeoutError):
            runtime.next_invocation(timeout=0)
        go.set()
        assert runtime.next_invocation(timeout=PATIENCE_S) == INVOCATION


def test_a_poll_that_a_signal_handler_ends_is_hung_up_on() -> None:
    """At once, and nothing is waited for: a poll holds nothing (RT-NEXT-22)."""
    environment = StandardLifecycle()

    def script(listener: socket.socket) -> None:
        with (held := accept(listener, environment)).wire:
            assert held.hear() == NextAsked()
            assert held.wire.recv(1) == b""
            with hand_out(listener, environment).wire:
                pass

    with service(script) as address, sync.connect(address) as runtime:
        interrupted(runtime, runtime.next_invocation)
        assert is_hung_up(runtime)  # type: ignore[arg-type]  # it has a wire, as the others
        assert runtime.next_invocation() == INVOCATION


HANDLER = """
import os, signal

def late(*_):
    raise TimeoutError("too slow")

def handler(event, context):
    if not event:
        return os.getpid()
    signal.signal(signal.SIGALRM, late)
    with context.response_writer() as response:
        response.write("begun")
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        while True:
            response.write(bytes(65_536))
"""


def test_a_handlers_own_timeout_costs_no_environment(tmp_path: Path) -> None:
    """Its caller does not read while it fires; that one's answer is cut, and the next is served by the same process."""
    (tmp_path / "app.py").write_text(HANDLER, encoding="utf-8")
    with running_local("app.handler", cwd=tmp_path) as running:
        pid = running.invoke(b"{}")[2]
        with sync.connect_caller(f"http://127.0.0.1:{running.port}") as caller:
            answer = caller.invoke_with_response_stream("f", json.dumps({"write": True}).encode())
            assert next(answer).startswith(b"begun")
            running.wait_for("too slow")
            assert sum(map(len, answer)) > 0
            assert answer.complete is not None
            assert answer.complete.error_code == "Runtime.TruncatedResponse"
        assert running.invoke(b"{}")[2] == pid
        assert "InvalidStateTransition" not in running.output
