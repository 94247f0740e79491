"""The embedded Lambda: what ``lambda-wire local`` runs. It streams as AWS does, on this machine, around any runtime."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import os
import shutil
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Final

from lambda_wire.local.report import Report
from lambda_wire.local.server import MAX_TIMEOUT_S, EmbeddedLambda
from lambda_wire.local.terminal import Terminal
from lambda_wire.local.worker import child_process

__all__ = ["run"]

_DESCRIPTION: Final = "Serve a function on one port: Invoke on its path, the function URL on every other."
_MAX_PORT: Final = 65_535
_MOST: Final = 1000


def run(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    """Serve until interrupted; return the exit code.

    Args:
        parser: Of the command; its arguments are added here.
        arguments: ``[options] MODULE.FUNCTION``, or ``[options] -- COMMAND ...``.

    Raises:
        SystemExit: Help was printed (0), or the arguments were wrong (2).
    """
    at = arguments.index("--") if "--" in arguments else len(arguments)
    command = arguments[at + 1 :]
    _add_options(parser)
    options = parser.parse_args(arguments[:at])
    if bool(options.handler) == bool(command):
        parser.error("name either a handler, as MODULE.FUNCTION, or a runtime's command, after --")
    if options.handler and not all(options.handler.rpartition(".")):
        parser.error(f"{options.handler!r} is no handler: name it as MODULE.FUNCTION, such as app.handler")
    # A foreign runtime is told the last word of its command as its handler, as the emulator does it.
    handler = command[-1] if command else options.handler
    # The handler's modules are found once it is loaded, not before: none of them may stand in for one of Python's own.
    words = command or [sys.executable, "-P", "-m", "lambda_wire", "run", handler]
    if shutil.which(words[0]) is None:
        return _fail(f"there is no command {words[0]!r}: a runtime is named after --, a handler as MODULE.FUNCTION")
    terminal = Terminal.stdout()
    embedded = EmbeddedLambda(
        child_process(words, handler=handler, terminal=terminal, concurrency=options.concurrency),
        report=Report(terminal.write_line),
        timeout_s=options.timeout,
        environments=options.environments,
        concurrency=options.concurrency,
        simulate_bandwidth=options.simulate_bandwidth,
    )
    try:
        return asyncio.run(_serve(embedded, terminal, options.host, options.port))
    finally:
        terminal.close()


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = _DESCRIPTION
    parser.usage = "%(prog)s [options] MODULE.FUNCTION\n       %(prog)s [options] -- COMMAND ..."
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=9000, help="port for callers, 0 for any (default: %(default)s)")
    parser.add_argument("--timeout", type=_seconds, default=900.0, metavar="SECONDS", help="the function's timeout")
    parser.add_argument("--environments", type=_count, default=1, metavar="N", help="runtimes started at most")
    parser.add_argument(
        "--concurrency",
        type=_count,
        default=1,
        metavar="N",
        help="callers each serves at once, as managed instances",
    )
    parser.add_argument(
        "--simulate-bandwidth", action="store_true", help="stream as AWS does: 6 MB at full speed, then 2 MB/s"
    )
    parser.add_argument("handler", nargs="?", default="", metavar="MODULE.FUNCTION", help="the handler to serve")


def _port(text: str) -> int:
    with contextlib.suppress(ValueError):
        if 0 <= (port := int(text)) <= _MAX_PORT:
            return port
    raise argparse.ArgumentTypeError(f"a port is 0 to {_MAX_PORT}, got {text!r}")


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < (seconds := float(text)) <= MAX_TIMEOUT_S:
            return seconds
    raise argparse.ArgumentTypeError(f"a timeout is a number of seconds above 0, at most {MAX_TIMEOUT_S}, got {text!r}")


def _count(text: str) -> int:
    with contextlib.suppress(ValueError):
        if 1 <= (count := int(text)) <= _MOST:
            return count
    raise argparse.ArgumentTypeError(f"1 to {_MOST}, got {text!r}")


def _fail(message: str) -> int:
    print(f"lambda-wire local: {message}", file=sys.stderr)
    return 1


async def _serve(embedded: EmbeddedLambda, terminal: Terminal, host: str, port: int) -> int:
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup means it
            loop.add_signal_handler(number, interrupted.set)
    try:
        await embedded.start(host, port)
    except (OSError, UnicodeError) as fault:
        return _fail(_describe(fault, host, port))
    try:
        terminal.write_line(f"Listening on http://{embedded.address}/    try: curl -N http://{embedded.address}/")
        await interrupted.wait()
    finally:
        await embedded.stop()
    return 0


def _describe(fault: OSError | UnicodeError, host: str, port: int) -> str:
    """Return why the address cannot be had, and what to choose in its place."""
    if isinstance(fault, UnicodeError | socket.gaierror):  # no host name at all, or none that is known
        return f"there is no host {host!r}: choose another --host"
    option = "--port" if fault.errno in (errno.EADDRINUSE, errno.EACCES) else "--host"
    reason = os.strerror(fault.errno) if fault.errno else str(fault)  # asyncio's own words repeat the address
    return f"cannot listen on {host}:{port} ({reason}): choose another {option}"
