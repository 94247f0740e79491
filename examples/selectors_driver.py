"""A driver for one more event loop, whole: many invocations at once, in one thread, on ``selectors``.

It is a runtime like any other: ``lambda-wire local --concurrency 4 -- python selectors_driver.py [SLOTS]``.

Generators, one on top of the other: ``serve`` is the life of a slot and yields wants; ``Wire`` answers them, and yields
what has to be waited for; ``main`` waits for all slots at once. While one waits, the others run.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
from collections.abc import Generator, Iterator
from contextlib import suppress
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import Any, TypeAlias, TypeVar, assert_never

import lambda_wire
from lambda_wire import Accepted, ConnectionLost, Invocation, Refused, exchanges
from lambda_wire.exchanges import Dial, Exchange, Hangup, Read, RuntimeSession, Want, Write

T = TypeVar("T")
Waits: TypeAlias = Generator[tuple[socket.socket, int], None, T]
FAULTS = (ConnectionLost, lambda_wire.StreamInterrupted, lambda_wire.RequestRefused, lambda_wire.ProtocolError)


def handler(event: dict[str, Any]) -> dict[str, Any] | Iterator[bytes]:
    if "words" in event:
        return (word.encode() for word in event["words"] * event.get("times", 1))
    if "rawPath" in event:  # asked through its URL
        return {"question": event["rawPath"]}
    return {"question": event["question"]}


def serve(session: RuntimeSession) -> Exchange[str]:
    while True:
        try:
            invocation = yield from exchanges.next_invocation(session)
        except FAULTS as fault:
            return str(fault)
        try:
            told: object = yield from answer(session, invocation)
        except FAULTS as fault:
            told = str(fault)  # not the fault, which would keep the handler's generator
        if not isinstance(told, Accepted):
            print(f"the answer to {invocation.request_id} was not accepted: {told}", file=sys.stderr)


def answer(session: RuntimeSession, invocation: Invocation) -> Exchange[Accepted | Refused]:
    response = None
    try:
        result = handler(json.loads(invocation.payload))
        if isinstance(result, dict):
            return (yield from exchanges.respond(session, invocation, json.dumps(result).encode()))
        response = yield from exchanges.start_response(session, invocation, [next(result, b"")])
        for chunk in result:
            yield from exchanges.write_chunks(response, [chunk])
        return (yield from exchanges.finish_response(response))
    except FAULTS:
        raise
    except Exception as fault:  # noqa: BLE001  # the handler's, whatever it is
        error_type = lambda_wire.error_type_header(type(fault).__name__)
        error = lambda_wire.ErrorPayload(error_message=str(fault), error_type=error_type)
        document = lambda_wire.encode_error(error, max_bytes=lambda_wire.MAX_TRAILER_DOCUMENT)
    if response is None:
        return (yield from exchanges.report_error(session, invocation, error_type=error_type, payload=document))
    return (yield from exchanges.fail_response(response, error_type=error_type, error_body=document))


class Wire:
    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.addresses = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)  # blocks: not in the loop
        self.socket = socket.socket()

    def hold(self, exchange: Exchange[T]) -> Waits[T]:
        try:
            want = next(exchange)
            while True:
                try:
                    heard = yield from self.do(want)
                except OSError as fault:
                    want = exchange.throw(ConnectionLost(str(fault), nothing_sent=isinstance(want, Dial)))
                else:
                    want = exchange.send(heard)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            exchange.close()
            self.socket.close()

    def do(self, want: Want) -> Waits[bytes]:
        match want:
            case Dial():
                yield from self.dial()
            case Write():
                if want.look_first and (heard := self.look()):
                    return heard
                while not want.done:
                    yield self.socket, EVENT_READ | EVENT_WRITE  # even when there is room: each slot has its turn
                    try:
                        want.advance(self.socket.sendmsg(want.next_buffers(64)))
                    except BlockingIOError:
                        if heard := self.look():
                            return heard
            case Read(max_bytes=max_bytes):
                while True:
                    yield self.socket, EVENT_READ
                    with suppress(BlockingIOError):
                        return self.socket.recv(max_bytes)
            case Hangup(half=half):
                self.hang_up(half=half)
            case _ as never:
                assert_never(never)
        return b""

    def dial(self) -> Waits[None]:
        refused = errno.EADDRNOTAVAIL
        for family, kind, protocol, _, address in self.addresses:
            self.socket.close()
            self.socket = socket.socket(family, kind, protocol)
            self.socket.setblocking(False)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            refused = self.socket.connect_ex(address)
            if refused == errno.EINPROGRESS:
                yield self.socket, EVENT_WRITE
                refused = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not refused:
                return
        raise OSError(refused, os.strerror(refused))

    def hang_up(self, *, half: bool) -> None:
        if not half:
            self.socket.close()
            return
        with suppress(OSError):  # the service has ended it
            self.socket.shutdown(socket.SHUT_WR)

    def look(self) -> bytes:
        try:
            heard = self.socket.recv(65_536)
        except BlockingIOError:
            return b""
        if not heard:
            raise ConnectionError("the service has closed the connection")
        return heard


def resume(slot: Waits[str], waiting: DefaultSelector) -> None:
    try:
        waiting.register(*next(slot), slot)
    except StopIteration as ended:
        print(f"a slot has ended: {ended.value}", file=sys.stderr)


def main() -> None:
    address = os.environ["AWS_LAMBDA_RUNTIME_API"]
    slots = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("AWS_LAMBDA_MAX_CONCURRENCY", "1")
    with DefaultSelector() as waiting:
        for _ in range(int(slots)):
            resume(Wire(address).hold(serve(RuntimeSession(host=address))), waiting)
        while waiting.get_map():
            for key, _ in waiting.select():
                waiting.unregister(key.fileobj)
                resume(key.data, waiting)
    sys.exit("no slot is left")


if __name__ == "__main__":
    main()
