"""A runtime, as a program, on the driver that the command line names: what the emulator's invocations ask for."""

from __future__ import annotations

import json
import os
import sys

from lambda_wire._events import Invocation
from lambda_wire._facade import Runtime
from tests.driver_parts import DRIVERS, Driver


async def serve(driver: Driver) -> None:
    """Answer for as long as there is a service."""
    async with driver.connect(os.environ["AWS_LAMBDA_RUNTIME_API"]) as runtime:
        while True:
            await answer(runtime, await runtime.next_invocation())


async def answer(runtime: Runtime, invocation: Invocation) -> None:
    event = json.loads(invocation.payload)
    match event["do"]:
        case "echo":
            said = await runtime.respond(invocation, invocation.payload)
        case "pid":
            said = await runtime.respond(invocation, b"%d" % os.getpid())
        case "error":
            said = await runtime.report_error(
                invocation, error_type="Function.X", payload=b'{"errorType": "Function.X"}'
            )
        case "whole":
            said = await runtime.respond(invocation, b"x" * event["size"], content_type="text/plain")
        case "pour":
            stream = await runtime.stream(invocation)
            for _ in range(event["size"] // 65_536):
                await stream.write(bytes(65_536))
            said = await stream.finish()
        case "stream" | "fail" as how:
            stream = await runtime.stream(invocation, b"one ")
            if how == "stream":
                await stream.write(b"two")
                said = await stream.finish()
            else:
                said = await stream.fail(error_type="Function.X", error_body=b"{}")
    print(event["do"], said, flush=True)


if __name__ == "__main__":
    (named,) = (driver for driver in DRIVERS if driver.name == sys.argv[1])
    named.run(lambda: serve(named))
