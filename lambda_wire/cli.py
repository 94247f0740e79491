"""The command line: ``lambda-wire COMMAND ...``, the same as ``python -m lambda_wire COMMAND ...``.

Exit codes: 0 fine, 1 the thing asked about failed, 2 usage. An error is one line on stderr that says what to do.

A command is a function that takes the arguments after its name. It imports what it needs when it is chosen: the cold
start of a function on Lambda passes here, and argparse alone costs more than all that ``run`` needs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Final, NoReturn, TypeAlias


__all__ = ["main"]

_Command: TypeAlias = Callable[[Sequence[str]], int]

_PROGRAM: Final = "lambda-wire"
_USAGE: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code.

    Args:
        arguments: Those after the program's name; ``sys.argv``'s when not given.

    Raises:
        SystemExit: Help was printed (0), the arguments were wrong (2), or a handler called ``sys.exit``.
    """
    name, *others = list(sys.argv[1:] if arguments is None else arguments) or [""]
    if name in ("-h", "--help"):
        sys.stdout.write(_help())
        return 0
    if name == "--version":
        from importlib.metadata import version

        sys.stdout.write(f"{_PROGRAM} {version(_PROGRAM)}\n")
        return 0
    if name not in _COMMANDS:
        wrong = f"there is no command {name!r}" if name else "no command was given"
        return _refuse(f"{wrong}; the commands are: {', '.join(_COMMANDS)} (see {_PROGRAM} --help)")
    _, command = _COMMANDS[name]
    try:
        return command(others)
    except KeyboardInterrupt:
        return 1


def _run(arguments: Sequence[str]) -> int:
    import gc

    collects = gc.isenabled()
    gc.disable()  # what is loaded here is no garbage, and to look through it again and again is a tenth of a cold start
    try:
        from lambda_wire.bootstrap.command import run
    finally:
        gc.freeze()
        gc.unfreeze()  # into the oldest generation: nor is it looked through when the handler's module is loaded
        if collects:
            gc.enable()
    return run(lambda: _parser("run"), arguments)


def _local(arguments: Sequence[str]) -> int:
    from lambda_wire.local import run

    return run(_parser("local"), arguments)


def _invoke(arguments: Sequence[str]) -> int:
    from lambda_wire.invoke import run

    return run(_parser("invoke"), arguments)


def _decode(arguments: Sequence[str]) -> int:
    from lambda_wire.decode import run

    return run(_parser("decode"), arguments)


_COMMANDS: Final[dict[str, tuple[str, _Command]]] = {
    "run": ("serve a Python handler on Lambda or under an emulator", _run),
    "local": ("serve a handler, or any other runtime, on this machine", _local),
    "invoke": ("call a function, and show what arrives as it arrives", _invoke),
    "decode": ("explain captured bytes, and name the first rule that they break", _decode),
}


def _parser(command: str) -> argparse.ArgumentParser:
    import argparse

    from lambda_wire._shown import one_line

    class OneLineParser(argparse.ArgumentParser):
        """Says what is wrong in one line."""

        def error(self, message: str) -> NoReturn:
            """End the program."""
            self.exit(_USAGE, f"{self.prog}: {one_line(message)} (see {self.prog} --help)\n")

    return OneLineParser(prog=f"{_PROGRAM} {command}", description=_COMMANDS[command][0])


def _help() -> str:
    width = max(len(name) for name in _COMMANDS)
    lines = [f"  {name:<{width}}  {summary}\n" for name, (summary, _) in _COMMANDS.items()]
    return f"usage: {_PROGRAM} COMMAND ...\n\n{''.join(lines)}\n{_PROGRAM} COMMAND --help says more about each.\n"


def _refuse(message: str) -> int:
    sys.stderr.write(f"{_PROGRAM}: {message}\n")
    return _USAGE
