"""The floor: blocking sockets and bytes that are known beforehand. It checks nothing, so that nothing can be faster.

What the handler gives is not known beforehand: each chunk is framed when it is sent, joined with its frame where that
is small, beside it where it is large, whichever is faster. Each event has memory of its own, as a handler may keep it.
"""

from __future__ import annotations

import io
import re
import socket

from bench.clients.job import Job, Step, given, run

_NEXT = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: 127.0.0.1:9001\r\nUser-Agent: floor\r\n\r\n"
_POST = b"POST /2018-06-01/runtime/invocation/%b/response HTTP/1.1\r\nHost: 127.0.0.1:9001\r\nUser-Agent: floor\r\n"
_COUNTED = _POST + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_STREAMED = _POST + (
    b"Content-Type: application/octet-stream\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n"
    b"Transfer-Encoding: chunked\r\n"
    b"Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n"
)
_END = b"0\r\n\r\n"
_PRELUDE = b'{"statusCode":200,"headers":{"content-type":"text/plain"},"cookies":[]}' + bytes(8)
#: From here on the kernel gathers the parts faster than Python joins them.
_LARGE = 16_384
_LARGE_CHUNK = 8_192


class Floor:
    """One connection whose every answer has the shape of the first: only the request id is read from it."""

    def __init__(self, job: Job) -> None:
        self.wire = socket.create_connection(job.host)
        self.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.room = memoryview(bytearray(65_536))
        self._learn()

    def _learn(self) -> None:
        self.wire.sendall(_NEXT)
        got = b""
        while b"\r\n\r\n" not in got:
            got += self.wire.recv(65_536)
        self.start = got.index(b"\r\n\r\n") + 4
        self.id_at = got.index(b"8476a536")
        chunked = re.search(rb"\r\n\r\n([0-9a-f]+)\r\n", got) if b"chunked" in got else None
        counted = re.search(rb"Content-Length: (\d+)", got)
        self.tail = 7 if chunked else 0
        if chunked:
            self.start += len(chunked[1]) + 2
        self.size = int(chunked[1], 16) if chunked else int(counted[1]) if counted else 0
        left = self.start + self.size + self.tail - len(got)
        while left:
            left -= len(self.wire.recv(min(left, 65_536)))
        self.wire.sendall(_COUNTED % (got[self.id_at : self.id_at + 36], 2) + b"{}")
        self.wire.recv(65_536)

    def next(self) -> tuple[bytes, memoryview]:
        """Poll; return the request id and the event."""
        self.wire.sendall(_NEXT)
        got = self.wire.recv_into(self.room)
        request_id = bytes(self.room[self.id_at : self.id_at + 36])
        if got == self.start + self.size + self.tail:
            return request_id, self.room[self.start : self.start + self.size]
        event = io.BytesIO(bytes(self.size + self.tail)).getbuffer()  # a bytearray would be filled with zeros first
        at = got - self.start
        event[:at] = self.room[self.start : got]
        while at < len(event):
            at += self.wire.recv_into(event[at:], 0, socket.MSG_WAITALL)
        return request_id, event[: self.size]

    def echo(self, job: Job) -> None:
        """Answer an event with itself."""
        request_id, event = self.next()
        answer = job.turn(event)
        head = _COUNTED % (request_id, len(answer))
        if len(answer) < _LARGE:
            self.wire.sendall(head + answer)
        else:
            sent = self.wire.sendmsg([head, answer])
            if sent < len(head) + len(answer):
                self.wire.sendall(memoryview(answer)[sent - len(head) :])
        self.wire.recv_into(self.room)

    def stream(self, chunk: bytes, chunks: int) -> None:
        """Answer with chunks, each sent at once."""
        request_id, _ = self.next()
        wire, head = self.wire, b"%x\r\n" % len(chunk)
        wire.sendall(_STREAMED % request_id)
        if len(chunk) < _LARGE_CHUNK:
            for _ in range(chunks):
                wire.sendall(b"".join((head, chunk, b"\r\n")))
        else:
            whole = len(head) + len(chunk) + 2
            for _ in range(chunks):
                sent = wire.sendmsg((head, chunk, b"\r\n"))
                if sent < whole:
                    wire.sendall(b"".join((head, chunk, b"\r\n"))[sent:])
        wire.sendall(_END)
        wire.recv_into(self.room)

    def joined(self, ready: list[bytes]) -> None:
        """Answer with chunks of one size that are ready together, in one send."""
        request_id, _ = self.next()
        self.wire.sendall(_STREAMED % request_id)
        head = b"%x\r\n" % len(ready[0])
        self.wire.sendall(b"".join((head, (b"\r\n" + head).join(ready), b"\r\n")))
        self.wire.sendall(_END)
        self.wire.recv_into(self.room)

    def first(self, *chunks: bytes) -> None:
        """Answer with chunks that leave with the head."""
        request_id, _ = self.next()
        self.wire.sendall(_STREAMED % request_id + b"".join([b"%x\r\n%b\r\n" % (len(data), data) for data in chunks]))
        self.wire.sendall(_END)
        self.wire.recv_into(self.room)


def main() -> None:
    """Do the job. Chunks that are ready ``together`` are sent one by one: this is what others save by not doing so.

    For many invocations at once it has one connection, as one blocking loop is the least that Python can do.
    """
    told = given()
    floor = Floor(told)

    def make(job: Job) -> Step:
        chunk, ready = job.chunk, [job.chunk] * job.chunks
        if job.work in ("echo", "runtime", "slots", "async-slots"):
            return lambda: floor.echo(job)
        if job.work == "first":
            return lambda: floor.first(chunk)
        if job.work == "http":
            return lambda: floor.first(_PRELUDE, chunk)
        if job.work == "joined":
            return lambda: floor.joined(ready)
        return lambda: floor.stream(chunk, job.chunks)

    run(told, make)


if __name__ == "__main__":
    main()
