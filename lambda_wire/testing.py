"""For tests of code that speaks the Lambda wire: an in-process Lambda, connection pairs, byte cutters.

    def test_greeting():
        with LocalLambda(handler) as fn:
            assert fn.invoke({"name": "Ada"}) == "Hello, Ada!"
            assert list(fn.stream({"count": 2})) == [b"1", b"2"]
            assert urllib.request.urlopen(fn.url).status == 200
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import threading
from collections.abc import Coroutine, Iterator
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from lambda_wire import _limits as limits
from lambda_wire import _names as names
from lambda_wire._error_payload import decode_error
from lambda_wire._errors import ProtocolError, RequestRefused
from lambda_wire._events import Answer, Ask
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._malformed import Malformed
from lambda_wire._prelude import Prelude, PreludeDecoder
from lambda_wire._runtime import RuntimeConnection, RuntimeEvent
from lambda_wire._service import ServiceConnection, ServiceEvent
from lambda_wire._signals import NEED_DATA, Signal
from lambda_wire.bootstrap import Handler, serve_handler
from lambda_wire.local.call import Call, Failure
from lambda_wire.local.environment import Settings
from lambda_wire.local.report import Report
from lambda_wire.local.server import EmbeddedLambda
from lambda_wire.local.worker import Worker
from lambda_wire.sync import connect

__all__ = ["ConnectedPair", "FunctionError", "LocalLambda", "Stream", "connected_pair", "deliveries"]

_T = TypeVar("_T")
_PATIENCE_S: Final = 5.0
_LOG: Final = logging.getLogger("lambda_wire.local")


# -- byte cutters


def deliveries(data: bytes, *, seed: int = 7) -> Iterator[list[bytes]]:
    """Yield ``data`` as a network may deliver it: whole, byte by byte, and cut at random (three times).

    Args:
        data: The bytes; empty data is delivered as nothing.
        seed: Makes the random cuts repeatable.
    """
    yield [data] if data else []
    yield [data[i : i + 1] for i in range(len(data))]
    dice = random.Random(seed)  # noqa: S311  # cuts, not secrets
    for _ in range(3):
        pieces: list[bytes] = []
        start = 0
        while start < len(data):
            end = start + dice.choice((1, 2, 3, 7, 40, 500, 5000))
            pieces.append(data[start:end])
            start = end
        yield pieces


# -- connection pairs


class ConnectedPair:
    """Both ends of one Runtime API connection, which share nothing but bytes.

    Attributes:
        runtime: The runtime's end.
        service: The service's end.
    """

    def __init__(self, runtime: RuntimeConnection, service: ServiceConnection, piece_size: int) -> None:
        self.runtime = runtime
        self.service = service
        self._piece_size = piece_size

    def runtime_says(self, *events: Ask) -> list[ServiceEvent]:
        """Send events from the runtime's end; return what the service's end learns.

        Raises:
            LocalProtocolError: The runtime may not say this now.
            RemoteProtocolError: The service finds that it may not.
        """
        heard: list[ServiceEvent] = []
        for event in events:
            for piece in self._cut(self.runtime.send(event)):
                self.service.receive_data(piece)
                while not isinstance(learned := self.service.next_event(), Signal):
                    heard.append(learned)
        return heard

    def service_says(self, *answers: Answer) -> list[RuntimeEvent]:
        """Send answers from the service's end; return what the runtime's end learns.

        Raises:
            LocalProtocolError: The service may not say this now.
            RemoteProtocolError: The runtime finds that it may not.
        """
        heard: list[RuntimeEvent] = []
        for answer in answers:
            for piece in self._cut(self.service.send(answer)):
                self.runtime.receive_data(piece)
                while not isinstance(learned := self.runtime.next_event(), Signal):
                    heard.append(learned)
        return heard

    def _cut(self, data: bytes) -> Iterator[bytes]:
        size = self._piece_size or max(1, len(data))
        return (data[start : start + size] for start in range(0, len(data), size))


def connected_pair(*, piece_size: int = 0) -> ConnectedPair:
    """Return both ends of a new connection, each with a lifecycle of its own.

    Args:
        piece_size: How many bytes are delivered at a time; 0 delivers all that was sent.
    """
    runtime = RuntimeConnection(host="127.0.0.1:9001", lifecycle=StandardLifecycle())
    return ConnectedPair(runtime, ServiceConnection(StandardLifecycle()), piece_size)


# -- an in-process Lambda


class FunctionError(Exception):
    """The function failed.

    Attributes:
        error_type: Such as ``ValueError``, or ``Sandbox.Timedout``.
        error_message: What went wrong.
        stack_trace: The lines of the function's traceback.
    """

    def __init__(self, error_type: str, error_message: str, stack_trace: tuple[str, ...]) -> None:
        super().__init__(f"{error_type}: {error_message}")
        self.error_type = error_type
        self.error_message = error_message
        self.stack_trace = stack_trace


class LocalLambda:
    """A Lambda in this process, for tests: the handler runs in a thread, over the real wire.

    START, END and REPORT lines and warnings go to the logger ``lambda_wire.local``.

    Args:
        handler: ``handler(event, context)``, plain or async.
        timeout_s: The function's timeout. A thread cannot be killed: when it has passed, the caller is told and the
            thread is left to itself; it ends with its next write, or when the handler returns.
        environments: How many invocations may run at once, each in a thread of its own.
    """

    def __init__(self, handler: Handler, *, timeout_s: float = 30.0, environments: int = 1) -> None:
        self._handler = handler
        self._settings = Settings(timeout_s=timeout_s)
        self._environments = environments
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread: threading.Thread | None = None
        self._embedded: EmbeddedLambda | None = None

    def __enter__(self) -> Self:
        loop = self._loop = asyncio.new_event_loop()
        self._loop_thread = threading.Thread(target=self._run_loop, args=(loop,), name="lambda-wire-local")
        self._loop_thread.start()
        try:
            self._embedded = self._wait(self._start())
        except BaseException:
            self._stop_loop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        if self._embedded is not None:
            self._wait(self._embedded.stop())
        self._embedded = None
        for thread in self._threads:
            thread.join(_PATIENCE_S)
        self._stop_loop()
        if fault is None and any(thread.is_alive() for thread in self._threads):
            raise RuntimeError(f"the handler still runs {_PATIENCE_S:.0f} s after its Lambda was stopped")

    @property
    def url(self) -> str:
        """The function URL, without a slash at its end. Invoke is served there, too."""
        return f"http://{self._started.address}"

    def invoke(self, event: object, *, client_context: object = None) -> Any:  # noqa: ANN401  # JSON, whatever it is
        """Invoke the function and return its result: JSON as a value, anything else, such as a stream, as ``bytes``.

        Args:
            event: Any value that JSON can say.
            client_context: Likewise; what ``context.client_context`` is made of.

        Raises:
            FunctionError: It failed, or exceeded its time.
        """
        call = self._call(event, client_context)
        started, body = self._wait(_result(call))
        if call.failure is not None:
            raise _error(call.failure)
        return json.loads(body) if started == names.JSON else body

    def stream(self, event: object) -> Stream:
        """Invoke the function and return what it streams, piece by piece, as it arrives.

        Args:
            event: Any value that JSON can say.
        """
        return Stream(self, self._call(event, None))

    # -- inside

    @property
    def _started(self) -> EmbeddedLambda:
        if self._embedded is None:
            raise RuntimeError("a LocalLambda works inside its with block only")
        return self._embedded

    def _call(self, event: object, client_context: object) -> Call:
        context = "" if client_context is None else json.dumps(client_context)
        call = Call(json.dumps(event).encode("ascii"), client_context=context, max_stream=limits.MAX_STREAM)
        self._running.call_soon_threadsafe(self._started.submit, call)
        return call

    @property
    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise RuntimeError("a LocalLambda works inside its with block only")
        return self._loop

    def _wait(self, what: Coroutine[object, object, _T]) -> _T:
        try:
            loop = self._running
        except RuntimeError:
            what.close()
            raise
        return asyncio.run_coroutine_threadsafe(what, loop).result()

    async def _start(self) -> EmbeddedLambda:
        embedded = EmbeddedLambda(
            self._launch, settings=self._settings, environments=self._environments, report=Report(_LOG.info)
        )
        await embedded.start()
        return embedded

    async def _launch(self, address: str) -> Worker:
        worker = _ThreadWorker(self._handler, address)
        self._threads.append(worker.thread)
        return worker

    @staticmethod
    def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    def _stop_loop(self) -> None:
        loop, thread = self._loop, self._loop_thread
        self._loop = self._loop_thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()


class Stream(Iterator[bytes]):
    """What a function streams: an iterator of its pieces, one for each that it wrote, as they arrive.

    When the function fails, what came before is yielded and then ``FunctionError`` raised. A stream that is not read
    to its end disturbs nothing: the function runs on, and the rest is thrown away.
    """

    def __init__(self, fn: LocalLambda, call: Call) -> None:
        self._fn = fn
        self._call = call
        self._content_type: str | None = None
        self._prelude: Prelude | None = None
        self._held = b""

    @property
    def content_type(self) -> str:
        """What the function says that it streams. Waits until it does.

        Raises:
            FunctionError: It failed before that.
        """
        if self._content_type is None:
            self._fn._wait(self._begin())
        return self._content_type or ""

    @property
    def prelude(self) -> Prelude | None:
        """Status, headers and cookies of an ``HttpResponse``; ``None`` for other streams. Waits until it is known.

        Raises:
            FunctionError: The function failed before that.
        """
        return self._prelude if self.content_type else None

    def __next__(self) -> bytes:
        if self._content_type is None:
            self._fn._wait(self._begin())
        if self._held:
            held, self._held = self._held, b""
            return held
        piece = self._fn._wait(self._call.next_piece())
        if piece is not None:
            return piece
        if self._call.failure is not None:
            raise _error(self._call.failure)
        raise StopIteration

    async def _begin(self) -> None:
        started = await self._call.started()
        if started is None:
            self._content_type = ""
            return
        if started.content_type == names.HTTP_INTEGRATION_RESPONSE:
            decoder = PreludeDecoder()
            while (prelude := decoder.next_prelude()) is NEED_DATA:
                piece = await self._call.next_piece()
                if piece is None:
                    break
                decoder.feed(piece)
            else:
                self._prelude = prelude
                self._held = decoder.rest()
        self._content_type = started.content_type

    def close(self) -> None:
        """Throw away the rest."""
        with contextlib.suppress(RuntimeError):  # the Lambda was stopped: there is no rest
            asyncio.run_coroutine_threadsafe(self._call.rest(), self._fn._running)

    def __del__(self) -> None:
        if not self._call.ended:
            self.close()


async def _result(call: Call) -> tuple[str, bytes]:
    started = await call.started()
    return ("" if started is None else started.content_type), await call.rest()


def _error(failure: Failure) -> FunctionError:
    try:
        document = decode_error(failure.document)
    except Malformed:
        return FunctionError(failure.error_type, failure.document.decode("utf-8", "replace"), ())
    return FunctionError(document.error_type or failure.error_type, document.error_message, document.stack_trace)


class _ThreadWorker:
    """A handler that is served in a thread of this process. It ends when its Runtime API goes away."""

    def __init__(self, handler: Handler, address: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self.thread = threading.Thread(
            target=self._serve, args=(handler, address), name="lambda-wire-handler", daemon=True
        )
        self.thread.start()

    @property
    def ended(self) -> asyncio.Future[str]:
        """Done when the thread is about to end."""
        return self._ended

    async def stop(self) -> None:
        """Nothing: see the class."""

    async def kill(self) -> None:
        """Nothing: see the class."""

    def _serve(self, handler: Handler, address: str) -> None:
        how = "Runtime exited without providing a reason"
        try:
            with connect(address) as runtime:
                serve_handler(handler, runtime)
        except SystemExit as exit_:
            how = f"Runtime exited with error: exit status {exit_.code}"
        except (RequestRefused, ProtocolError):
            pass  # the environment was replaced
        except BaseException as fault:  # noqa: BLE001  # the thread ends, whatever the handler raised, and its caller is told
            how = f"Runtime exited with error: {type(fault).__name__}"
        finally:
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody wants to know
                self._loop.call_soon_threadsafe(self._say, how)

    def _say(self, how: str) -> None:
        if not self._ended.done():
            self._ended.set_result(how)
