"""lambda_wire's asynchronous drivers: on asyncio, on uvloop and on trio, as the job says."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from bench.clients.job import AsyncStep, Job, given, run_async

if TYPE_CHECKING:
    from lambda_wire.asyncio import Runtime


def step_of(runtime: Runtime, job: Job) -> AsyncStep:
    """Return what does the job once."""
    chunk = job.chunk
    ready = [chunk] * job.chunks

    async def echo() -> None:
        invocation = await runtime.next_invocation()
        await runtime.respond(invocation, job.turn(invocation.payload))

    async def stream() -> None:
        response = await runtime.stream(await runtime.next_invocation())
        for _ in range(job.chunks):
            await response.write(chunk)
        await response.finish()

    async def together() -> None:
        response = await runtime.stream(await runtime.next_invocation())
        await response.write(*ready)
        await response.finish()

    async def first() -> None:
        response = await runtime.stream(await runtime.next_invocation(), chunk)
        await response.finish()

    return {"echo": echo, "stream": stream, "together": together, "first": first}[job.work]


async def do(job: Job) -> None:
    """Do the job, on whichever loop runs this."""
    driver = importlib.import_module("lambda_wire.trio" if job.loop == "trio" else "lambda_wire.asyncio")
    async with driver.connect(job.address) as runtime:
        await run_async(job, lambda job: step_of(runtime, job))


def main() -> None:
    """Do the job on the loop that it names."""
    job = given()
    if job.loop == "trio":
        import trio

        trio.run(do, job)
        return
    import asyncio

    if job.loop == "uvloop":
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(do(job))
        return
    asyncio.run(do(job))


if __name__ == "__main__":
    main()
