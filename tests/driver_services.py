"""Stand-ins for the services, in a thread on loopback, spoken to event by event from a script; over TCP or TLS."""

from __future__ import annotations

import importlib
import select
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import pytest

from lambda_wire import sync
from lambda_wire._events import Accepted, Invocation, Refused, RestoreReady
from lambda_wire._facade import Caller, Runtime
from lambda_wire._invoke_events import InvokeAnswer, InvokeRefused
from lambda_wire._invoke_service import InvokeServiceConnection
from lambda_wire._lifecycle import Lifecycle
from lambda_wire._service import ServiceConnection
from lambda_wire._signals import Signal
from tests.driver_parts import Driver
from tests.real_parts import need_module
from tests.running_local import PATIENCE_S

Script = Callable[[socket.socket], None]

INVOCATION: Final = Invocation(request_id="id-1", payload=b"{}")
REFUSED: Final = Refused(status=413, error_type="RequestEntityTooLarge", error_message="too large")
TOO_LARGE: Final = InvokeRefused(status=413, error_type="RequestTooLargeException", message="too large")
#: More than any buffers between two sockets hold.
HUGE: Final = 100_000_000
#: ``SO_LINGER`` that makes closing a reset.
RESET: Final = b"\1\0\0\0\0\0\0\0"


@contextmanager
def service(script: Script) -> Iterator[str]:
    """Run ``script`` with a listening socket in a thread; what fails in it fails the test."""
    faults: list[BaseException] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_S)

        def run() -> None:
            try:
                script(listener)
            except BaseException as fault:  # noqa: BLE001  # raised again below
                faults.append(fault)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            thread.join(PATIENCE_S)
            if faults:
                raise faults[0]
    assert not thread.is_alive()


def assert_nobody_dials(listener: socket.socket) -> None:
    """For scripts whose user has been closed: all that it ever dialled has been accepted."""
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()


@contextmanager
def nobody() -> Iterator[str]:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    yield address


# -- the Runtime API


class Service:
    """One accepted connection of a runtime."""

    def __init__(self, wire: socket.socket, lifecycle: Lifecycle | None = None) -> None:
        self.wire = wire
        self.connection = ServiceConnection(lifecycle)

    def hear(self) -> object:
        """Return the next event of the runtime."""
        while isinstance(event := self.connection.next_event(), Signal):
            self.connection.receive_data(self.wire.recv(65_536))
        return event

    def say(self, answer: Invocation | Accepted | Refused | RestoreReady) -> None:
        self.wire.sendall(self.connection.send(answer))


def accept(listener: socket.socket, lifecycle: Lifecycle | None = None) -> Service:
    wire = listener.accept()[0]
    wire.settimeout(PATIENCE_S)
    return Service(wire, lifecycle)


@asynccontextmanager
async def runtime_of(driver: Driver, script: Script, **options: Any) -> AsyncIterator[Runtime]:
    """A runtime, and before it a script."""
    with service(script) as address:
        async with driver.connect(address, **options) as runtime:
            yield runtime


# -- Lambda


class Peer:
    """One accepted connection of a caller, over TCP."""

    def __init__(self, wire: socket.socket) -> None:
        self.wire = wire
        self.wire.settimeout(PATIENCE_S)
        self.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a reset would drop what Nagle holds back
        self.connection = InvokeServiceConnection()

    def receive(self) -> bytes:
        """Return what came next; ``b""`` at the end."""
        return self.wire.recv(65_536)

    def encode(self, data: bytes) -> bytes:
        """Return the bytes on the wire that say ``data``."""
        return data

    def hear(self) -> object:
        """Return the next event of the caller."""
        while isinstance(event := self.connection.next_event(), Signal):
            self.connection.receive_data(self.receive())
        return event

    def say(self, *answers: InvokeAnswer) -> None:
        for answer in answers:
            self.wire.sendall(self.encode(self.connection.send(answer)))

    def answer_early(self) -> None:
        """Refuse a call of which only the head was read."""
        self.connection.receive_data(self.receive())
        assert isinstance(self.connection.next_event(), Signal)
        self.say(TOO_LARGE)

    def leave(self) -> None:
        """Close as a well-mannered peer does."""
        self.wire.close()


class TlsPeer(Peer):
    """The same over TLS, with every record in our hands."""

    def __init__(self, wire: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(wire)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._until_done(self._tls.do_handshake)

    def _until_done(self, act: Callable[[], Any]) -> Any:
        while True:
            try:
                return act()
            except ssl.SSLWantReadError:
                self._flush()
                data = self.wire.recv(65_536)
                self._incoming.write(data) if data else self._incoming.write_eof()
            finally:
                self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self.wire.sendall(self._outgoing.read())

    def receive(self) -> bytes:
        try:
            data: bytes = self._until_done(lambda: self._tls.read(65_536))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        return data

    def encode(self, data: bytes) -> bytes:
        self._tls.write(data)
        return self._outgoing.read()

    def leave(self) -> None:
        with pytest.raises(ssl.SSLWantReadError):
            self._tls.unwrap()  # says close_notify, and would wait for the caller's
        self._flush()
        self.wire.close()


class Security:
    """An authority, a server's certificate of it, and a caller that trusts it."""

    def __init__(self, *names: str) -> None:
        need_module("trustme")
        authority = importlib.import_module("trustme").CA()
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names).configure_cert(self.server)
        self.caller = ssl.create_default_context()
        authority.configure_trust(self.caller)


class Way:
    """TCP or TLS."""

    def __init__(self, security: Security | None = None) -> None:
        self.security = security

    def accept(self, listener: socket.socket) -> Peer:
        wire = listener.accept()[0]
        return TlsPeer(wire, self.security.server) if self.security else Peer(wire)

    def _options(self, address: str) -> tuple[str, ssl.SSLContext | None]:
        scheme, context = ("https", self.security.caller) if self.security else ("http", None)
        return f"{scheme}://{address}", context

    @contextmanager
    def caller(self, script: Script) -> Iterator[sync.Caller]:
        """A blocking caller, and behind it the script."""
        with service(script) as address:
            endpoint, context = self._options(address)
            with sync.connect_caller(endpoint, context=context) as caller:
                yield caller

    @asynccontextmanager
    async def caller_of(self, driver: Driver, script: Script) -> AsyncIterator[Caller]:
        """A caller, and behind it the script."""
        with service(script) as address:
            endpoint, context = self._options(address)
            async with driver.connect_caller(endpoint, context=context) as caller:
                yield caller


@contextmanager
def tls_in_front_of(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """Speak TLS for a port that does not; yield the port where it is spoken."""

    def relay(listener: socket.socket) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        with context.wrap_socket(listener.accept()[0], server_side=True) as tls, plain:
            other = {tls: plain, plain: tls}
            while True:
                for ready in select.select([*other], [], [], PATIENCE_S)[0]:
                    if not (data := ready.recv(65_536)):
                        return
                    other[ready].sendall(data)

    with service(relay) as address:
        yield int(address.rpartition(":")[2])


def until_heard(wire: socket.socket) -> None:
    """Wait until something that the service did has reached a socket."""
    assert select.select([wire], [], [], PATIENCE_S)[0]
