"""What ``lambda-wire run`` does: load a handler, poll for invocations, answer them, until told to stop.

Cold starts are paid in milliseconds, so the rooms that serve an invocation are loaded after the first poll was sent,
while the service has not answered yet. What only a failure or a log needs is loaded when there is one.

How it ends, and with which exit code:

- SIGTERM or Ctrl-C: 0. While it polls, at once. A running invocation has ``GRACE_S`` to end by itself; then it is
  interrupted: ``Stopped``, a ``SystemExit``, is raised in the handler, whose ``finally`` clauses run; the invocation is
  reported as ``Runtime.ExitError``. Async handlers are cancelled instead. With many slots a plain one cannot be
  interrupted: it is reported, and left.
- The handler cannot be loaded: 1, after it was reported to ``/init/error``.
- SnapStart: a hook fails before the snapshot: 64, after the restore: 65; both are reported, as AWS's client does it.
- The Runtime API is gone, refuses the poll, or gives an invocation again whose answer it did not know: 1.
- The handler calls ``sys.exit``: its invocation is reported as ``Runtime.ExitError``, and the process ends with the
  code that was given. The same for other exceptions that are no ``Exception``, such as ``KeyboardInterrupt``, with 1.

However it ends, what was registered with ``atexit`` runs.
"""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module

from lambda_wire import _names as names
from lambda_wire._errors import ConnectionLost
from lambda_wire.bootstrap.loading import Handler, load_handler
from lambda_wire.bootstrap.stopping import Stop, Stopped, stopped_by_signals
from lambda_wire.sync import Runtime, connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambda_wire._events import Invocation
    from lambda_wire.bootstrap.failures import Unanswerable

__all__ = ["Handler", "Unanswerable", "serve", "serve_handler"]

import_module("lambda_wire.exchanges.runtime")  # with the rest, see ``cli``: ``connect`` would load it a moment later


def serve(handler_name: str, address: str, *, concurrency: int = 1, margin_ms: int | None = None) -> int:
    """Serve invocations with the handler of that name, and return the exit code of the process.

    For the main thread of a process that does nothing else: it takes over SIGINT and SIGTERM, and stdout and stderr
    become unbuffered: a line leaves when it is complete.

    Args:
        handler_name: ``MODULE.FUNCTION``.
        address: Where the Runtime API is: ``AWS_LAMBDA_RUNTIME_API``.
        concurrency: How many invocations run at once.
        margin_ms: How many milliseconds before its deadline an async handler is cancelled, so that its failure can
            still be reported; never when ``None``.

    Raises:
        Malformed: ``address`` is not ``host:port``.
        SystemExit: The handler called ``sys.exit``; its invocation has been reported.
    """
    _unbuffer_logs()
    try:
        with stopped_by_signals() as stop, connect(address) as runtime:
            return _serve_until_stopped(handler_name, runtime, address, stop, concurrency, margin_ms)
    except Stopped:
        return 0


def _serve_until_stopped(
    handler_name: str, runtime: Runtime, address: str, stop: Stop, concurrency: int, margin_ms: int | None
) -> int:
    try:
        handler = _load_or_report(handler_name, runtime)
        if handler is None:
            return 1
        _show_logging()
        code = _restored(runtime)
        if code is not None:
            return code
        if concurrency > 1:
            _serve_slots(handler, runtime, address, stop, concurrency, margin_ms)
        else:
            _serve(handler, runtime, stop, margin_ms=margin_ms)
    except (Exception, SystemExit) as fault:
        if stop.asked and isinstance(fault, ConnectionLost):
            return 0
        from lambda_wire.bootstrap.failures import log_line, why_it_ends

        said = why_it_ends(fault, address)
        if said is None:
            raise
        log_line(said)
        return 1
    except BaseException:  # noqa: BLE001  # the handler's, reported and logged
        return 1
    return 0


def serve_handler(
    handler: Handler, runtime: Runtime, *, alone: bool = True, environment: Mapping[str, str] = os.environ
) -> None:
    """Serve invocations with ``handler`` until the Runtime API goes away. Takes over no signals.

    What the runtime has to say goes to ``sys.stderr``; that and ``sys.stdout`` are flushed after each invocation.

    Args:
        handler: The function itself.
        runtime: Where its invocations come from.
        alone: Whether this process runs no other invocation meanwhile. Only then ``_X_AMZN_TRACE_ID`` is set.
        environment: What the handler's context is told by: the variables that AWS sets.

    Raises:
        RequestRefused: The service refused the poll (403 or 500).
        Unanswerable: The service gives an invocation again whose answer it refused.
        RemoteProtocolError: The service said what it may not.
        Busy: Another caller uses ``runtime``.
        BaseException: What the handler raised to end the process, such as ``SystemExit``; it has been reported.
    """
    try:
        _serve(handler, runtime, Stop(), alone=alone, environment=environment)
    except ConnectionLost:
        return


def _serve(
    handler: Handler,
    runtime: Runtime,
    stop: Stop,
    *,
    alone: bool = True,
    margin_ms: int | None = None,
    environment: Mapping[str, str] = os.environ,
) -> None:
    stop.end_polls(runtime.stop_polling)
    if stop.asked:
        return
    come = _asked_for(runtime)
    from lambda_wire.bootstrap.alone import serve_alone
    from lambda_wire.bootstrap.invoking import Invoker

    serve_alone(Invoker(handler, alone=alone, margin_ms=margin_ms, environment=environment), runtime, come, stop)


def _asked_for(runtime: Runtime) -> list[Invocation]:
    """Send a poll without waiting for its answer; it stays open. Return the answer if it is there already."""
    try:
        return [runtime.next_invocation(timeout=0)]
    except TimeoutError:
        return []


def _restored(runtime: Runtime) -> int | None:
    """SnapStart: have the environment snapshotted and restored; return the exit code when it cannot go on."""
    if os.environ.get(names.ENV_INITIALIZATION_TYPE) != names.SNAP_START:
        return None
    from lambda_wire.bootstrap.snapshots import take_snapshot

    import_module("lambda_wire.bootstrap.invoking")  # so that no restored copy has to
    return take_snapshot(runtime)


def _serve_slots(
    handler: Handler, runtime: Runtime, address: str, stop: Stop, concurrency: int, margin_ms: int | None
) -> None:
    from contextlib import ExitStack

    from lambda_wire.bootstrap.invoking import Invoker
    from lambda_wire.bootstrap.slots import Slots

    with ExitStack() as others:
        runtimes = [runtime, *(others.enter_context(connect(address)) for _ in range(concurrency - 1))]
        slots = Slots(Invoker(handler, alone=False, margin_ms=margin_ms), runtimes)
        stop.end_polls(lambda: slots.end(Stopped("a signal was received")))
        if not stop.asked:  # the handler's module may have swallowed it
            slots.serve()


def _load_or_report(name: str, runtime: Runtime) -> Handler | None:
    try:
        return load_handler(name)
    except Stopped:
        raise
    except BaseException as fault:  # noqa: BLE001  # a handler's module may raise anything
        from lambda_wire.bootstrap.failures import say_init_error

        say_init_error(fault, runtime)
        return None


def _show_logging() -> None:
    if "logging" in sys.modules:  # else not even the room is needed that shows it
        from lambda_wire.bootstrap.logs import show_logging

        show_logging()


def _unbuffer_logs() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, write_through=True)


if not TYPE_CHECKING:  # whoever asks for it has seen a failure, or expects one (PEP 562)

    def __getattr__(name: str) -> object:
        if name != "Unanswerable":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from lambda_wire.bootstrap.failures import Unanswerable

        return Unanswerable
