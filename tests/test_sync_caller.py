"""The blocking caller: every kind of call, over real sockets, to the Lambdas of this package; signed as AWS asks."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import importlib
import json
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest

from lambda_wire import sync
from lambda_wire._errors import Busy, CallFailed, CallRefused, ConnectionLost, LocalProtocolError
from lambda_wire._invoke_events import InvokeAccepted, InvokeAsked, InvokeFailed, InvokeRefused, PayloadChunk
from lambda_wire._invoke_service import InvokeServiceConnection
from lambda_wire._malformed import Malformed
from lambda_wire._responses import HttpResponse, StreamingResponse
from lambda_wire._signals import Signal
from lambda_wire._types import Headers
from lambda_wire.bootstrap import Handler
from lambda_wire.exchanges import Sign
from lambda_wire.testing import LocalLambda
from tests.aws_sdk import lambda_client, log_of
from tests.real_parts import need_module
from tests.running_local import PATIENCE_S, running_local
from tests.test_sync import service

MIB: Final = 1024 * 1024
ARN: Final = "arn:aws:lambda:us-east-1:123456789012:function:my-function"


@contextmanager
def caller_of(handler: Handler) -> Iterator[sync.Caller]:
    """A caller, and behind it a Lambda that runs ``handler`` in a thread of this process."""
    with LocalLambda(handler) as fn, sync.connect_caller(fn.url) as caller:
        yield caller


class Service:
    """One accepted connection, spoken to call by call from a script."""

    def __init__(self, listener: socket.socket) -> None:
        self.wire = listener.accept()[0]
        self.connection = InvokeServiceConnection()

    def hear(self) -> object:
        while isinstance(event := self.connection.next_event(), Signal):
            self.connection.receive_data(self.wire.recv(65_536))
        return event

    def say(self, *answers: InvokeAccepted | PayloadChunk | InvokeRefused | InvokeFailed) -> None:
        for answer in answers:
            self.wire.sendall(self.connection.send(answer))


@contextmanager
def caller_to(script: Callable[[socket.socket], None]) -> Iterator[sync.Caller]:
    """A caller, and behind it a script."""
    with service(script) as address, sync.connect_caller(f"http://{address}") as caller:
        yield caller


# -- whole answers


def test_a_value() -> None:
    """Payload in, payload out; version and ids with it. No payload is an empty object."""
    contexts: list[Any] = []

    def handler(event: object, context: object) -> object:
        contexts.append(context)
        return {"got": event}

    with caller_of(handler) as caller:
        answer = caller.invoke("any", b'{"a": [1, "\xc3\xa9"]}')
        assert json.loads(answer.payload) == {"got": {"a": [1, "é"]}}
        assert (answer.status, answer.function_error, answer.log_result) == (200, "", "")
        assert (answer.content_type, answer.executed_version) == ("application/json", "$LATEST")
        assert answer.request_id == contexts[0].aws_request_id
        assert json.loads(caller.invoke("any").payload) == {"got": {}}


def test_a_function_that_fails() -> None:
    """An answer, not an exception: its document is the payload."""

    def fail(_: object, __: object) -> object:
        raise ValueError("no")

    with caller_of(fail) as caller:
        answer = caller.invoke("any", b"1", log_type="Tail")
    assert (answer.status, answer.function_error) == (200, "Unhandled")
    assert json.loads(answer.payload)["errorType"] == "ValueError"
    assert log_of(answer.log_result).splitlines()[-1].endswith("\tStatus: error")


def test_event_and_dry_run() -> None:
    """202 before the function has run, 204 without; both on the one connection."""
    release, called = threading.Event(), threading.Semaphore(0)
    calls: list[object] = []

    def handler(event: object, _: object) -> object:
        assert release.wait(PATIENCE_S)
        calls.append(event)
        called.release()
        return None

    with caller_of(handler) as caller:
        answer = caller.invoke("any", b'"later"', invocation_type="Event")
        assert (answer.status, answer.payload) == (202, b"")
        wire = caller._wire._connected()
        answer = caller.invoke("any", b'"never"', invocation_type="DryRun")
        assert (answer.status, answer.payload) == (204, b"")
        assert caller._wire._connected() is wire
        release.set()
        assert called.acquire(timeout=PATIENCE_S)
        assert caller.invoke("any", b'"now"').payload == b"null"
    assert calls == ["later", "now"]


@pytest.mark.parametrize("streaming", [False, True])
def test_whatever_else_is_said_of_a_call(streaming: bool) -> None:
    """ARN, qualifier, tenant, client context and other fields reach the service, or the function."""
    contexts: list[Any] = []

    def handler(_: object, context: object) -> object:
        contexts.append(context)
        return None

    with caller_of(handler) as caller:
        call: Callable[..., Any] = caller.invoke_with_response_stream if streaming else caller.invoke
        answer = call(
            ARN,
            b"{}",
            qualifier="$LATEST",
            client_context='{"custom": {"ключ": "é"}}',
            tenant_id="blue",
            headers=(("x-amzn-requestid", "my-id"),),
            timeout=PATIENCE_S,
        )
        if streaming:
            assert list(answer) == [b"null"]
            answer = answer.accepted
        assert answer.request_id == "my-id"
    (context,) = contexts
    assert (context.aws_request_id, context.tenant_id) == ("my-id", "blue")
    assert context.client_context.custom == {"ключ": "é"}


# -- streamed answers


def test_each_chunk_is_seen_before_the_next_is_written() -> None:
    """The function waits until its caller has the chunk before; then how it ended, with the log."""
    seen = threading.Semaphore(0)
    written = []

    def body() -> Iterator[bytes]:
        for number in range(50):
            written.append(number)
            yield b"%d" % number
            assert seen.acquire(timeout=PATIENCE_S)

    with caller_of(lambda _, __: StreamingResponse(body(), content_type="text/plain")) as caller:
        answer = caller.invoke_with_response_stream("any", log_type="Tail")
        assert (answer.accepted.content_type, answer.accepted.executed_version) == ("text/plain", "$LATEST")
        for number in range(50):
            assert next(answer) == b"%d" % number
            assert written == list(range(number + 1))
            assert answer.complete is None
            seen.release()
        assert list(answer) == []
        assert answer.complete is not None
        assert log_of(answer.complete.log_result).startswith(f"START RequestId: {answer.accepted.request_id} ")
        assert list(answer) == []


def test_the_prelude_is_not_taken_away() -> None:
    """JSON, eight NULs and body arrive as they were written."""
    response = HttpResponse(status_code=201, headers={"content-type": "text/plain"}, body=["b", "\0c"])
    with caller_of(lambda _, __: response) as caller:
        answer = caller.invoke_with_response_stream("any")
        head, nuls, body = b"".join(answer).partition(b"\0" * 8)
    assert answer.accepted.content_type == "application/vnd.awslambda.http-integration-response"
    assert (json.loads(head)["statusCode"], nuls, body) == (201, b"\0" * 8, b"b\0c")


def test_a_function_that_fails_midway() -> None:
    """What it wrote arrives, then the error as AWS says it; the connection goes on."""

    def body() -> Iterator[bytes]:
        yield b"begun"
        raise KeyError("midway")

    with caller_of(lambda event, _: StreamingResponse(body()) if event else event) as caller:
        answer = caller.invoke_with_response_stream("any", b"1")
        assert list(answer) == [b"begun"]
        assert answer.complete is not None
        assert answer.complete.error_code == "KeyError"
        assert json.loads(answer.complete.error_details)["errorType"] == "KeyError"
        wire = caller._wire._connected()
        assert caller.invoke("any").payload == b"{}"
        assert caller._wire._connected() is wire


def test_a_stream_that_the_service_fails() -> None:
    """CallFailed, as often as more is asked for."""

    def script(listener: socket.socket) -> None:
        with (held := Service(listener)).wire:
            held.hear()
            held.say(InvokeAccepted(), PayloadChunk(payload=b"a"), InvokeFailed(error_code="Oops", message="no"))

    with caller_to(script) as caller:
        answer = caller.invoke_with_response_stream("f")
        assert next(answer) == b"a"
        for _ in range(2):
            with pytest.raises(CallFailed, match="Oops: no"):
                next(answer)
        assert answer.complete is None


def test_a_stream_that_is_given_up_for_another_call() -> None:
    """Its bytes never get into the next answer, and it says that it was given up."""
    with caller_of(lambda event, _: StreamingResponse([str(event), "more"]) if event else event) as caller:
        stale = caller.invoke_with_response_stream("any", b"1")
        assert next(stale) == b"1"
        assert list(caller.invoke_with_response_stream("any", b"2")) == [b"2", b"more"]
        assert caller.invoke("any", b"0").payload == b"0"
        with pytest.raises(LocalProtocolError, match="given up for another call"):
            next(stale)


# -- refusals


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("asked", "status", "error_type"),
    [
        ({"payload": b"not json"}, 400, "InvalidRequestContentException"),
        ({"client_context": "no"}, 400, "InvalidRequestContentException"),
        ({"payload": b'"' + b"x" * 6 * MIB + b'"'}, 413, "RequestTooLargeException"),
        ({"payload": b'"' + b"x" * 60 * MIB + b'"'}, 413, "RequestTooLargeException"),
    ],
)
def test_what_cannot_be_invoked_is_refused(
    asked: dict[str, Any], status: int, error_type: str, streaming: bool
) -> None:
    """CallRefused with what was said, also while the request is still being written; then the caller goes on."""
    calls: list[object] = []
    with caller_of(lambda event, _: calls.append(event)) as caller:
        call: Callable[..., object] = caller.invoke_with_response_stream if streaming else caller.invoke
        with pytest.raises(CallRefused) as caught:
            call("any", **asked)
        assert (caught.value.refusal.status, caught.value.refusal.error_type) == (status, error_type)
        assert calls == []
        assert caller.invoke("any", b"1").payload == b"null"


@pytest.mark.parametrize("streaming", [False, True])
def test_a_function_that_is_not_there(streaming: bool) -> None:
    """404 keeps the connection."""

    def script(listener: socket.socket) -> None:
        with (held := Service(listener)).wire:
            for _ in range(2):
                assert isinstance(held.hear(), InvokeAsked)
                held.say(InvokeRefused(status=404, error_type="ResourceNotFoundException", message="no f"))

    with caller_to(script) as caller:
        call: Callable[..., object] = caller.invoke_with_response_stream if streaming else caller.invoke
        for _ in range(2):
            with pytest.raises(CallRefused, match="404 ResourceNotFoundException: no f"):
                call("f")


# -- one at a time, for a while, until closed


def test_a_second_user_is_turned_away() -> None:
    """Two would interleave their bytes: the second gets ``Busy`` and nothing is sent for it."""
    called, turned_away = threading.Event(), threading.Event()

    def handler(event: object, _: object) -> object:
        called.set()
        assert turned_away.wait(PATIENCE_S)
        return event

    with caller_of(handler) as caller:
        answers: list[bytes] = []
        first = threading.Thread(target=lambda: answers.append(caller.invoke("any", b"1").payload))
        first.start()
        assert called.wait(PATIENCE_S)
        for call in (caller.invoke, caller.invoke_with_response_stream):
            with pytest.raises(Busy):
                call("any", b"2")
        turned_away.set()
        first.join(PATIENCE_S)
    assert answers == [b"1"]


def test_closing_wakes_a_stream_that_waits_in_another_thread() -> None:
    """It is told why, and every call from now on is too; closing is for good."""
    heard = threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := Service(listener)).wire:
            held.hear()
            held.say(InvokeAccepted(), PayloadChunk(payload=b"a"))
            assert held.wire.recv(1) == b""

    with caller_to(script) as caller:
        answer = caller.invoke_with_response_stream("f")
        faults: list[str] = []

        def wait() -> None:
            try:
                for _ in answer:
                    heard.set()
            except ConnectionLost as fault:
                faults.append(str(fault))

        waiting = threading.Thread(target=wait)
        waiting.start()
        assert heard.wait(PATIENCE_S)
        caller.close()
        waiting.join(PATIENCE_S)
        assert faults == ["this caller was closed"]
        assert caller._wire._socket is None
        for call in (caller.invoke, caller.invoke_with_response_stream):
            with pytest.raises(ConnectionLost, match="this caller was closed"):
                call("f")
        with pytest.raises(ConnectionLost, match="this caller was closed"):
            next(answer)


def test_timeouts() -> None:
    """A whole answer that did not come is given up; a stream is resumed."""
    release = threading.Event()

    def body() -> Iterator[bytes]:
        yield b"a"
        assert release.wait(PATIENCE_S)
        yield b"b"

    def handler(event: object, _: object) -> object:
        if event == "stream":
            return StreamingResponse(body())
        assert release.wait(PATIENCE_S)
        return event

    with LocalLambda(handler, environments=2) as fn, sync.connect_caller(fn.url) as caller:
        with pytest.raises(TimeoutError):
            caller.invoke("any", b"1", timeout=0.05)
        answer = caller.invoke_with_response_stream("any", b'"stream"', timeout=PATIENCE_S)
        assert next(answer) == b"a"
        answer._timeout = 0.05
        with pytest.raises(TimeoutError):
            next(answer)
        release.set()
        answer._timeout = PATIENCE_S
        assert list(answer) == [b"b"]
        assert caller.invoke("any", b"2", timeout=PATIENCE_S).payload == b"2"


# -- the command

APP: Final = """
from lambda_wire import StreamingResponse

