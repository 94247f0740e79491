"""The blocking driver where it is not as the others: timeouts, threads, a dial that blocks."""

from __future__ import annotations

import math
import select
import socket
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Final

import pytest

from lambda_wire import _sockets, sync
from lambda_wire._errors import ConnectionLost
from lambda_wire._events import NextAsked, RestoreAsked, RestoreReady
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._sockets import Wire
from lambda_wire._types import BytesLike
from lambda_wire._wants import Read
from tests.driver_services import INVOCATION, accept, assert_nobody_dials, service
from tests.running_local import PATIENCE_S
from tests.test_drivers_cancelled import black_hole

#: Timeouts that no system can count in 32 bits of milliseconds, nor a clock in any number.
EVER: Final = (3e6, sys.float_info.max, math.inf, pytest.param(10**400, id="1e400"))


def test_a_poll_that_timed_out_is_resumed() -> None:
    """``timeout`` gives the caller back its thread; the poll stays open and is not asked again."""
    ready = threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            assert held.hear() == NextAsked()
            assert ready.wait(PATIENCE_S)
            held.say(INVOCATION)
            assert held.wire.recv(65_536) == b""

    with service(script) as address, sync.connect(address) as runtime:
        with pytest.raises(TimeoutError):
            runtime.next_invocation(timeout=0.01)
        ready.set()
        assert runtime.next_invocation(timeout=PATIENCE_S) == INVOCATION


def test_a_poll_without_a_timeout_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the driver nor its socket has a limit of its own (RT-NEXT-2)."""
    limits: list[object] = []
    receive = Wire._receive

    def noting(wire: Wire, want: Read, deadline: float | None) -> BytesLike:
        assert wire._socket is not None
        limits.append((deadline, wire._socket.gettimeout()))
        return receive(wire, want, deadline)

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            assert held.hear() == NextAsked()
            held.say(INVOCATION)
            assert held.wire.recv(65_536) == b""

    monkeypatch.setattr(Wire, "_receive", noting)
    with service(script) as address, sync.connect(address) as runtime:
        assert runtime.next_invocation() == INVOCATION
    assert set(limits) == {(None, None)}


def test_a_restore_poll_that_timed_out_is_resumed() -> None:
    """As a poll for an invocation is."""
    ready = threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := accept(listener, StandardLifecycle(snap_start=True))).wire:
            assert held.hear() == RestoreAsked()
            assert ready.wait(PATIENCE_S)
            held.say(RestoreReady())
            assert held.wire.recv(65_536) == b""

    with service(script) as address, sync.connect(address) as runtime:
        with pytest.raises(TimeoutError):
            runtime.next_restore(timeout=0.01)
        ready.set()
        runtime.next_restore(timeout=PATIENCE_S)


@pytest.mark.parametrize("timeout", EVER)
def test_a_timeout_may_be_as_long_as_it_likes(timeout: float) -> None:
    """Also longer than the system waits at once: nothing is asked in vain."""

    def script(listener: socket.socket) -> None:
        with (held := accept(listener, StandardLifecycle(snap_start=True))).wire:
            assert held.hear() == RestoreAsked()
            held.say(RestoreReady())
            assert held.hear() == NextAsked()
            held.say(INVOCATION)
            assert held.wire.recv(65_536) == b""

    with service(script) as address, sync.connect(address) as runtime:
        runtime.next_restore(timeout=timeout)
        assert runtime.next_invocation(timeout=timeout) == INVOCATION


def test_a_long_timeout_is_waited_for_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the service speaks, or the last piece is over."""
    waited, timed_out = threading.Semaphore(0), threading.Event()

    def noting() -> object:
        polling = select.poll()

        def poll(limit_ms: int) -> list[tuple[int, int]]:
            assert 0 <= limit_ms <= 1
            waited.release()
            return polling.poll(limit_ms)

        return SimpleNamespace(register=polling.register, poll=poll)

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            assert held.hear() == NextAsked()
            assert timed_out.wait(PATIENCE_S)
            for _ in range(20):
                assert waited.acquire(timeout=PATIENCE_S)
            held.say(INVOCATION)
            assert held.wire.recv(65_536) == b""

    monkeypatch.setattr(_sockets, "_LONGEST_WAIT_MS", 1)
    monkeypatch.setattr(_sockets, "select", SimpleNamespace(poll=noting, POLLIN=select.POLLIN, POLLOUT=select.POLLOUT))
    with service(script) as address, sync.connect(address) as runtime:
        with pytest.raises(TimeoutError):
            runtime.next_invocation(timeout=0.003)
        timed_out.set()
        assert runtime.next_invocation(timeout=PATIENCE_S) == INVOCATION


