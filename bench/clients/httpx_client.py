"""httpx, as its documentation uses it: a client that is kept, and requests on it."""

from __future__ import annotations

import httpx

from bench.clients.job import Job, Step, given, run

_STREAMED = {
    "Content-Type": "application/octet-stream",
    "Lambda-Runtime-Function-Response-Mode": "streaming",
    "Transfer-Encoding": "chunked",
}


class Client:
    """A pool of connections to the Runtime API, of which one is used."""

    def __init__(self, job: Job) -> None:
        base = f"http://{job.address}/2018-06-01/runtime/invocation/"
        self.client = httpx.Client(base_url=base, timeout=None, trust_env=False)

    def next(self) -> tuple[str, bytes]:
        """Poll; return the request id and the event."""
        answer = self.client.get("next")
        return answer.headers["Lambda-Runtime-Aws-Request-Id"], answer.content

    def echo(self, job: Job) -> None:
        """Answer an event with itself."""
        request_id, event = self.next()
        headers = {"Content-Type": "application/json"}
        self.client.post(f"{request_id}/response", content=bytes(job.turn(event)), headers=headers)

    def stream(self, chunk: bytes, chunks: int) -> None:
        """Answer with chunks, each sent at once: it has no way to send several together."""
        request_id, _ = self.next()
        body = (chunk for _ in range(chunks))
        self.client.post(f"{request_id}/response", content=body, headers=_STREAMED)


def main() -> None:
    """Do the job."""
    told = given()
    client = Client(told)

    def make(job: Job) -> Step:
        chunk, chunks = job.chunk, job.chunks if job.work == "stream" else 1
        if job.work == "echo":
            return lambda: client.echo(job)
        return lambda: client.stream(chunk, chunks)

    run(told, make)


if __name__ == "__main__":
    main()
