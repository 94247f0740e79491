"""What our roles make of the vectors: each is brought to where a story begins, then reads or writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from lambda_wire._errors import RemoteProtocolError
from lambda_wire._event_stream import encode_event_stream
from lambda_wire._events import (
    ConnectionClosed,
    Refused,
    Violation,
)
from lambda_wire._http_event import UrlRequest, function_url_event
from lambda_wire._invoke import InvokeConnection
from lambda_wire._invoke_answers import encode_message
from lambda_wire._invoke_events import InvokeRefused, InvokeViolation, OtherAsked
from lambda_wire._invoke_service import InvokeServiceConnection
from lambda_wire._lifecycle import Lifecycle, ManagedLifecycle, StandardLifecycle
from lambda_wire._runtime import RuntimeConnection
from lambda_wire._service import ServiceConnection
from lambda_wire._signals import Signal
from tests.vector_codecs import Reader, Rejected
from tests.vector_events import INVOKE, RUNTIME_API, Plain, Words, event, plain


class RuntimeEnd:
    """The runtime's end of the Runtime API."""

    def __init__(self, story: Plain) -> None:
        self.heard: list[Plain] = []
        self._lifecycle = StandardLifecycle(snap_start=True)
        self._connection = RuntimeConnection(host="h", lifecycle=self._lifecycle)
        for said in story.get("given", []):
            if said["event"] == "closed":
                self._connection.receive_data(b"")
                self._drain()
                self._connection = RuntimeConnection(host="h", lifecycle=self._lifecycle)
            elif said["event"] == "another connection":
                self._connection = RuntimeConnection(host="h", lifecycle=self._lifecycle)
            elif said["by"] == "runtime":
                self._connection.send(event(said, RUNTIME_API))
            else:
                self.feed(b"".join(said["wire"]))
        self.heard = []

    def _drain(self) -> None:
        while not isinstance(got := self._connection.next_event(), Signal):
            self.heard.append(plain(got, RUNTIME_API))
            if isinstance(got, ConnectionClosed):
                return

    def feed(self, data: bytes) -> None:
        self._connection.receive_data(data)
        self._drain()

    def finish(self, *, ends: bool) -> None:
        if ends:
            self.feed(b"")

    def write(self, events: list[Plain]) -> bytes:
        return b"".join(self._connection.send(event(said, RUNTIME_API)) for said in events)


class ServiceEnd:
    """The service's end of the Runtime API."""

    def __init__(self, story: Plain) -> None:
        self.heard: list[Plain] = []
        environment = story.get("environment", "standard")
        self._lifecycle: Lifecycle = (
            ManagedLifecycle()
            if environment == "managed"
            else StandardLifecycle(snap_start=environment == "snap-start")
        )
        self._connection = ServiceConnection(self._lifecycle)
        for said in story.get("given", []):
            self._said(said)
        self.heard = []

    def _said(self, said: Plain) -> None:
        if said["event"] == "deadline":
            assert isinstance(self._lifecycle, ManagedLifecycle)
            self._lifecycle.expire(said["id"])
        elif said["event"] in ("closed", "another connection"):
            if said["event"] == "closed":
                self._connection.abandon()
            self._connection = ServiceConnection(self._lifecycle)
        elif said["by"] == "runtime":
            self._connection.receive_data(b"".join(said["wire"]))
            while not isinstance(self._connection.next_event(), Signal):
                pass
        else:
            self._connection.send(event(said, RUNTIME_API))

    def feed(self, data: bytes) -> None:
        self._connection.receive_data(data)
        try:
            while not isinstance(got := self._connection.next_event(), Signal):
                if isinstance(got, Violation):
                    raise self._refused(got.reply)
                self.heard.append(plain(got, RUNTIME_API))
                if isinstance(got, ConnectionClosed):
                    return
        except RemoteProtocolError as fault:
            raise self._refused(fault.reply) from fault

    def _refused(self, refusal: Refused | None) -> Rejected:
        assert refusal is not None
        self._connection.send(refusal)
        return Rejected(plain(refusal, RUNTIME_API) | {"close": self._connection.must_close})

    def finish(self, *, ends: bool) -> None:
        if ends:
            self.feed(b"")

    def write(self, events: list[Plain]) -> bytes:
        return b"".join(self._connection.send(event(said, RUNTIME_API)) for said in events)


