"""The standard library's ``http.client``."""

from __future__ import annotations

import http.client

from bench.clients.job import Job, Step, given, run

_PREFIX = "/2018-06-01/runtime/invocation/"
_STREAMED = {
    "Content-Type": "application/octet-stream",
    "Lambda-Runtime-Function-Response-Mode": "streaming",
    "Transfer-Encoding": "chunked",
}


class Client:
    """One connection to the Runtime API."""

    def __init__(self, job: Job) -> None:
        self.connection = http.client.HTTPConnection(*job.host)

    def next(self) -> tuple[str, bytes]:
        """Poll; return the request id and the event."""
        self.connection.request("GET", _PREFIX + "next")
        answer = self.connection.getresponse()
        event = answer.read()
        return answer.headers["Lambda-Runtime-Aws-Request-Id"], event

    def echo(self, job: Job) -> None:
        """Answer an event with itself."""
        request_id, event = self.next()
        headers = {"Content-Type": "application/json"}
        self.connection.request("POST", f"{_PREFIX}{request_id}/response", body=job.turn(event), headers=headers)
        self.connection.getresponse().read()

    def stream(self, chunk: bytes, chunks: int) -> None:
        """Answer with chunks, each sent at once: it has no way to send several together."""
        request_id, _ = self.next()
        body = (chunk for _ in range(chunks))
        target = f"{_PREFIX}{request_id}/response"
        self.connection.request("POST", target, body=body, headers=_STREAMED, encode_chunked=True)
        self.connection.getresponse().read()


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
