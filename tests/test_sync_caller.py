"""The blocking caller, where it is not as the others: timeouts. And what a signer is worth, to AWS's own measure."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import importlib
import math
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote

import pytest

from lambda_wire import sync
from lambda_wire._responses import StreamingResponse
from lambda_wire._types import Headers
from lambda_wire.exchanges import Sign
from lambda_wire.testing import LocalLambda
from tests.aws_sdk import lambda_client
from tests.driver_services import nobody, service
from tests.real_parts import need_module
from tests.running_local import PATIENCE_S
from tests.test_sync import EVER

ARN: Final = "arn:aws:lambda:us-east-1:123456789012:function:my-function"


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


def test_a_timeout_is_that_of_the_whole_answer() -> None:
    """However often the service has spoken meanwhile: what is missing did not come in time, and it is said so."""
    given_up = threading.Event()

    def script(listener: socket.socket) -> None:
        with listener.accept()[0] as wire:
            wire.recv(65_536)
            wire.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n")
            for _ in range(2000):
                if given_up.wait(0.005):
                    return
                wire.sendall(b" ")

    with service(script) as address, sync.connect_caller(f"http://{address}") as caller:
        with pytest.raises(TimeoutError, match="not all that was waited for came in time"):
            caller.invoke("any", timeout=0.1)
        given_up.set()


@pytest.mark.parametrize("timeout", EVER)
def test_timeouts_may_be_as_long_as_they_like(timeout: float) -> None:
    """The function is not called in vain, and its answer comes whole or in chunks."""

    def handler(event: object, _: object) -> object:
        return StreamingResponse([b"a"]) if event else event

    with LocalLambda(handler) as fn, sync.connect_caller(fn.url) as caller:
        assert caller.invoke("any", b"0", timeout=timeout).payload == b"0"
        assert list(caller.invoke_with_response_stream("any", b"1", timeout=timeout)) == [b"a"]


def test_a_timeout_that_is_no_number_is_refused() -> None:
    """And nobody is dialled, who would not be there."""
    with nobody() as address, sync.connect_caller(f"http://{address}") as caller:
        for call in (caller.invoke, caller.invoke_with_response_stream):
            with pytest.raises(ValueError, match="expected a timeout in seconds, got nan"):
                call("any", timeout=math.nan)


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
    """The signature that arrives is the one of the request that arrives, whatever the path holds (IN-ASK-20)."""
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
