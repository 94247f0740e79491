"""What ``lambda-wire run`` does: load a handler, poll for invocations, answer them, until told to stop.

Cold starts are paid in milliseconds, so the rooms that serve an invocation are loaded after the first poll was sent,
while the service has not answered yet.

How it ends, and with which exit code:

- SIGTERM or Ctrl-C: 0. While it polls, at once. A running invocation is interrupted: ``Stopped``, a ``SystemExit``, is
  raised in the handler, whose ``finally`` clauses run; the invocation is reported as ``Runtime.ExitError``.
- The handler cannot be loaded: 1, after it was reported to ``/init/error``.
- The Runtime API is gone, refuses the poll, or gives an invocation again whose answer it did not know: 1.
- The handler calls ``sys.exit``: its invocation is reported as ``Runtime.ExitError``, and the process ends with the
  code that was given. The same for other exceptions that are no ``Exception``, such as ``KeyboardInterrupt``, with 1.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

from lambda_wire._error_payload import encode_error, error_type_header
from lambda_wire._errors import Busy, ConnectionLost, ProtocolError, RequestRefused
from lambda_wire._events import Invocation, Refused
from lambda_wire.bootstrap.failures import cause, describe, flush_logs, log_failure, log_line, refusal
from lambda_wire.bootstrap.loading import Handler, load_handler
from lambda_wire.bootstrap.logs import show_logging
from lambda_wire.bootstrap.stopping import Stopped, stopped_by_signals
from lambda_wire.sync import Runtime, connect

__all__ = ["Handler", "Unanswerable", "serve", "serve_handler"]


class Unanswerable(Exception):
    """The service gives an invocation again whose answer it refused. To run the handler again would never end."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"the service does not know invocation {request_id}, which it gave: it cannot be answered")


def serve(handler_name: str, address: str) -> int:
    """Serve invocations with the handler of that name, and return the exit code of the process.

    For the main thread of a process that does nothing else: it takes over SIGINT and SIGTERM, and stdout and stderr
    become unbuffered: a line leaves when it is complete.

    Args:
        handler_name: ``MODULE.FUNCTION``.
        address: Where the Runtime API is: ``AWS_LAMBDA_RUNTIME_API``.

    Raises:
        Malformed: ``address`` is not ``host:port``.
        SystemExit: The handler called ``sys.exit``; its invocation has been reported.
    """
    _unbuffer_logs()
    with stopped_by_signals() as stop, connect(address) as runtime:
        try:
            handler = _load_or_report(handler_name, runtime)
            if handler is None:
                return 1
            show_logging()
            _serve(handler, runtime, lambda: stop.asked)
        except Stopped:
            return 0
        except RequestRefused as fault:
            log_line(f"the Runtime API at {address} refused the poll with {refusal(fault.refusal)}")
            return 1
        except (ConnectionLost, ProtocolError) as fault:
            log_line(f"cannot poll the Runtime API at {address}: {fault}")
            return 1
        except Unanswerable as fault:
            log_line(str(fault))
            return 1
        except (Exception, SystemExit):
            raise
        except BaseException:  # noqa: BLE001  # the handler's, reported and logged
            return 1
    return 0


def serve_handler(handler: Handler, runtime: Runtime) -> None:
    """Serve invocations with ``handler`` until the Runtime API goes away. Touches neither signals nor streams.

    Raises:
        RequestRefused: The service refused the poll (403 or 500).
        Unanswerable: The service gives an invocation again whose answer it refused.
        RemoteProtocolError: The service said what it may not.
        Busy: Another caller uses ``runtime``.
        BaseException: What the handler raised to end the process, such as ``SystemExit``; it has been reported.
    """
    try:
        _serve(handler, runtime, lambda: False)
    except ConnectionLost:
        return


def _serve(handler: Handler, runtime: Runtime, stopping: Callable[[], bool]) -> None:
    invocation = _asked_for(runtime)
    from lambda_wire.bootstrap.invoking import serve_invocation
    from lambda_wire.bootstrap.returning import EventLoop

    loop = EventLoop()
    unanswerable: Invocation | None = None
    try:
        while not stopping():
            invocation = invocation or runtime.next_invocation()
            if invocation == unanswerable:
                raise Unanswerable(invocation.request_id)
            unanswerable = None if serve_invocation(handler, runtime, invocation, loop) else invocation
            invocation = None
            flush_logs()
    finally:
        loop.close()


def _asked_for(runtime: Runtime) -> Invocation | None:
    """Send a poll without waiting for its answer; it stays open. Return the answer if it is there already."""
    try:
        return runtime.next_invocation(timeout=0)
    except TimeoutError:
        return None


def _load_or_report(name: str, runtime: Runtime) -> Handler | None:
    try:
        return load_handler(name)
    except Stopped:
        raise
    except BaseException as fault:  # noqa: BLE001  # a handler's module may raise anything
        error = describe(fault)
        log_failure(error)
        _report_init_error(runtime, error_type_header(error.error_type), encode_error(error), cause(fault))
        return None


def _report_init_error(runtime: Runtime, error_type: str, payload: bytes, xray_cause: str) -> None:
    try:
        verdict = runtime.report_init_error(error_type=error_type, payload=payload, xray_cause=xray_cause)
    except (ConnectionLost, ProtocolError, Busy) as fault:
        log_line(f"the init error could not be reported: {fault}")
        return
    if isinstance(verdict, Refused):
        log_line(f"the init error was refused with {refusal(verdict)}")


def _unbuffer_logs() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, write_through=True)
