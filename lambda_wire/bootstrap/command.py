"""``lambda-wire run``: its arguments and the environment variables that speak where they are silent."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from lambda_wire import _names as names
from lambda_wire._malformed import Malformed, quote
from lambda_wire.bootstrap import serve

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Final


__all__ = ["run"]

_USAGE: Final = 2
_MOST: Final = 1000
_LONGEST_MARGIN_MS: Final = 900_000


def run(new_parser: Callable[[], argparse.ArgumentParser], arguments: Sequence[str]) -> int:
    """Serve a handler and return the exit code.

    Args:
        new_parser: Makes the parser of this command. A lone handler needs none: argparse costs more than the rest.
        arguments: Those after the command's name.

    Raises:
        SystemExit: Help was printed (0), the arguments were wrong (2), or the handler called ``sys.exit``.
    """
    handler, concurrency, processes, margin_ms = "".join(arguments), 0, False, None
    if len(arguments) > 1 or handler.startswith("-"):
        options = _parsed(new_parser(), arguments)
        handler, concurrency, processes = options.handler, options.concurrency, options.processes
        margin_ms = options.cancel_before_deadline
    handler = handler or os.environ.get(names.ENV_HANDLER, "")
    address = os.environ.get(names.ENV_RUNTIME_API, "")
    if not handler:
        return _refuse(f"no handler: name it as MODULE.FUNCTION, or set {names.ENV_HANDLER}")
    if not address:
        return _refuse(
            f"{names.ENV_RUNTIME_API} is not set: Lambda and its emulators set it; to run a handler without them, use "
            f"lambda-wire local {handler}"
        )
    try:
        concurrency = concurrency or _said_concurrency()
    except ValueError as fault:
        return _refuse(f"{names.ENV_MAX_CONCURRENCY}: {fault}")
    if processes and concurrency > 1:
        from lambda_wire.bootstrap.processes import serve_in_processes

        margin = [] if margin_ms is None else ["--cancel-before-deadline", str(margin_ms)]
        return serve_in_processes(["run", "--concurrency", "1", *margin, "--", handler], concurrency)
    try:
        return serve(handler, address, concurrency=concurrency, margin_ms=margin_ms)
    except Malformed as fault:
        return _refuse(f"{names.ENV_RUNTIME_API}: {fault}")


def _said_concurrency() -> int:
    """Return how many invocations the service wants to have run at once."""
    return _number(os.environ.get(names.ENV_MAX_CONCURRENCY) or "1", least=1, most=_MOST)


def _parsed(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    from argparse import ArgumentTypeError

    def number(text: str, *, least: int, most: int) -> int:
        try:
            return _number(text, least=least, most=most)
        except ValueError as fault:
            raise ArgumentTypeError(str(fault)) from fault

    parser.add_argument(
        "handler",
        metavar="MODULE.FUNCTION",
        nargs="?",
        default="",
        help=f"what to run, such as app.handler; when not given, {names.ENV_HANDLER} says",
    )
    parser.add_argument(
        "--concurrency",
        type=lambda text: number(text, least=1, most=_MOST),
        default=0,
        metavar="N",
        help=f"run N invocations at once; when not given, {names.ENV_MAX_CONCURRENCY} says, else 1",
    )
    parser.add_argument(
        "--processes", action="store_true", help="run each of them in a process of its own instead of a thread"
    )
    parser.add_argument(
        "--cancel-before-deadline",
        type=lambda text: number(text, least=0, most=_LONGEST_MARGIN_MS),
        metavar="MS",
        help="cancel async handlers MS milliseconds before their deadline, so that their failure is still reported",
    )
    return parser.parse_args(arguments)


def _number(text: str, *, least: int, most: int) -> int:
    if text.isascii() and text.isdigit() and least <= int(text) <= most:
        return int(text)
    raise ValueError(f"expected a number from {least} to {most}, got {quote(text)}")


def _refuse(message: str) -> int:
    sys.stderr.write(f"lambda-wire: {message}\n")
    return _USAGE