def pour(event, context):
    print("poured")
    return StreamingResponse(bytes([number % 256]) * 65_536 for number in range(event))
"""


def test_20_mib_from_the_command_in_little_memory(tmp_path: Path) -> None:
    """However long the answer: no more than a chunk or two is held. Whole, with its log, it comes too."""
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    with (
        running_local("app.pour", cwd=tmp_path) as local,
        sync.connect_caller(f"http://127.0.0.1:{local.port}/") as caller,
    ):
        whole = caller.invoke("any", b"2", log_type="Tail")
        assert whole.payload == bytes(65_536) + b"\1" * 65_536
        assert "poured\n" in log_of(whole.log_result)
        answer = caller.invoke_with_response_stream("any", b"320", log_type="Tail")
        size, first_of_each = 0, set()
        tracemalloc.start()
        try:
            for chunk in answer:
                size += len(chunk)
                first_of_each.add(chunk[0])
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (size, len(first_of_each)) == (20 * MIB, 256)
        assert peak < 2 * MIB
        assert answer.complete is not None
        assert "poured\n" in log_of(answer.complete.log_result)


# -- endpoints


@pytest.mark.parametrize(
    ("endpoint", "said", "host", "port"),
    [
        ("http://127.0.0.1:9000", "127.0.0.1:9000", "127.0.0.1", 9000),
        ("http://127.0.0.1:9000/", "127.0.0.1:9000", "127.0.0.1", 9000),
        ("http://localhost", "localhost", "localhost", 80),
        ("http://my_lambda.test:65535", "my_lambda.test:65535", "my_lambda.test", 65535),
        ("https://lambda.us-east-1.amazonaws.com", "lambda.us-east-1.amazonaws.com", None, 443),
        ("https://lambda.us-east-1.amazonaws.com:8443/", "lambda.us-east-1.amazonaws.com:8443", None, 8443),
        ("http://[::1]", "[::1]", "::1", 80),
        ("http://[::1]/", "[::1]", "::1", 80),
        ("https://[::ffff:127.0.0.1]", "[::ffff:127.0.0.1]", "::ffff:127.0.0.1", 443),
        ("http://[2001:DB8::1]:9000", "[2001:DB8::1]:9000", "2001:DB8::1", 9000),
    ],
)
def test_endpoints(endpoint: str, said: str, host: str | None, port: int) -> None:
    """What the Host field says, and where to dial."""
    asked: list[str] = []

    def sign(_: str, url: str, fields: Headers, __: bytes) -> Headers:
        asked.extend([url, dict(fields)["Host"]])
        raise PermissionError

    caller = sync.connect_caller(endpoint, sign=sign)
    with pytest.raises(PermissionError):
        caller.invoke("f")
    assert asked == [f"{endpoint.removesuffix('/')}/2015-03-31/functions/f/invocations", said]
    assert (caller._wire._host, caller._wire._port) == (host or said.partition(":")[0], port)


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "127.0.0.1:9000",
        "127.0.0.1",
        "//host",
        "://host",
        "http:host",
        "http:/host",
        "http://",
        "http:///",
        "http://:80",
        "http://host:",
        "http://host:0",
        "http://host:65536",
        "http://host:-1",
        "http://host:+1",
        "http://host:8 0",
        "http://host:²",
        "http://host:٣",
        "http://host:" + "1" * 5000,
        "http://host//",
        "http://host/path",
        "http://host/path/",
        "http://host/?a=b",
        "http://host?a=b",
        "http://host#a",
        "http://user@host",
        "http://user:word@host:80",
        "http://ho st",
        " http://host",
        "http://host ",
        "http://host\n",
        "http://a\r\nb",
        "http://bücher.test",
        "http://\ud800",
        "http://a%2Fb",
        "http://a,b",
        "http://::1",
        "http://::1:9000",
        "http://[::1",
        "http://::1]",
        "http://[::1]9000",
        "http://[::1]:",
        "http://[::1]:65536",
        "http://[]",
        "http://[]:80",
        "http://[host]",
        "http://[127.0.0.1]:80",
        "http://[fe80::1%eth0]:80",
        "http://[[::1]]",
        "ftp://host",
        "HTTP://host",
        "https+x://host",
    ],
)
def test_endpoints_that_are_none(endpoint: str) -> None:
    """They are refused at once, with what was expected."""
    with pytest.raises(Malformed, match="expected an endpoint as http://host:port or https://host"):
        sync.connect_caller(endpoint)


def test_a_user_agent_that_cannot_be_said() -> None:
    """It is refused at once, too."""
    with pytest.raises(Malformed, match="user_agent"):
        sync.connect_caller("http://host", user_agent="a\r\nb")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6 loopback")
def test_ipv6_hosts_are_bracketed() -> None:
    """The Host field of an IPv6 address has brackets (RFC 3986, 3.2.2), the socket's address has none."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        address = f"[::1]:{listener.getsockname()[1]}"
        with sync.connect_caller(f"http://{address}", user_agent="test/1") as caller:
            with pytest.raises(TimeoutError):
                caller.invoke("f", timeout=0.01)
            with listener.accept()[0] as wire:
                assert f"Host: {address}\r\nUser-Agent: test/1\r\n".encode() in wire.recv(1000)


