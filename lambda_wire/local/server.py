"""The embedded Lambda: one port for callers, environments behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from lambda_wire._invoke_events import InvokeAsked, OtherAsked
from lambda_wire.local.call import Call
from lambda_wire.local.callers import Caller, serve_caller
from lambda_wire.local.environment import Environment
from lambda_wire.local.function_url import answer_url
from lambda_wire.local.invoke_api import answer_invoke
from lambda_wire.local.listener import Listener
from lambda_wire.local.pool import Pool
from lambda_wire.local.report import Report
from lambda_wire.local.worker import Launch

__all__ = ["MAX_TIMEOUT_S", "EmbeddedLambda"]

MAX_TIMEOUT_S: Final = 1_000_000
"""The longest timeout that is served: a runtime is told when it passes."""


class EmbeddedLambda:
    """A function on a port: Invoke on its path, the function URL on every other.

    Args:
        launch: Starts a runtime; called for each environment.
        timeout_s: Of the function.
        environments: How many runtimes there may be.
        concurrency: How many callers each serves at once. Above 1, environments are as managed instances are: see
            ``lambda_wire.local.modes``. What ``launch`` starts has to know of it.
        simulate_bandwidth: Whether streams are as slow as AWS's: 6 MiB at once, then 2 MiB/s.
        report: Where to say what happens.

    Raises:
        ValueError: There would be no environment, no slot in it, or no time, or more than ``MAX_TIMEOUT_S``.
    """

    def __init__(
        self,
        launch: Launch,
        *,
        report: Report,
        timeout_s: float = 900.0,
        environments: int = 1,
        concurrency: int = 1,
        simulate_bandwidth: bool = False,
    ) -> None:
        if environments < 1 or not 0 < timeout_s <= MAX_TIMEOUT_S:
            raise ValueError(
                f"expected environments and seconds, at most {MAX_TIMEOUT_S},"
                f" got {environments} environments and {timeout_s} s"
            )
        if concurrency < 1:
            raise ValueError(f"expected a concurrency of 1 or more, got {concurrency}")
        self._report = report
        made = [
            Environment(timeout_s, launch, report, concurrency=concurrency, simulate_bandwidth=simulate_bandwidth)
            for _ in range(environments)
        ]
        self._pool = Pool(made, report, slots=concurrency)
        self._listener: Listener | None = None
        self._host = ""

    @property
    def address(self) -> str:
        """``host:port`` of the callers' port."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self.port}"

    @property
    def port(self) -> int:
        """Where callers are served; 0 before ``start``."""
        return self._listener.port if self._listener is not None else 0

    @property
    def submit(self) -> Callable[[Call], object]:
        """Runs a call without HTTP."""
        return self._pool.submit

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Begin to serve callers. The first of them starts a runtime.

        Raises:
            OSError: The address cannot be had.
        """
        self._host = host
        self._listener = await Listener.open(host, port, self._serve)

    async def stop(self) -> None:
        """Stop everything; afterwards nothing that was started is left."""
        await self._pool.stop()
        if self._listener is not None:
            await self._listener.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve_caller(reader, writer, self._invoke, self._answer_url, self._report)

    async def _invoke(self, asked: InvokeAsked, caller: Caller) -> None:
        await answer_invoke(asked, caller, self._pool)

    async def _answer_url(self, request: OtherAsked, caller: Caller) -> None:
        await answer_url(request, caller, self._pool, self._report, self.port)
