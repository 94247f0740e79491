"""What else users' tests are given: connection pairs and byte cutters."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from lambda_wire import testing
from lambda_wire._errors import LocalProtocolError, RemoteProtocolError
from lambda_wire._events import (
    Accepted,
    Ask,
    BufferedResponse,
    Invocation,
    NextAsked,
    ResponseChunk,
    ResponseFinished,
    ResponseStarted,
)
from lambda_wire.testing import connected_pair, deliveries

# -- connection pairs


@pytest.mark.parametrize("piece_size", [0, 1])
def test_a_pair_shares_nothing_but_bytes(piece_size: int) -> None:
    """What one end says is what the other end hears, equal by value."""
    pair = connected_pair(piece_size=piece_size)
    invocation = Invocation(request_id="id", payload=b"{}", deadline_ms=int(time.time()))
    assert pair.runtime_says(NextAsked()) == [NextAsked()]
    assert pair.service_says(invocation) == [invocation]
    response = BufferedResponse(request_id="id", payload=b"1")
    assert pair.runtime_says(response) == [response]
    assert pair.service_says(Accepted()) == [Accepted()]
    pair.runtime_says(NextAsked())
    pair.service_says(invocation)
    stream: list[Ask] = [ResponseStarted(request_id="id"), ResponseChunk(data=b"x"), ResponseFinished()]
    assert pair.runtime_says(*stream) == stream
    assert pair.service_says(Accepted()) == [Accepted()]


def test_a_pair_refuses_what_may_not_be_said() -> None:
    """Whose fault it is, is said; what is no HTTP accuses the runtime."""
    pair = connected_pair()
    with pytest.raises(LocalProtocolError):
        pair.runtime_says(BufferedResponse(request_id="id", payload=b"1"))
    pair.service.receive_data(b"nonsense\r\n\r\n")
    with pytest.raises(RemoteProtocolError):
        pair.service.next_event()


# -- byte cutters


def test_deliveries_lose_nothing() -> None:
    """Whole, byte by byte, and cut at random, the same each time."""
    data = bytes(range(256)) * 40
    cuts = list(deliveries(data))
    assert [b"".join(pieces) for pieces in cuts] == [data] * 5
    assert cuts[0] == [data]
    assert all(len(piece) == 1 for piece in cuts[1])
    assert len({tuple(map(len, pieces)) for pieces in cuts[2:]}) == 3
    assert cuts == list(deliveries(data))
    assert cuts[2:] != list(deliveries(data, seed=8))[2:]
    assert all(pieces == [] for pieces in deliveries(b""))


# -- the door


def test_the_door_has_what_it_says_and_nothing_else() -> None:
    """Whichever room it comes from."""
    assert all(hasattr(testing, name) for name in testing.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Lambda'"):
        testing.__getattr__("Lambda")


def test_pure_code_is_tested_without_an_event_loop() -> None:
    """Pairs and cuts load neither asyncio nor the embedded Lambda."""
    wanted = "from lambda_wire.testing import connected_pair, deliveries"
    loaded = f"{wanted}; import sys; print(sorted({{'asyncio', 'lambda_wire.local'}} & sys.modules.keys()))"
    run = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
