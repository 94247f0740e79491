"""How a connection is dialled, by every driver: addresses that do not answer, timeouts, signals, names."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lambda_wire import _line, sync
from lambda_wire._errors import ConnectionLost
from lambda_wire._invoke_events import InvokeAnswered
from tests.driver_parts import Driver, is_hung_up, on_every_driver
from tests.driver_services import Peer, assert_nobody_dials, service
from tests.running_local import PATIENCE_S
from tests.test_drivers_cancelled import black_hole

Lead = Callable[..., None]


@pytest.fixture
def lead(monkeypatch: pytest.MonkeyPatch) -> Lead:
    """Says where every name leads."""

    def to(*addresses: str) -> None:
        def found(*_: object, **__: object) -> list[Any]:
            split = [address.rpartition(":") for address in addresses]
            return [(socket.AF_INET, (host, int(port))) for host, _, port in split]

        monkeypatch.setattr(_line, "look_up", found)

    return to


def answer_one(listener: socket.socket) -> None:
    with (held := Peer(listener.accept()[0])).wire:
        held.hear()
        held.say(InvokeAnswered(payload=b"1"))


# -- an address that does not answer


@on_every_driver
async def test_who_does_not_answer_is_given_up(driver: Driver, lead: Lead, monkeypatch: pytest.MonkeyPatch) -> None:
    """In time, as one who refuses; then the next address is tried, and nothing is left open."""
    monkeypatch.setattr(_line, "_CONNECT_TIMEOUT_S", 0.05)
    with black_hole() as hole, service(answer_one) as there:
        async with driver.connect_caller("http://name.test") as caller:
            lead(hole, hole)
            with pytest.raises(
                ConnectionLost, match=r"nothing was sent: no Lambda endpoint at name\.test:80.*timed out"
            ):
                await caller.invoke("f")
            assert is_hung_up(caller)
            lead(hole, there)
            assert (await caller.invoke("f")).payload == b"1"


def test_a_timeout_ends_a_dial(lead: Lead, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's own, whichever comes first; no other address is tried, and the next call dials anew."""
    monkeypatch.setattr(_line, "_CONNECT_TIMEOUT_S", 10 * PATIENCE_S)
    with (
        black_hole() as hole,
        service(answer_one) as there,
        sync.connect_caller("http://name.test") as caller,
    ):
        lead(hole, there)
        with pytest.raises(TimeoutError, match="in time"):
            caller.invoke("f", timeout=0.05)
        assert caller._wire._socket is None
        lead(there)
        assert caller.invoke("f", timeout=PATIENCE_S).payload == b"1"


def test_the_shorter_limit_of_an_address_is_no_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is unreachable, although there was time left."""
    monkeypatch.setattr(_line, "_CONNECT_TIMEOUT_S", 0.05)
    with (
        black_hole() as hole,
        sync.connect(hole) as runtime,
        pytest.raises(ConnectionLost, match="nothing was sent"),
    ):
        runtime.next_invocation(timeout=PATIENCE_S)


# -- signals


@pytest.fixture
def interruption(request: pytest.FixtureRequest) -> Iterator[type[BaseException]]:
    """What SIGUSR1 raises in this test."""
    raised: type[BaseException] = request.param

    def interrupt(*_: object) -> None:
        raise raised("from a handler")

    before = signal.signal(signal.SIGUSR1, interrupt)
    yield raised
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("interruption", [TimeoutError, ConnectionError, ValueError, KeyboardInterrupt], indirect=True)
def test_what_a_signal_handler_raises_ends_a_dial(
    interruption: type[BaseException], lead: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no fault of the address: it leaves as it is, and no other address is tried."""
    monkeypatch.setattr(_line, "_CONNECT_TIMEOUT_S", 10 * PATIENCE_S)
    with black_hole() as hole, sync.connect_caller("http://name.test") as caller:

        def interrupt() -> None:
            while caller._wire._socket is None:
                os.sched_yield()
            os.kill(os.getpid(), signal.SIGUSR1)

        lead(hole, hole)
        interrupting = threading.Thread(target=interrupt)
        interrupting.start()
        with pytest.raises(interruption, match="from a handler"):
            caller.invoke("f")
        interrupting.join(PATIENCE_S)
        assert caller._wire._socket is None


# -- names


@on_every_driver
async def test_a_name_that_tls_does_not_know(driver: Driver, lead: Lead) -> None:
    """Wherever it leads: nobody there could prove to be meant, and nobody is dialled."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        lead(f"127.0.0.1:{listener.getsockname()[1]}")
        for host in ("a..b", ".a"):
            async with driver.connect_caller(f"https://{host}") as caller:
                with pytest.raises(ConnectionLost, match="nothing was sent"):
                    await caller.invoke("f")
                assert is_hung_up(caller)
        assert_nobody_dials(listener)


@on_every_driver
async def test_a_name_that_leads_nowhere(driver: Driver, lead: Lead) -> None:
    """A resolver that has no address for it does not say that it failed."""
    lead()
    async with driver.connect("name.test:80") as runtime:
        with pytest.raises(ConnectionLost, match=r"nothing was sent: no Runtime API at name\.test:80.*no address"):
            await runtime.next_invocation()
