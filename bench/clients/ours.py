"""lambda_wire's blocking driver."""

from __future__ import annotations

from bench.clients.job import Job, Step, given, run
from lambda_wire.sync import Runtime, connect


def step_of(runtime: Runtime, job: Job) -> Step:
    """Return what does the job once."""
    chunk = job.chunk
    ready = [chunk] * job.chunks

    def echo() -> None:
        invocation = runtime.next_invocation()
        runtime.respond(invocation, job.turn(invocation.payload))

    def stream() -> None:
        response = runtime.stream(runtime.next_invocation())
        for _ in range(job.chunks):
            response.write(chunk)
        response.finish()

    def together() -> None:
        response = runtime.stream(runtime.next_invocation())
        response.write(*ready)
        response.finish()

    def first() -> None:
        runtime.stream(runtime.next_invocation(), chunk).finish()

    return {"echo": echo, "stream": stream, "together": together, "first": first}[job.work]


def main() -> None:
    """Do the job."""
    job = given()
    with connect(job.address) as runtime:
        run(job, lambda job: step_of(runtime, job))


if __name__ == "__main__":
    main()