# -- signing

KEY_ID, SECRET, TOKEN = "id", "secret", "session/token=="
NOW: Final = datetime.datetime(2026, 9, 1, 12, 0, tzinfo=datetime.UTC)
NAMES: Final = [("my-function", ""), (ARN, "$LATEST"), ("123456789012:my-function", "live"), ("f-ö_~.", "a b+c")]


@pytest.fixture
def signer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Sign]:
    """Make signers as a user would write them; ``without`` leaves fields unsigned."""
    need_module("boto3")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    auth, requests, sessions = (
        importlib.import_module(f"botocore.{name}") for name in ("auth", "awsrequest", "session")
    )

    def make(token: str = "", without: tuple[str, ...] = ()) -> Sign:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
        credentials = sessions.get_session().get_credentials()

        def sign(method: str, url: str, fields: Headers, payload: bytes) -> Headers:
            signed = {name: value for name, value in fields if name.lower() not in without}
            request = requests.AWSRequest(method=method, url=url, headers=signed, data=payload)
            auth.SigV4Auth(credentials.get_frozen_credentials(), "lambda", "us-east-1").add_auth(request)
            return tuple(request.headers.items())

        return sign

    return make


class Received:
    """A request as it arrived."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.method, self.target, _ = first.split(" ")
        pairs = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
        self.fields = dict(pairs)
        assert len(self.fields) == len(pairs), "a field came twice"
        kind, _, parameters = self.fields["authorization"].partition(" ")
        assert kind == "AWS4-HMAC-SHA256"
        self.said = dict(parameter.split("=", 1) for parameter in parameters.split(", "))
        self.signed = self.said["SignedHeaders"].split(";")

    def verify(self) -> None:
        """Check the signature as AWS does, from what arrived alone.

        Source: AWS, "Create a signed AWS API request" (IAM User Guide, read 2026-09): the canonical path is the path
        as it arrived, each segment encoded once more; the query stays as it is, sorted.
        """
        assert {"host", "x-amz-date"} <= set(self.signed)
        path, _, query = self.target.partition("?")
        canonical = "\n".join(
            [
                *(self.method, quote(path, safe="/-_.~"), "&".join(sorted(query.split("&")))),
                *(f"{name}:{' '.join(self.fields[name].split())}" for name in self.signed),
                *("", ";".join(self.signed), hashlib.sha256(self.body).hexdigest()),
            ]
        )
        key_id, _, scope = self.said["Credential"].partition("/")
        date, region, service_name, end = scope.split("/")
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        key = f"AWS4{SECRET}".encode()
        text = "\n".join(["AWS4-HMAC-SHA256", self.fields["x-amz-date"], scope, digest])
        for part in (date, region, service_name, end, text):
            key = hmac.digest(key, part.encode(), "sha256")
        assert (key_id, region, service_name, end) == (KEY_ID, "us-east-1", "lambda", "aws4_request")
        assert self.said["Signature"] == key.hex()


@contextmanager
def recorder(count: int = 1) -> Iterator[tuple[str, list[Received]]]:
    """A service that records so many requests, each on a connection of its own; yield its URL and what arrived."""
    arrived: list[Received] = []

    def script(listener: socket.socket) -> None:
        for _ in range(count):
            with listener.accept()[0] as wire:
                wire.settimeout(PATIENCE_S)
                data = b""
                while not (b"\r\n\r\n" in data and data.endswith(b'END"')):
                    data += wire.recv(65_536)
                arrived.append(Received(data))
                wire.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    with service(script) as address:
        yield f"http://{address}", arrived


@pytest.mark.parametrize("token", ["", TOKEN])
@pytest.mark.parametrize(("name", "qualifier"), NAMES)
def test_botocore_signs_what_arrives(signer: Callable[..., Sign], name: str, qualifier: str, token: str) -> None:
    """The signature that arrives is the one of the request that arrives, whatever the path holds."""
    with recorder() as (url, arrived), sync.connect_caller(url, sign=signer(token)) as caller:
        assert caller.invoke(name, b'"END"', qualifier=qualifier, log_type="Tail", tenant_id="a  b").payload == b"{}"
    (received,) = arrived
    received.verify()
    assert received.fields.get("x-amz-security-token", "") == token
    assert {"content-length", "x-amz-log-type", "x-amz-tenant-id"} <= set(received.signed)


@pytest.mark.parametrize(("name", "qualifier"), NAMES[:3])
@pytest.mark.parametrize("streaming", [False, True])
def test_the_same_bytes_and_signature_as_boto3(
    signer: Callable[..., Sign], streaming: bool, name: str, qualifier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At one moment, over the same fields: same path, same query, same ``Authorization``."""
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: NOW)
    context = base64.b64encode(b'{"a": 1}').decode()
    said = {"Qualifier": qualifier} if qualifier else {}
    with recorder(2) as (url, arrived):
        with lambda_client(url) as aws:
            call = aws.invoke_with_response_stream if streaming else aws.invoke
            answer = call(FunctionName=name, Payload=b'"END"', LogType="Tail", ClientContext=context, **said)
            answer["EventStream" if streaming else "Payload"].close()
        (by_boto3,) = arrived
        by_boto3.verify()
        own = {"host", "x-amz-log-type", "x-amz-client-context", "x-amz-date"}
        others = tuple((other, by_boto3.fields[other]) for other in by_boto3.signed if other not in own)
        sign = signer(without=("content-length",))  # which boto3 adds when it has signed
        with sync.connect_caller(url, sign=sign) as caller:
            call = caller.invoke_with_response_stream if streaming else caller.invoke
            call(name, b'"END"', qualifier=qualifier, log_type="Tail", client_context='{"a": 1}', headers=others)
    ours = arrived[1]
    ours.verify()
    assert (ours.method, ours.target, ours.body) == (by_boto3.method, by_boto3.target, by_boto3.body)
    assert ours.fields["authorization"] == by_boto3.fields["authorization"]
