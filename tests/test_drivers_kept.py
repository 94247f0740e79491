"""A service that closes after each answer and says so nowhere, by every driver: what it closed is not posted to."""

from __future__ import annotations

import select
import socket
from typing import Final

import pytest

from lambda_wire._events import Accepted
from lambda_wire._facade import Runtime
from tests.driver_parts import Driver, on_every_driver, wire_of
from tests.driver_services import service
from tests.running_local import PATIENCE_S
from tests.test_gates import ACCEPTED, ROOM, StoppedClock, event_of, read_whole

TIMES: Final = 3


def wait_for_the_end(runtime: Runtime) -> None:
    """Wait until the service's end is there to be seen: it has no more to say."""
    assert select.select([wire_of(runtime)], [], [], PATIENCE_S)[0]


@pytest.mark.parametrize("way", ["whole", "stream", "error"])
@on_every_driver
async def test_every_invocation_is_answered_once(driver: Driver, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """RT-RESP-15: by a handler that takes no time, too. Each request has a connection of its own."""
    StoppedClock(monkeypatch)
    asked: list[bytes] = []

    def closes_after_each(listener: socket.socket) -> None:
        room = memoryview(bytearray(ROOM))
        for answer in (event_of(2), ACCEPTED) * TIMES:
            with listener.accept()[0] as wire:
                wire.settimeout(PATIENCE_S)
                asked.append(read_whole(wire, room).split(b" ")[1].rpartition(b"/")[2])
                wire.sendall(answer)

    with service(closes_after_each) as address:
        async with driver.connect(address) as runtime:
            for _ in range(TIMES):
                invocation = await runtime.next_invocation()
                wait_for_the_end(runtime)
                if way == "stream":
                    stream = await runtime.stream(invocation, b"1")
                    assert await stream.finish() == Accepted()
                elif way == "error":
                    report = await runtime.report_error(invocation, error_type="Function.X", payload=b"{}")
                    assert report == Accepted()
                else:
                    assert await runtime.respond(invocation, b"{}") == Accepted()
                wait_for_the_end(runtime)
    assert asked == [b"next", b"error" if way == "error" else b"response"] * TIMES
