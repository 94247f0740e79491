"""A Lambda in the process of the tests: one call in, its result or its stream out."""

from __future__ import annotations

import json
import logging
import os
import time
from collections import ChainMap
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Final, Self

from lambda_wire import _limits as limits
from lambda_wire import _names as names
from lambda_wire._error_payload import decode_error
from lambda_wire._http_event import media_type
from lambda_wire._invoke_asks import too_large
from lambda_wire._malformed import Malformed
from lambda_wire._prelude import Prelude, PreludeDecoder
from lambda_wire._signals import NEED_DATA
from lambda_wire.bootstrap import Handler, serve_handler
from lambda_wire.bootstrap.failures import unheard
from lambda_wire.local.call import Call, Failure, Started
from lambda_wire.local.report import Report
from lambda_wire.local.server import EmbeddedLambda
from lambda_wire.local.threads import LoopThread, ThreadWorker
from lambda_wire.local.worker import child_environment
from lambda_wire.sync import Runtime

__all__ = ["FunctionError", "LocalLambda", "Stream"]

_PATIENCE_S: Final = 5.0
_LOG: Final = logging.getLogger("lambda_wire.local")


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

    START, END and REPORT lines and warnings go to the logger ``lambda_wire.local``. What the handler prints goes where
    this process prints and cannot be told apart: the log that a caller of Invoke may ask for holds those lines only.

    ``os.environ`` is the test's own, and nothing is changed in it: others may run in this process. So a handler finds
    ``_X_AMZN_TRACE_ID``, which AWS's X-Ray SDKs read where ``LAMBDA_TASK_ROOT`` is set, as the test has set it, and not
    at all if it has not. ``context.trace_id`` has the id of the invocation; name, version, memory and log of the
    function are there what ``lambda-wire local`` says, unless the test has set their variables.

    Args:
        handler: ``handler(event, context)``, plain or async.
        timeout_s: The function's timeout. A thread cannot be killed: when it has passed, the caller is told and the
            thread is left to itself; it ends with its next write, or when the handler returns. Nobody waits for it,
            and what it still says to its Lambda is lost without a word.
        environments: How many invocations may run at once, each in a thread of its own.
        simulate_bandwidth: Whether streams are as slow as AWS's: 6 MiB at once, then 2 MiB/s.

    Entering it raises ``ValueError`` where there would be no environment, no time, or more than a million seconds.
    Leaving it ends what still runs: ``RuntimeError`` says that a handler whose time has not passed has not ended
    within 5 s.
    """

    def __init__(
        self, handler: Handler, *, timeout_s: float = 30.0, environments: int = 1, simulate_bandwidth: bool = False
    ) -> None:
        if not callable(handler):
            raise TypeError(f"expected a handler that takes (event, context), got {type(handler).__name__}")
        self._handler = handler
        self._timeout_s = timeout_s
        self._environments = environments
        self._simulate_bandwidth = simulate_bandwidth
        self._workers: list[_Worker] = []
        self._running: tuple[LoopThread, EmbeddedLambda] | None = None

    def __enter__(self) -> Self:
        loop = LoopThread()
        try:
            self._running = loop, loop.wait(self._start())
        except BaseException:
            loop.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        loop, embedded = self._in_block
        self._running = None
        threads = [worker.thread for worker in self._workers if not worker.left]
        self._workers.clear()
        loop.wait(embedded.stop())
        deadline = time.monotonic() + _PATIENCE_S
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        loop.stop()
        if fault is None and any(thread.is_alive() for thread in threads):
            raise RuntimeError(f"the handler still runs {_PATIENCE_S:.0f} s after its Lambda was stopped")

    @property
    def url(self) -> str:
        """The function URL, without a slash at its end. Invoke is served there, too."""
        return f"http://{self._in_block[1].address}"

    def invoke(self, event: object, *, client_context: object = None) -> Any:  # noqa: ANN401  # JSON, whatever it is
        """Invoke the function and return its result: JSON as a value, a stream or anything else as ``bytes``.

        Args:
            event: Any value that JSON can say.
            client_context: Likewise; what ``context.client_context`` is made of.

        Raises:
            FunctionError: It failed, or exceeded its time.
            Malformed: The event is larger than Invoke allows.
        """
        loop, call = self._call(event, client_context, max_stream=limits.MAX_PAYLOAD)
        started, body = loop.wait(_result(call))
        if call.failure is not None:
            raise _error(call.failure)
        is_json = started is not None and not started.streaming and media_type(started.content_type) == names.JSON
        return json.loads(body) if is_json else body

    def stream(self, event: object) -> Stream:
        """Invoke the function and return what it streams, piece by piece, as it arrives.

        Args:
            event: Any value that JSON can say.

        Raises:
            Malformed: The event is larger than Invoke allows.
        """
        return Stream(*self._call(event, None, max_stream=limits.MAX_STREAM))

    # -- inside

    @property
    def _in_block(self) -> tuple[LoopThread, EmbeddedLambda]:
        if self._running is None:
            raise RuntimeError("a LocalLambda works inside its with block only")
        return self._running

    def _call(self, event: object, client_context: object, *, max_stream: int) -> tuple[LoopThread, Call]:
        loop, embedded = self._in_block
        context = "" if client_context is None else json.dumps(client_context)
        payload = json.dumps(event).encode("ascii")
        if len(payload) > limits.MAX_INVOKE_EVENT:
            raise Malformed(too_large(limits.MAX_INVOKE_EVENT).message)
        call = Call(payload, client_context=context, max_stream=max_stream)
        loop.call(embedded.submit, call)
        return loop, call

    async def _start(self) -> EmbeddedLambda:
        embedded = EmbeddedLambda(
            self._launch,
            report=Report(_LOG.info),
            timeout_s=self._timeout_s,
            environments=self._environments,
            simulate_bandwidth=self._simulate_bandwidth,
        )
        await embedded.start()
        return embedded

    async def _launch(self, address: str, hear: Callable[[bytes], None]) -> _Worker:  # noqa: ARG002  # see the class
        worker = _Worker(self._handler, address)
        self._workers.append(worker)
        return worker


class _Worker(ThreadWorker):
    """A handler in a thread.

    Attributes:
        left: Whether its Lambda has done with it, so that what it still says is heard by nobody.
    """

    def __init__(self, handler: Handler, address: str) -> None:
        self.left: bool = False

        def serve(runtime: Runtime) -> None:
            unheard.set(lambda: self.left)
            said = ChainMap(os.environ, child_environment({}, address=address, handler="", task_root=""))
            serve_handler(handler, runtime, alone=False, environment=said)

        super().__init__(serve, address)

    async def kill(self) -> None:
        """Leave it to itself: a thread cannot be killed."""
        self.left = True


class Stream(Iterator[bytes]):
    """What a function streams: an iterator of its pieces, one for each that it wrote, as they arrive.

    When the function fails, what came before is yielded and then ``FunctionError`` raised. A stream that is not read
    to its end disturbs nothing: the function runs on, and the rest is thrown away. One that should have begun with a
    prelude, and did not, raises ``Malformed`` whenever it is looked at.
    """

    def __init__(self, loop: LoopThread, call: Call) -> None:
        self._loop = loop
        self._call = call
        self._begun = False
        self._closed = False
        self._content_type: str | None = None
        self._decoder = PreludeDecoder()

    @property
    def content_type(self) -> str:
        """What the function says that it streams. Waits until it does; empty when it was closed before.

        Raises:
            FunctionError: It failed before it did.
            Malformed: The stream should have begun with a prelude, and did not.
        """
        self._wait_for_beginning()
        if self._content_type is None and self._call.failure is not None:
            raise _error(self._call.failure)
        return self._content_type or ""

    @property
    def prelude(self) -> Prelude | None:
        """Status, headers and cookies of an ``HttpResponse``, as soon as they are known; ``None`` for other streams.

        Raises:
            FunctionError: It failed before they were known.
            Malformed: The stream should have begun with a prelude, and did not.
        """
        promised = media_type(self.content_type) == names.HTTP_INTEGRATION_RESPONSE
        prelude = self._decoder.next_prelude()
        if prelude is not NEED_DATA:
            return prelude
        if promised and self._call.failure is not None:
            raise _error(self._call.failure)
        return None

    def __next__(self) -> bytes:
        self._wait_for_beginning()
        if self._closed:
            raise StopIteration
        piece = self._decoder.rest() or self._loop.wait(self._call.next_piece())
        if piece is not None:
            return piece
        if self._call.failure is not None:
            raise _error(self._call.failure)
        raise StopIteration

    def _wait_for_beginning(self) -> None:
        if not (self._begun or self._closed):
            try:
                self._loop.wait(self._begin())
            except Malformed:  # the decoder says it again, whoever asks
                self._loop.discard(self._call)
                raise

    async def _begin(self) -> None:
        started = await self._call.started()
        if started is not None:
            if media_type(started.content_type) == names.HTTP_INTEGRATION_RESPONSE:
                await self._read_prelude()
            self._content_type = started.content_type
        self._begun = True

    async def _read_prelude(self) -> None:
        while self._decoder.next_prelude() is NEED_DATA:
            piece = await self._call.next_piece()
            if piece is None:
                if self._call.size and self._call.failure is None:
                    self._decoder.end()
                return
            self._decoder.feed(piece)

    def close(self) -> None:
        """Throw away the rest: the stream is over."""
        self._closed = True
        self._loop.discard(self._call)

    def __del__(self) -> None:
        if not self._call.ended:
            self.close()


async def _result(call: Call) -> tuple[Started | None, bytes]:
    return await call.started(), await call.rest()


def _error(failure: Failure) -> FunctionError:
    try:
        document = decode_error(failure.document)
    except Malformed:
        return FunctionError(failure.error_type, failure.document.decode("utf-8", "replace"), ())
    return FunctionError(document.error_type or failure.error_type, document.error_message, document.stack_trace)
