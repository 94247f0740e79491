"""What runs the function inside an execution environment: a child process, or whatever else speaks the Runtime API."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from lambda_wire import _names as names
from lambda_wire.local import failures
from lambda_wire.local.output import Output
from lambda_wire.local.terminal import Terminal

__all__ = ["FUNCTION_NAME", "ChildProcess", "Launch", "Worker", "child_environment", "child_process"]

FUNCTION_NAME: Final = "function"
"""What the runtime is told; callers may use any name."""

_GRACE_S: Final = 0.5
_DEFAULT_REGION: Final = "us-east-1"
#: What would tell the child of another Lambda, or of a mode that is not served here.
_NOT_INHERITED: Final = (names.ENV_TRACE_ID, names.ENV_RUNTIME_API, names.ENV_MAX_CONCURRENCY)


class Worker(Protocol):
    """A runtime that was started for one environment."""

    @property
    def ended(self) -> asyncio.Future[str]:
        """Done when it has ended; the result says how, as the service would."""
        ...

    def drain(self) -> None:
        """Hear all that it has written so far."""

    async def stop(self) -> None:
        """Ask it to end, and see to it that it does."""

    async def kill(self) -> None:
        """End it at once."""


class Launch(Protocol):
    """How to start a worker."""

    async def __call__(self, address: str, hear: Callable[[bytes], None]) -> Worker:
        """Start one that uses the Runtime API at ``address``.

        Args:
            address: ``host:port``.
            hear: To be given what it writes, all of it before ``ended`` is done.

        Raises:
            OSError: It cannot be started.
        """
        ...


def child_environment(
    inherited: Mapping[str, str], *, address: str, handler: str, task_root: str, concurrency: int = 1
) -> dict[str, str]:
    """Return the variables that a runtime finds. What the user has set for his function wins, credentials above all.

    Source: AWS docs, "Using Lambda environment variables"; the emulator of aws-sam-cli 1.170.0, observed 2026-11.
    """
    kept = {name: value for name, value in inherited.items() if name not in _NOT_INHERITED}
    region = kept.get(names.ENV_REGION) or kept.get(names.ENV_DEFAULT_REGION) or _DEFAULT_REGION
    defaults = {
        names.ENV_TASK_ROOT: task_root,
        names.ENV_REGION: region,
        names.ENV_DEFAULT_REGION: region,
        names.ENV_FUNCTION_MEMORY_SIZE: "3008",
        names.ENV_LOG_GROUP_NAME: f"/aws/lambda/{FUNCTION_NAME}",
        names.ENV_LOG_STREAM_NAME: "$LATEST",
        "PYTHONUNBUFFERED": "1",
    }
    ours = {
        names.ENV_RUNTIME_API: address,
        names.ENV_HANDLER: handler,
        names.ENV_FUNCTION_NAME: FUNCTION_NAME,
        names.ENV_FUNCTION_VERSION: "$LATEST",
        names.ENV_INITIALIZATION_TYPE: "on-demand",
    }
    if concurrency > 1:
        ours[names.ENV_INITIALIZATION_TYPE] = "lambda-managed-instances"
        ours[names.ENV_MAX_CONCURRENCY] = str(concurrency)
    return defaults | kept | ours


def child_process(command: Sequence[str], *, handler: str, terminal: Terminal, concurrency: int = 1) -> Launch:
    """Return how to start ``command`` as a runtime, in the current directory; what it writes goes to the terminal.

    Args:
        command: Its words.
        handler: What it is told to be its handler.
        terminal: Where it writes.
        concurrency: How many invocations it is told to run at once.
    """

    async def launch(address: str, hear: Callable[[bytes], None]) -> Worker:
        environment = child_environment(
            os.environ, address=address, handler=handler, task_root=os.getcwd(), concurrency=concurrency
        )
        output = Output(terminal, hear)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output.write_end,
                stderr=output.write_end,
                env=environment,
                start_new_session=True,
            )
        except BaseException:
            output.close()
            raise
        finally:
            output.release()
        return ChildProcess(process, output)

    return launch


class ChildProcess:
    """A runtime in a process group of its own."""

    def __init__(self, process: asyncio.subprocess.Process, output: Output) -> None:
        self._process = process
        self._output = output
        self._ended = asyncio.ensure_future(self._wait())

    @property
    def ended(self) -> asyncio.Future[str]:
        """Done when the process has ended."""
        return self._ended

    async def _wait(self) -> str:
        returncode = await self._process.wait()
        self._signal_group(signal.SIGKILL)  # what it started must not outlive it: it may hold our connections
        self._output.close()
        return failures.describe_exit(returncode)

    def drain(self) -> None:
        """Hear all that it has written so far."""
        self._output.drain()

    async def stop(self) -> None:
        """Ask the group to end, and kill it half a second later."""
        self._signal_group(signal.SIGTERM)
        await asyncio.wait({self._ended}, timeout=_GRACE_S)
        await self.kill()

    async def kill(self) -> None:
        """Kill the group at once, as the service does."""
        self._signal_group(signal.SIGKILL)
        await self._ended

    def _signal_group(self, number: int) -> None:
        if sys.platform != "win32":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