class CallerEnd:
    """The caller's end of Invoke and InvokeWithResponseStream."""

    def __init__(self, story: Plain) -> None:
        self.heard: list[Plain] = []
        self._connection = InvokeConnection(host="h")
        for said in story.get("given", []):
            self._connection.send(event(said, INVOKE))

    def feed(self, data: bytes) -> None:
        self._connection.receive_data(data)
        while not isinstance(got := self._connection.next_event(), Signal):
            self.heard.append(plain(got, INVOKE))
            if isinstance(got, ConnectionClosed):
                return

    def finish(self, *, ends: bool) -> None:
        if ends:
            self.feed(b"")

    def write(self, events: list[Plain]) -> bytes:
        return b"".join(self._connection.send(event(said, INVOKE)) for said in events)


class StreamEnd(CallerEnd):
    """The messages of a streamed answer alone; as they are written they have no HTTP around them."""

    def __init__(self, story: Plain) -> None:
        super().__init__({"given": [{"event": "InvokeWithResponseStream", "FunctionName": "f"}]})
        super().feed(b"HTTP/1.1 200 OK\r\n\r\n")
        self.heard = []

    def finish(self, *, ends: bool) -> None:
        super().finish(ends=ends)
        self.heard = [said for said in self.heard if said["event"] != "closed"]

    def write(self, events: list[Plain]) -> bytes:
        return b"".join(encode_event_stream(encode_message(event(said, INVOKE))) for said in events)


class InvokeServiceEnd:
    """The service's end of Invoke and InvokeWithResponseStream."""

    def __init__(self, story: Plain) -> None:
        self.heard: list[Plain] = []
        self._connection = InvokeServiceConnection()
        for said in story.get("given", []):
            if said["by"] == "caller":
                self._connection.receive_data(b"".join(said["wire"]))
                while not isinstance(self._connection.next_event(), Signal):
                    pass
            else:
                self._connection.send(event(said, INVOKE))

    def feed(self, data: bytes) -> None:
        self._connection.receive_data(data)
        try:
            while not isinstance(got := self._connection.next_event(), Signal):
                if isinstance(got, InvokeViolation):
                    raise self._refused(got.reply, INVOKE)
                self.hear(got)
                if isinstance(got, ConnectionClosed):
                    return
        except RemoteProtocolError as fault:
            raise self._refused(fault.reply, RUNTIME_API) from fault

    def hear(self, got: object) -> None:
        """Take note of what was asked."""
        self.heard.append(plain(got, INVOKE))

    def _refused(self, refusal: InvokeRefused | Refused | None, words: Words) -> Rejected:
        assert refusal is not None
        self._connection.send(refusal)
        return Rejected(plain(refusal, words) | {"close": self._connection.must_close})

    def finish(self, *, ends: bool) -> None:
        if ends:
            self.feed(b"")

    def write(self, events: list[Plain]) -> bytes:
        return b"".join(self._connection.send(event(said, INVOKE)) for said in events)


class UrlEnd(InvokeServiceEnd):
    """A function URL that makes an event of a request."""

    def __init__(self, story: Plain) -> None:
        super().__init__({})
        (self._known,) = story["given"]

    def hear(self, got: object) -> None:
        """Take note of the event."""
        assert isinstance(got, OtherAsked)
        request = UrlRequest(
            method=got.method,
            target=got.target,
            headers=got.headers,
            body=got.body,
            protocol=f"HTTP/{got.http_version}",
            source_ip=self._known["sourceIp"],
            request_id=self._known["requestId"],
            trace_id=self._known["traceId"],
            time_ms=self._known["timeEpoch"],
            domain_name=self._known["domainName"],
            port=self._known["port"],
        )
        self.heard.append(json.loads(json.dumps(function_url_event(request))))


READERS: Final[dict[tuple[str, str], Callable[[Plain], Reader]]] = {
    ("runtime", "runtime"): RuntimeEnd,
    ("service", "service"): ServiceEnd,
    ("managed-service", "service"): ServiceEnd,
    ("stream-messages", "caller"): StreamEnd,
    ("invoke-caller", "caller"): CallerEnd,
    ("invoke-service", "service"): InvokeServiceEnd,
    ("function-url-event", "service"): UrlEnd,
}
WRITERS: Final[dict[tuple[str, str], Callable[[Plain], RuntimeEnd | ServiceEnd | CallerEnd | InvokeServiceEnd]]] = {
    ("runtime", "runtime"): RuntimeEnd,
    ("service", "service"): ServiceEnd,
    ("managed-service", "service"): ServiceEnd,
    ("stream-messages", "service"): StreamEnd,
    ("invoke-caller", "caller"): CallerEnd,
    ("invoke-service", "service"): InvokeServiceEnd,
}
