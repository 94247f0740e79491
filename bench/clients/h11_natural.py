"""h11 as its documentation uses it: one connection, one socket, an event at a time."""

from __future__ import annotations

import socket

import h11

from bench.clients.job import Job, Step, given, run

_PREFIX = b"/2018-06-01/runtime/invocation/"
_HOST = (b"host", b"127.0.0.1:9001")
_AGENT = (b"user-agent", b"h11")
_STREAMED = [
    (b"content-type", b"application/octet-stream"),
    (b"lambda-runtime-function-response-mode", b"streaming"),
    (b"transfer-encoding", b"chunked"),
    (b"trailer", b"lambda-runtime-function-error-type, lambda-runtime-function-error-body"),
]


class Client:
    """One connection to the Runtime API."""

    def __init__(self, job: Job) -> None:
        self.wire = socket.create_connection(job.host)
        self.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = h11.Connection(h11.CLIENT)

    def send(self, event: h11.Event) -> None:
        """Send what an event is on the wire, if anything."""
        if data := self.connection.send(event):
            self.wire.sendall(data)

    def post(self, request_id: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        """Begin to answer an invocation."""
        target = _PREFIX + request_id + b"/response"
        self.send(h11.Request(method=b"POST", target=target, headers=[_HOST, _AGENT, *headers]))

    def receive(self) -> tuple[h11.Response, bytes]:
        """Read a response, and make ready for the next request."""
        head, body = None, []
        while True:
            event = self.connection.next_event()
            if event is h11.NEED_DATA:
                self.connection.receive_data(self.wire.recv(65_536))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body.append(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self.connection.start_next_cycle()
                assert head is not None
                return head, b"".join(body)

    def next(self) -> tuple[bytes, bytes]:
        """Poll; return the request id and the event."""
        self.send(h11.Request(method=b"GET", target=_PREFIX + b"next", headers=[_HOST, _AGENT]))
        self.send(h11.EndOfMessage())
        head, event = self.receive()
        return dict(head.headers)[b"lambda-runtime-aws-request-id"], event

    def echo(self, job: Job) -> None:
        """Answer an event with itself."""
        request_id, event = self.next()
        answer = job.turn(event)
        length = (b"content-length", b"%d" % len(answer))
        self.post(request_id, [(b"content-type", b"application/json"), length])
        self.send(h11.Data(data=bytes(answer)))
        self.send(h11.EndOfMessage())
        self.receive()

    def stream(self, chunk: bytes, chunks: int) -> None:
        """Answer with chunks, each sent at once."""
        request_id, _ = self.next()
        self.post(request_id, _STREAMED)
        for _ in range(chunks):
            self.send(h11.Data(data=chunk))
        self.send(h11.EndOfMessage())
        self.receive()

    def together(self, chunk: bytes, chunks: int) -> None:
        """Answer with chunks that are ready together."""
        request_id, _ = self.next()
        self.post(request_id, _STREAMED)
        self.wire.sendall(b"".join([self.connection.send(h11.Data(data=chunk)) or b"" for _ in range(chunks)]))
        self.send(h11.EndOfMessage())
        self.receive()


def main() -> None:
    """Do the job."""
    told = given()
    client = Client(told)

    def make(job: Job) -> Step:
        chunk = job.chunk
        steps: dict[str, Step] = {
            "echo": lambda: client.echo(job),
            "stream": lambda: client.stream(chunk, job.chunks),
            "together": lambda: client.together(chunk, job.chunks),
            "first": lambda: client.stream(chunk, 1),
        }
        return steps[job.work]

    run(told, make)


if __name__ == "__main__":
    main()
