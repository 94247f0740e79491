"""A report that was given up amid its writing is over when the service has ended its connection, and not before."""

from __future__ import annotations

from typing import Any

import pytest

from lambda_wire import (
    Accepted,
    ConnectionLost,
    ErrorReported,
    LocalProtocolError,
    NextAsked,
    ResponseStarted,
    exchanges,
)
from lambda_wire._wants import Dial, Hangup, Read, Want, Write
from tests.test_exchanges import INVOCATION, Network, session


def cut(network: Network, held: exchanges.RuntimeSession) -> None:
    """Leave a response that is not written whole."""
    exchange = exchanges.start_response(held, network.run(exchanges.next_invocation(held)), (b"one",))
    want: Want = next(exchange)
    while not (isinstance(want, Write) and not want.done):
        want = exchange.send(network.do(want))
    network._service.receive_data(b"".join(want.next_buffers(9))[:-3])
    assert isinstance(network._service.next_event(), ResponseStarted)
    with pytest.raises(KeyboardInterrupt):
        exchange.throw(KeyboardInterrupt())


def wants_of(network: Network, exchange: Any, last: type) -> list[Want]:
    """Answer wants up to the first of this kind; return them with that one, which is not answered."""
    wants: list[Want] = [next(exchange)]
    while not isinstance(wants[-1], last):
        wants.append(exchange.send(network.do(wants[-1])))
    return wants


def slow_network(*answers: Any) -> Network:
    network = Network(*answers)
    network.slow = True
    return network


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("said", [[], [b"HTTP/1.1 4", b"00 Bad Request\r\n\r\n"], [b"\0\0"]])
def test_the_next_poll_waits_for_the_end_of_its_connection(said: list[bytes], reset: bool) -> None:
    """Only then it dials: sooner it would be refused. Whatever the service says meanwhile is nobody's (RT-RESP-12)."""
    network, held = slow_network(INVOCATION, INVOCATION), session()
    cut(network, held)
    poll = exchanges.next_invocation(held)
    assert wants_of(network, poll, Read) == [Hangup(half=True), Read()]
    network.inbox, network.reset = said, reset
    assert network.run(poll, Read()) == INVOCATION
    assert (network.halves, network.hangups, network.dials) == (1, 2, 2)
    assert network.heard[-1] == NextAsked()
    assert not held.lingers


@pytest.mark.parametrize("how", [TimeoutError, GeneratorExit])
def test_a_poll_that_is_cut_while_it_waits_is_resumed(how: type[BaseException]) -> None:
    """By the next one, which waits on, however often."""
    network, held = slow_network(INVOCATION, INVOCATION), session()
    cut(network, held)
    for _ in range(2):
        poll = exchanges.next_invocation(held)
        wants_of(network, poll, Read)
        with pytest.raises(how):
            poll.throw(how())
    assert network.run(exchanges.next_invocation(held)) == INVOCATION
    assert (network.halves, network.dials) == (3, 2)


@pytest.mark.parametrize("way", ["stopping", "closed"])
def test_a_poll_that_waits_may_be_stopped(way: str) -> None:
    """As one that dials: whoever says so ends the connection, and no other is dialled."""
    network, held = slow_network(INVOCATION), session()
    cut(network, held)
    poll = exchanges.next_invocation(held)
    wants_of(network, poll, Read)
    assert held.dialling
    setattr(held, way, True)
    network.inbox = []
    with pytest.raises(ConnectionLost, match="poll no more" if way == "stopping" else "was closed"):
        network.run(poll, Read())
    assert network.dials == 1


def test_a_poll_is_stopped_just_before_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """By another thread, which found no connection to end: it does not begin to."""
    network, held = slow_network(INVOCATION), session()
    cut(network, held)
    abandon = held.abandon

    def stopped_first() -> None:
        held.stopping = True
        assert not held.dialling
        abandon()

    monkeypatch.setattr(held, "abandon", stopped_first)
    with pytest.raises(ConnectionLost, match="poll no more"):
        network.run(exchanges.next_invocation(held))
    assert (network.halves, network.dials) == (0, 1)


def test_what_is_illegal_waits_for_nothing() -> None:
    """The invocation has its answer, such as it is (RT-RESP-15)."""
    network, held = slow_network(INVOCATION, INVOCATION), session()
    cut(network, held)
    for _ in range(2):
        with pytest.raises(LocalProtocolError, match="would be refused"):
            network.run(exchanges.report_error(held, INVOCATION, error_type="Function.X", payload=b"{}"))
    assert (network.halves, network.dials) == (0, 1)
    assert network.run(exchanges.next_invocation(held)) == INVOCATION


def test_a_poll_that_was_cut_is_hung_up_on_at_once() -> None:
    """It holds nothing; and its connection would end with an invocation that nobody takes (RT-NEXT-22)."""
    network, held = Network(INVOCATION, Accepted(), INVOCATION), session()
    assert network.run(exchanges.respond(held, network.run(exchanges.next_invocation(held)), b"1")) == Accepted()
    poll = exchanges.next_invocation(held)
    wants: list[Want] = [next(poll)]
    while not (isinstance(wants[-1], Write) and not wants[-1].done):
        wants.append(poll.send(network.do(wants[-1])))
    with pytest.raises(KeyboardInterrupt):
        poll.throw(KeyboardInterrupt())
    held.abandon()  # as the blocking driver does
    assert not held.lingers
    again = exchanges.next_invocation(held)
    assert wants_of(network, again, Dial) == [Hangup(), Dial()]
    assert network.run(again, Dial()) == INVOCATION


def test_whoever_abandons_an_answer_that_is_due_lingers() -> None:
    """It may not have been judged: as the blocking driver does when a signal handler raises (RT-RESP-12)."""
    network, held = slow_network(INVOCATION, Accepted(), INVOCATION), session()
    exchange: Any = exchanges.respond(held, network.run(exchanges.next_invocation(held)), b"1")
    wants_of(network, exchange, Read)
    exchange.close()
    held.abandon()
    held.abandon()
    assert held.lingers
    poll = exchanges.next_invocation(held)
    assert wants_of(network, poll, Read)[0] == Hangup(half=True)
    assert network.run(poll, Read()) == INVOCATION
    kinds = [type(event) for event in network.heard]
    assert (ResponseStarted in kinds, ErrorReported in kinds, kinds.count(NextAsked)) == (False, False, 2)
