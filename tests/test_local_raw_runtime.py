"""``lambda-wire local`` around a runtime that puts any bytes on the wire: AWS's SDK gets text, and always an end."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.aws_sdk import lambda_client, whole
from tests.running_local import running_local

MIB: Final = 1024 * 1024
#: In characters: JSON makes at most twelve bytes of one, and the service's messages hold 24 MiB.
MOST_DETAILS: Final = 24 * MIB // 16

#: Its events say how to answer: ``path`` and ``fields`` of the request, ``body``, ``trailers``; bytes as Latin-1. What
#: it gets for it is what the event after it that says nothing is answered with.
RAW = """
import json, os, socket

TRAILERS = b"Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"
HOST, _, PORT = os.environ["AWS_LAMBDA_RUNTIME_API"].rpartition(":")

def exchange(request):
    with socket.create_connection((HOST, int(PORT))) as wire:
        wire.sendall(request)
        with wire.makefile("rb") as answer:
            lines = [line.decode("latin-1").rstrip() for line in iter(answer.readline, b"\\r\\n")]
            fields = dict(line.lower().split(": ", 1) for line in lines[1:])
            return lines[0], fields, answer.read(int(fields["content-length"]))

status = ""
while True:
    _, fields, event = exchange(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
    asked = json.loads(event) or {"path": "response", "body": json.dumps(status)}
    if "rawPath" in asked:  # of the function URL: its body says how to answer
        asked = json.loads(asked["body"])
    body = (asked["body"] * asked.get("times", 1)).encode("latin-1")
    trailers = asked.get("trailers", "").encode("latin-1")
    if trailers:
        framing = b"Transfer-Encoding: chunked\\r\\nTrailer: " + TRAILERS + b"\\r\\n"
        body = b"%x\\r\\n%b\\r\\n0\\r\\n%b\\r\\n" % (len(body), body, trailers)
    else:
        framing = b"Content-Length: %d\\r\\n" % len(body)
    path = f"/2018-06-01/runtime/invocation/{fields['lambda-runtime-aws-request-id']}/{asked['path']}"
    head = f"POST {path} HTTP/1.1\\r\\nHost: a\\r\\n{asked.get('fields', '')}".encode("latin-1") + framing + b"\\r\\n"
    status, _, _ = exchange(head + body)
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One command for all, with no traceback in its terminal."""
    directory = tmp_path_factory.mktemp("raw")
    (directory / "raw.py").write_text(RAW, encoding="ascii")
    with running_local("--", sys.executable, "raw.py", cwd=directory) as local:
        with lambda_client(f"http://127.0.0.1:{local.port}") as aws:
            yield aws
        assert local.stop() == 0
        assert "Traceback" not in local.output, local.output


def answer(served: Any, **asked: object) -> tuple[list[bytes], dict[str, str]]:
    """Return the chunks of a streamed answer and how it ended; the runtime's answer must have been taken."""
    chunks, complete = whole(served.invoke_with_response_stream(FunctionName="any", Payload=json.dumps(asked)))
    assert json.load(served.invoke(FunctionName="any", Payload="{}")["Payload"]) == "HTTP/1.1 202 Accepted"
    return chunks, complete


TYPES = pytest.mark.parametrize(
    ("raw", "text"), [("a\xffb", "a\ufffdb"), ("\xc3\xa9", "é"), ("\xed\xa0\x80", "\ufffd\ufffd\ufffd")]
)


@TYPES
def test_an_error_type_that_is_no_text(served: Any, raw: str, text: str) -> None:
    """Of ``/error``: what is no UTF-8 in it is replaced, the document is told as it is.

    (ER-DOC-3, ER-TYPE-4, ER-TYPE-6)
    """
    fields = f"Lambda-Runtime-Function-Error-Type: {raw}\r\n"
    document = '{"errorMessage":"m"}'
    chunks, complete = answer(served, path="error", fields=fields, body=document)
    assert (chunks, complete) == ([], {"ErrorCode": text, "ErrorDetails": document})


@TYPES
def test_a_trailer_that_is_no_text(served: Any, raw: str, text: str) -> None:
    """Of a stream that failed: what came before it was given, and the document says the same.

    It shows ES-MESSAGE-21, ES-MESSAGE-22.
    """
    asked = {
        "path": "response",
        "fields": "Lambda-Runtime-Function-Response-Mode: streaming\r\n",
        "body": "begun",
        "trailers": f"Lambda-Runtime-Function-Error-Type: {raw}\r\n",
    }
    chunks, complete = answer(served, **asked)
    assert (chunks, complete["ErrorCode"]) == ([b"begun"], text)
    assert json.loads(complete["ErrorDetails"])["errorType"] == text
    asked["trailers"] += "Lambda-Runtime-Function-Error-Body: e30=\r\n"
    assert answer(served, **asked) == ([b"begun"], {"ErrorCode": text, "ErrorDetails": "{}"})


@pytest.mark.parametrize(("fields", "kind"), [("Content-Type: text/x-own\r\n", "text/x-own"), ("", "application/json")])
def test_the_content_type_is_the_runtimes(served: Any, fields: str, kind: str) -> None:
    """To both kinds of callers; JSON where it gave none (IN-ANSWER-7, IN-STREAM-2)."""
    arguments = {"FunctionName": "any", "Payload": json.dumps({"path": "response", "fields": fields, "body": "{}"})}
    invoked, streamed = served.invoke(**arguments), served.invoke_with_response_stream(**arguments)
    assert whole(streamed) == ([b"{}"], {})
    assert invoked["ResponseMetadata"]["HTTPHeaders"]["content-type"] == kind
    assert streamed["ResponseMetadata"]["HTTPHeaders"]["x-amzn-remapped-content-type"] == kind


@pytest.mark.parametrize(
    "fields", ["Lambda-Runtime-Function-Response-Mode: streaming\r\n", "Content-Type: text/x-own\r\n"]
)
def test_a_url_gives_octets(served: Any, fields: str) -> None:
    """Of a stream without a type, and of a result that is no JSON, whatever its type (FU-HEAD-15, FU-BODY-24)."""
    asked = json.dumps({"path": "response", "fields": fields, "body": "no JSON"}).encode()
    request = urllib.request.Request(served.meta.endpoint_url, asked, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        assert (response.headers["content-type"], response.read()) == ("application/octet-stream", b"no JSON")


@pytest.mark.parametrize("byte", ["\x01", "\xff", "\U0001f600".encode().decode("latin-1")])
def test_a_document_that_fits_no_message(served: Any, byte: str) -> None:
    """As JSON it is several times as large: as much is told as one message holds, and the stream has its end.

    It shows ES-MESSAGE-22.
    """
    size = 5 * MIB
    fields = "Lambda-Runtime-Function-Error-Type: Function.Large\r\n"
    chunks, complete = answer(served, path="error", fields=fields, body=byte, times=size // len(byte))
    assert (chunks, complete["ErrorCode"]) == ([], "Function.Large")
    told = byte.encode("latin-1").decode("utf-8", "replace")
    details = complete["ErrorDetails"]
    assert details == told * len(details)
    assert len(details) == min(size // len(byte), MOST_DETAILS)
