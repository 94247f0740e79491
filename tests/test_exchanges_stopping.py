"""A session that is told to poll no more: at any moment, and what had come is not lost."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from lambda_wire import Accepted, BufferedResponse, ConnectionLost, NextAsked, RestoreReady, exchanges
from lambda_wire._wants import Dial, Read
from tests.test_exchanges import INVOCATION, Network, session

TOLD = "told to poll no more"


@pytest.mark.parametrize("restore", [False, True])
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("at", range(7))
def test_polling_stops_at_any_want(at: int, kept: bool, restore: bool) -> None:
    """The poll was answered, or is told; it is asked once at most, and nobody dials for it any more.

    On a new connection and on one that was kept.
    """
    before = (INVOCATION, Accepted()) if kept and not restore else ()
    network = Network(*before, RestoreReady() if restore else INVOCATION, snap_start=restore)
    held = session()
    if before:
        network.run(exchanges.respond(held, network.run(exchanges.next_invocation(held)), b"1"))
    asked_before, poll = len(network.heard), exchanges.next_restore if restore else exchanges.next_invocation
    exchange: Any = poll(held)
    want = next(exchange)
    try:
        for _ in range(at):
            want = exchange.send(network.do(want))
    except StopIteration:
        return  # it has fewer wants
    held.stopping = True
    dials = network.dials + isinstance(want, Dial)  # that one was under way
    if held.polling and not isinstance(want, Read):  # as a driver that ends the reading of a poll that is open
        network.do(want)
        network.closed, network.inbox = True, []
        want = exchange.send(b"")
    if held.polling and not network.inbox:
        network.closed = True
    with suppress(ConnectionLost):
        assert network.run(exchange, want) == (None if restore else INVOCATION)
    assert network.dials == dials
    assert len(network.heard) <= asked_before + 1
    with pytest.raises(ConnectionLost, match=TOLD):
        network.run(poll(held))
    assert network.dials == dials


def test_an_answer_that_was_there_is_not_lost() -> None:
    """Whoever stopped has ended the reading; what had come before is read."""
    network = Network(INVOCATION, Accepted())
    held = session()
    exchange = exchanges.next_invocation(held)
    want = next(exchange)
    while not isinstance(want, Read):
        want = exchange.send(network.do(want))
    held.stopping = network.closed = True
    assert network.inbox
    invocation = network.run(exchange, want)
    assert invocation == INVOCATION
    assert network.run(exchanges.respond(held, invocation, b"1")) == Accepted()
    assert network.dials == 2
    assert network.heard == [NextAsked(), BufferedResponse(request_id="id-1", payload=b"1", invocation_id="attempt-1")]


def test_a_poll_that_was_being_asked_is_not() -> None:
    """It was told between the connection and the request: the connection is given up, and nothing was said on it."""
    network = Network(INVOCATION)
    held = session()
    original = held.connect

    def connect(event: Any) -> Any:
        yield from original(event)
        held.stopping = True

    held.connect = connect  # type: ignore[method-assign]  # a signal at the worst moment
    with pytest.raises(ConnectionLost, match=TOLD):
        network.run(exchanges.next_invocation(held))
    assert network.heard == []
    assert held.connection.must_close


def test_only_what_a_poll_dials_is_given_up() -> None:
    """What is dialled for a report is its own, and a poll that was given up dials no longer."""
    for begin, its_own in (
        (lambda held: exchanges.report_init_error(held, error_type="Runtime.X", payload=b"{}"), False),
        (exchanges.next_invocation, True),
        (exchanges.next_restore, True),
    ):
        held, network = session(), Network()
        exchange: Any = begin(held)
        while not isinstance(want := next(exchange), Dial):
            network.do(want)
        assert held.dialling is its_own
        exchange.close()
        assert not held.dialling
