"""The embedded Lambda: what ``lambda-wire local`` runs. It streams as AWS does, on this machine, around any runtime."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
from collections.abc import Sequence
from typing import Final

from lambda_wire.local.server import EmbeddedLambda
from lambda_wire.local.worker import child_process

__all__ = ["run"]

_DESCRIPTION: Final = "Serve a function on one port: Invoke on its path, the function URL on every other."


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
    # A foreign runtime is told the last word of its command as its handler, as the emulator does it.
    handler = command[-1] if command else options.handler
    words = command or [sys.executable, "-m", "lambda_wire", "run", handler]
    if shutil.which(words[0]) is None:
        return _fail(f"there is no command {words[0]!r}: a runtime is named after --, a handler as MODULE.FUNCTION")
    embedded = EmbeddedLambda(
        child_process(words, handler=handler), timeout_s=options.timeout, environments=options.environments
    )
    return asyncio.run(_serve(embedded, options.host, options.port))


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = _DESCRIPTION
    parser.usage = "%(prog)s [options] MODULE.FUNCTION\n       %(prog)s [options] -- COMMAND ..."
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=9000, help="port for callers, 0 for any (default: %(default)s)")
    parser.add_argument("--timeout", type=_seconds, default=900.0, metavar="SECONDS", help="the function's timeout")
    parser.add_argument("--environments", type=_count, default=1, metavar="N", help="callers served at once")
    parser.add_argument("handler", nargs="?", default="", metavar="MODULE.FUNCTION", help="the handler to serve")


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 65_536:
        raise ValueError
    return port


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 1e6:
        raise ValueError
    return seconds


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 1000:
        raise ValueError
    return count


def _fail(message: str) -> int:
    print(f"lambda-wire local: {message}", file=sys.stderr)
    return 1


async def _serve(embedded: EmbeddedLambda, host: str, port: int) -> int:
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted.set)
    try:
        await embedded.start(host, port)
    except OSError as fault:
        return _fail(f"cannot listen on {host}:{port} ({fault.strerror}): choose another --port")
    try:
        print(f"Listening on http://{embedded.address}/    try: curl -N http://{embedded.address}/", flush=True)
        await interrupted.wait()
    finally:
        await embedded.stop()
    return 0