def test_a_timeout_that_is_no_number_is_refused() -> None:
    """Before anything is sent; the runtime can be used afterwards. One that has passed is a timeout."""
    ready = threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            assert held.hear() == NextAsked()
            assert ready.wait(PATIENCE_S)
            held.say(INVOCATION)
            assert held.wire.recv(65_536) == b""
        assert_nobody_dials(listener)

    with service(script) as address, sync.connect(address) as runtime:
        for poll in (runtime.next_invocation, runtime.next_restore):
            with pytest.raises(ValueError, match="expected a timeout in seconds, got nan"):
                poll(timeout=math.nan)
        for passed in (-math.inf, -(10**400), -1.0, 0):
            with pytest.raises(TimeoutError):
                runtime.next_invocation(timeout=passed)
        ready.set()
        assert runtime.next_invocation(timeout=PATIENCE_S) == INVOCATION


def test_closing_wakes_a_poll_that_has_a_timeout() -> None:
    """From another thread, long before it has passed, and with the reason; after that, closing comes before time."""
    polled = threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            held.hear()
            polled.set()
            assert held.wire.recv(1) == b""
        assert_nobody_dials(listener)

    with service(script) as address, sync.connect(address) as runtime:

        def close() -> None:
            assert polled.wait(PATIENCE_S)
            runtime.close()

        closing = threading.Thread(target=close)
        closing.start()
        for timeout in (60.0, 0.0):
            with pytest.raises(ConnectionLost, match="this runtime was closed"):
                runtime.next_invocation(timeout=timeout)
        closing.join(PATIENCE_S)


def test_a_dial_that_was_under_way_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent on what it made, which is closed."""
    made: list[socket.socket] = []
    dial = socket.socket.connect_ex

    def dial_slowly(wire: socket.socket, address: tuple[str, int]) -> int:
        made.append(wire)
        code = dial(wire, address)
        runtime.close()
        return code

    with socket.create_server(("127.0.0.1", 0)) as listener:
        runtime = sync.connect(f"127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setattr(socket.socket, "connect_ex", dial_slowly)
        with pytest.raises(ConnectionLost, match="this runtime was closed"):
            runtime.next_invocation()
        with listener.accept()[0] as wire:
            assert wire.recv(1) == b""
    assert made[0].fileno() == -1


@pytest.mark.parametrize("end", [sync.Runtime.close, sync.Runtime.stop_polling])
def test_a_dial_that_begins_meanwhile_does_not_wait(
    end: Callable[[sync.Runtime], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever ends it just before it is under way could not wake it."""
    dial = socket.socket.connect_ex

    def dial_late(wire: socket.socket, address: tuple[str, int]) -> int:
        end(runtime)
        return dial(wire, address)

    def never(*_: object) -> int:
        raise AssertionError("it waits")

    with black_hole() as hole, sync.connect(hole) as runtime:
        monkeypatch.setattr(socket.socket, "connect_ex", dial_late)
        monkeypatch.setattr(runtime._wire, "_wait", never)
        with pytest.raises(ConnectionLost, match=r"closed|told to poll no more"):
            runtime.next_invocation()
        assert runtime._wire._socket is None


def test_a_second_caller_of_a_closed_runtime_is_told_that() -> None:
    """Also while the first has not come back yet: it is not worth waiting for it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        runtime = sync.connect(f"127.0.0.1:{listener.getsockname()[1]}")
        with runtime._wire._in_use:
            runtime.close()
            with pytest.raises(ConnectionLost, match="this runtime was closed"):
                runtime.next_invocation()
