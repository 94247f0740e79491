"""``lambda-wire invoke`` as its users run it: what it sends, what it shows of the answer and when, and how it ends."""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pytest

from lambda_wire import StreamingResponse
from lambda_wire import invoke as command
from lambda_wire._event_stream import encode_event_stream
from lambda_wire._invoke_answers import encode_message
from lambda_wire._invoke_events import InvokeComplete, InvokeFailed, PayloadChunk
from lambda_wire.cli import main
from lambda_wire.testing import LocalLambda
from tests.real_parts import running_emulator
from tests.running_local import PATIENCE_S, ROOT, running_local

ARN: Final = "arn:aws:lambda:us-east-1:123456789012:function:my-function"
BINARY: Final = bytes(range(256))
#: As the installed command, it does not look for its own modules in the working directory; warnings are errors.
PYTHON: Final = (sys.executable, "-P", "-X", "dev", "-W", "error", "-bb", "-m", "lambda_wire", "invoke")
NEVER_SAID: Final = ("Traceback", "Exception ignored", "Warning")


# -- the command


def environment() -> dict[str, str]:
    """Return ours, where nothing but the command itself makes output leave at once."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**inherited, "PYTHONPATH": str(ROOT)}


def run(
    *arguments: str, stdin: bytes = b"", cwd: Path | None = None, close: Sequence[int] = ()
) -> tuple[int, bytes, str]:
    """Run the command to its end; return exit code, output, and what it said, which is never a traceback."""
    shell = "".join(f" {descriptor}>&-" for descriptor in close)
    words = ["sh", "-c", f'exec "$@"{shell}', "sh", *PYTHON, *arguments] if close else [*PYTHON, *arguments]
    done = subprocess.run(
        words, input=stdin, cwd=cwd, env=environment(), capture_output=True, check=False, timeout=PATIENCE_S
    )
    return done.returncode, done.stdout, harmless(done.stderr)


def harmless(said: bytes) -> str:
    text = said.decode()
    assert not any(never in text for never in NEVER_SAID), text
    return text


def reason(said: str) -> str:
    """Return the one line that says why it failed."""
    assert said.count("\n") == 1, said
    assert said.startswith("lambda-wire invoke: ")
    return said.removeprefix("lambda-wire invoke: ").removesuffix("\n")


@contextmanager
def running(*arguments: str, stdout: int = subprocess.PIPE) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command while something else happens. Its output is not buffered on our side."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # an ignored signal would be ignored by it, too
    try:
        process = subprocess.Popen(
            [*PYTHON, *arguments], env=environment(), stdout=stdout, stderr=subprocess.PIPE, bufsize=0
        )
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def output_of(process: subprocess.Popen[bytes]) -> io.RawIOBase:
    assert isinstance(process.stdout, io.RawIOBase)
    return process.stdout


def ending(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Wait for its end; return the exit code and what it said."""
    assert process.stderr is not None
    code = process.wait(PATIENCE_S)
    return code, harmless(process.stderr.read())


def events(output: bytes) -> list[dict[str, Any]]:
    """Return the events of ``--json``, without their times, which are checked."""
    found = [json.loads(line) for line in output.decode("ascii").splitlines()]
    times = [event.pop("at_ms") for event in found]
    assert all(type(at_ms) in (int, float) and at_ms >= 0 for at_ms in times)
    assert times == sorted(times)
    return found


# -- a service that says what it is told to


class Scripted:
    """A service that answers one request with given bytes, then ends the connection as it is told to.

    Attributes:
        url: Its endpoint.
        head: Of the request, without the end of its last line.
        body: Of the request.
    """

    def __init__(self, listener: socket.socket) -> None:
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.head = ""
        self.body = b""

    def answer(
        self, listener: socket.socket, pieces: Sequence[bytes], ending: Callable[[socket.socket], object]
    ) -> None:
        wire, _ = listener.accept()
        with wire, wire.makefile("rb") as stream:
            lines = list(iter(stream.readline, b"\r\n"))
            self.head = b"".join(lines).decode("ascii")
            fields = dict(line.lower().split(": ", 1) for line in self.head.splitlines()[1:])
            self.body = stream.read(int(fields["content-length"]))
            for piece in pieces:
                wire.sendall(piece)
            ending(wire)


def reset(wire: socket.socket) -> None:
    """Let the connection end with a reset (RFC 9293, 3.10.4; Linux: socket(7), SO_LINGER)."""
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def wait_for_the_end(wire: socket.socket) -> None:
    """Leave only when the caller has left."""
    wire.settimeout(PATIENCE_S)
    assert wire.recv(1) == b""


@contextmanager
def scripted(*pieces: bytes, ending: Callable[[socket.socket], object] = bool) -> Generator[Scripted, None, None]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_S)
        service = Scripted(listener)
        thread = threading.Thread(target=service.answer, args=(listener, pieces, ending))
        thread.start()
        yield service
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def whole(status: str, body: bytes, *fields: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(head).encode() + body


STREAM_HEAD: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def frame(event: PayloadChunk | InvokeComplete | InvokeFailed) -> bytes:
    message = encode_event_stream(encode_message(event))
    return b"%x\r\n%b\r\n" % (len(message), message)


# -- what is sent


def echo(event: object, context: object) -> object:
    return event


@pytest.mark.parametrize(
    ("payload", "stdin", "sent"),
    [
        (['{"n": 1}'], b"", b'{"n": 1}'),
        (['"Größe"'], b"", '"Größe"'.encode()),
        (["{"], b"", b"{"),
        (["-5"], b"", b"-5"),
        (["@event.bin"], b"", BINARY),
        (["@empty"], b"", b""),
        (["-"], b'{"from": "stdin"}\n', b'{"from": "stdin"}\n'),
        (["-"], BINARY, BINARY),
        (["-"], b"", b""),
        ([""], b"", b""),
        ([], b"not read", b"{}"),
    ],
)
@pytest.mark.parametrize("streaming", [False, True])
def test_the_payload_is_sent_as_it_was_given(
    tmp_path: Path, payload: list[str], stdin: bytes, sent: bytes, streaming: bool
) -> None:
    """To the byte, whatever it is: nothing is added, taken away, or understood. The default is an empty object."""
    (tmp_path / "event.bin").write_bytes(BINARY)
    (tmp_path / "empty").write_bytes(b"")
    answers = [STREAM_HEAD, frame(InvokeComplete()), b"0\r\n\r\n"] if streaming else [whole("200 OK", b"")]
    with scripted(*answers) as service:
        code, output, _ = run("--endpoint", service.url, *["--stream"] * streaming, *payload, stdin=stdin, cwd=tmp_path)
    assert (code, output) == (0, b"")
    assert service.body == sent


def test_bytes_of_an_argument_that_are_no_text_are_sent_too() -> None:
    """As the shell gave them: it is for the service to refuse them."""
    with scripted(whole("200 OK", b"")) as service:
        assert run("--endpoint", service.url, os.fsdecode(b'"\xff"'))[0] == 0
    assert service.body == b'"\xff"'


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ([], "2015-03-31/functions/function/invocations"),
        (["--function", "mine", "--tail"], "2015-03-31/functions/mine/invocations"),
        (["--function", ARN], f"2015-03-31/functions/{ARN}/invocations"),
    ],
)
def test_the_call_says_whom_it_is_for(options: list[str], path: str) -> None:
    """The function's name or ARN is in the path, and the log is asked for when it is wanted."""
    with scripted(whole("200 OK", b"")) as service:
        assert run("--endpoint", service.url, *options)[0] == 0
    request, *fields = service.head.splitlines()
    assert unquote(request) == f"POST /{path} HTTP/1.1"
    assert ("x-amz-log-type: tail" in map(str.lower, fields)) == ("--tail" in options)


@pytest.mark.parametrize("ending_of_url", ["", "/"])
def test_the_endpoint_is_as_sdks_take_it(ending_of_url: str) -> None:
    """With a slash at its end or without."""
    with LocalLambda(echo) as function:
        answer = run("--endpoint", function.url + ending_of_url, "--function", ARN, '{"n":  1}')
    assert answer == (0, b'{"n": 1}', "")


def test_the_endpoint_is_that_of_local_when_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the two commands fit together as they stand."""
    asked: list[str] = []

    def connect(endpoint: str) -> object:
        asked.append(endpoint)
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "connect_caller", connect)
    assert main(["invoke"]) == 1
    assert asked == ["http://127.0.0.1:9000"]


# -- usage


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fast"], "unrecognized arguments: --fast"),
        (["{}", "{}"], "unrecognized arguments: {}"),
        (["--endpoint"], "argument --endpoint: expected one argument"),
        (["--endpoint", ""], "argument --endpoint: expected an endpoint as http://host:port or https://host, got ''"),
        (["--endpoint", "127.0.0.1:9000"], "argument --endpoint: expected an endpoint as http://host:port"),
        (["--endpoint", "ftp://127.0.0.1"], "argument --endpoint: expected an endpoint as http://host:port"),
        (["--endpoint", "http://127.0.0.1:9000/path"], "argument --endpoint: expected an endpoint as http://host:port"),
        (["--endpoint", "http://127.0.0.1:99999"], "argument --endpoint: expected an endpoint as http://host:port"),
        (["--endpoint", "http://a\nb\x1b"], r"argument --endpoint: expected an endpoint as http://host:port"),
        (["--function", ""], "argument --function: function_name must not be empty"),
        (["--function", os.fsdecode(b"\xff")], "argument --function: function_name must be encodable as UTF-8"),
        (["@missing"], "cannot read 'missing': No such file or directory"),
        (["@."], "cannot read '.': Is a directory"),
        (["@a\nb"], r"cannot read 'a\nb': No such file or directory"),
        (["@"], "the name of a file is missing after @"),
    ],
)
def test_wrong_usage_is_2_and_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    """It says what is wrong and where to read more; nothing is sent."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(["invoke", *arguments])
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert reason(err).startswith(said)
    assert reason(err).endswith(" (see lambda-wire invoke --help)")


def test_usage_is_wrong_in_a_process_too(tmp_path: Path) -> None:
    """The same exit code and line."""
    code, output, said = run("@missing", cwd=tmp_path)
    assert (code, output) == (2, b"")
    assert reason(said) == "cannot read 'missing': No such file or directory (see lambda-wire invoke --help)"


def test_help_says_what_each_argument_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Also the defaults, and what the exit code means."""
    with pytest.raises(SystemExit) as caught:
        main(["invoke", "--help"])
    assert caught.value.code == 0
    help_ = " ".join(capsys.readouterr().out.split())
    assert "usage: lambda-wire invoke [-h] [--endpoint URL] [--function NAME] [--stream] [--tail] [--json]" in help_
    assert "JSON, @FILE, or - for standard input (default: {})" in help_
    assert "(default: http://127.0.0.1:9000)" in help_
    assert "(default: function)" in help_
    assert "The exit code is 1 when the function failed or could not be called" in help_


# -- a whole answer


def raw(event: object, context: object) -> bytes:
    return BINARY


def lame(event: object, context: object) -> object:
    raise ValueError("no legs\n\x1b[2J\x9b, and Größe")


LAME: Final = r"the function failed: ValueError: no legs\n\x1b[2J\x9b, and Größe"


def test_the_answer_is_written_as_it_is() -> None:
    """Every byte of it and none besides (IN-ANSWER-6)."""
    with LocalLambda(raw) as function:
        assert run("--endpoint", function.url) == (0, BINARY, "")


def test_a_large_answer_is_written_whole() -> None:
    """More than any pipe holds."""
    with LocalLambda(lambda event, context: b"x" * 5_000_000) as function:
        assert run("--endpoint", function.url) == (0, b"x" * 5_000_000, "")


def test_a_failed_function_is_1_and_the_reason() -> None:
    """One line on standard error that cannot command a terminal, and nothing on standard output."""
    with LocalLambda(lame) as function:
        code, output, said = run("--endpoint", function.url)
    assert (code, output, reason(said)) == (1, b"", LAME)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b"no document \x1b\xff", "no document \\x1b\ufffd"),
        (b'{"errorMessage": "", "errorType": ""}', '{"errorMessage": "", "errorType": ""}'),
        (b'{"errorType": "Runtime.ExitError"}', "Runtime.ExitError"),
        (b"y" * 2000, "y" * (1000 - len("the function failed: ")) + "..."),
    ],
)
def test_a_reason_that_is_no_error_document_says_itself(document: bytes, said: str) -> None:
    """What is long is cut (IN-ERROR-5)."""
    with scripted(whole("200 OK", document, "X-Amz-Function-Error: Unhandled")) as service:
        code, output, reasons = run("--endpoint", service.url)
    assert (code, output, reason(reasons)) == (1, b"", f"the function failed: {said}")


def test_any_function_error_is_a_failure() -> None:
    """Its value means nothing (IN-ERROR-3)."""
    with scripted(whole("200 OK", b'{"errorMessage": "m"}', "X-Amz-Function-Error: Other")) as service:
        code, output, said = run("--endpoint", service.url)
    assert (code, output, reason(said)) == (1, b"", "the function failed: m")


def test_the_tail_of_the_log_is_shown_beside_the_answer() -> None:
    """On standard error, as lines, with what could command a terminal escaped."""
    log = base64.b64encode(b"START\r\nREPORT\t1 ms \x1b[2J\n").decode()
    with scripted(whole("200 OK", b"answer", f"X-Amz-Log-Result: {log}")) as service:
        assert run("--endpoint", service.url, "--tail") == (0, b"answer", "START\nREPORT\t1 ms \\x1b[2J\n")


def test_a_log_may_begin_in_the_middle_of_a_character() -> None:
    """And hold any bytes (IN-LOG-5)."""
    log = base64.b64encode(b"\xb6\xc3\x9fe\n\xff\n").decode()
    with scripted(whole("200 OK", b"", f"X-Amz-Log-Result: {log}")) as service:
        assert run("--endpoint", service.url, "--tail") == (0, b"", "\ufffd\u00dfe\n\ufffd\n")


def test_a_log_that_is_no_base64_is_shown_as_it_stands() -> None:
    """It is shown to people, who may know what it means."""
    with scripted(whole("200 OK", b"", "X-Amz-Log-Result: no base64")) as service:
        assert run("--endpoint", service.url, "--tail") == (0, b"", "no base64\n")


# -- no answer


def test_what_is_no_json_is_refused_in_the_words_of_the_service() -> None:
    """400, as Lambda refuses it."""
    with LocalLambda(echo) as function:
        code, output, said = run("--endpoint", function.url, "{")
    assert (code, output) == (1, b"")
    assert reason(said).startswith("the service refused with 400 InvalidRequestContentException: Could not parse")


@pytest.mark.parametrize("options", [[], ["--stream"]])
def test_what_is_too_large_is_refused_in_the_words_of_the_service(tmp_path: Path, options: list[str]) -> None:
    """413 is heard, although the service answers before all was sent."""
    (tmp_path / "large").write_bytes(b'"' + b"x" * 7_000_000 + b'"')
    with LocalLambda(echo) as function:
        code, output, said = run("--endpoint", function.url, *options, "@large", cwd=tmp_path)
    assert (code, output) == (1, b"")
    assert reason(said) == (
        "the service refused with 413 RequestTooLargeException: "
        "Request must be smaller than 6291456 bytes for the InvokeFunction operation"
    )


@pytest.mark.parametrize(
    ("options", "answer", "said"),
    [
        ([], whole("404 Not Found", b"page\x1b[2J\nnot found\n"), r"404: page\x1b[2J\nnot found"),
        (
            ["--stream"],
            whole("404 Not Found", b"404 page not found\n"),
            "404: 404 page not found (it may have no InvokeWithResponseStream: try without --stream)",
        ),
        (
            ["--stream"],
            whole("404 Not Found", b'{"Message": "no function"}', "x-amzn-ErrorType: ResourceNotFoundException"),
            "404 ResourceNotFoundException: no function",
        ),
        (
            [],
            whole("429 Too Many", b"", "x-amzn-errortype: TooManyRequestsException"),
            "429 TooManyRequestsException: ",
        ),
    ],
)
def test_a_refusal_is_one_line(options: list[str], answer: bytes, said: str) -> None:
    """Status, type where there is one, and message, whatever it holds."""
    with scripted(answer) as service:
        code, output, reasons = run("--endpoint", service.url, *options)
    assert (code, output, reason(reasons)) == (1, b"", f"the service refused with {said}".rstrip())


@pytest.mark.parametrize("options", [[], ["--stream"], ["--json"]])
def test_where_nothing_listens_it_says_what_to_do(options: list[str]) -> None:
    """One line with the address that was tried."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        port = taken.getsockname()[1]
        code, output, said = run("--endpoint", f"http://127.0.0.1:{port}", *options)
    assert (code, output) == (1, b"")
    assert reason(said).startswith(f"nothing was sent: no Lambda endpoint at 127.0.0.1:{port} (")
    assert reason(said).endswith("; lambda-wire local serves functions, --endpoint says where")


def test_a_name_that_cannot_be_looked_up_is_one_line() -> None:
    """It never reaches a resolver."""
    code, output, said = run("--endpoint", "http://a..b:9000")
    assert (code, output) == (1, b"")
    assert reason(said).startswith("nothing was sent: no Lambda endpoint at a..b:9000 (")


def test_tls_where_there_is_none_is_one_line() -> None:
    """The address is the right one, the scheme is not."""
    with LocalLambda(echo) as function:
        code, output, said = run("--endpoint", function.url.replace("http:", "https:"))
    assert (code, output) == (1, b"")
    assert reason(said).startswith("nothing was sent: no Lambda endpoint at 127.0.0.1:")


def test_what_is_no_http_is_one_line() -> None:
    """Such as a mail server's greeting."""
    with scripted(b"220 mail\x1b[2J\r\n\r\n") as service:
        code, output, said = run("--endpoint", service.url)
    assert (code, output) == (1, b"")
    assert reason(said).startswith(f"{service.url} does not speak as Lambda does: ")


def test_a_service_that_leaves_instead_of_answering_is_one_line() -> None:
    """The function may have run, so nothing is said of another endpoint."""
    with scripted() as service:
        code, output, said = run("--endpoint", service.url)
    assert (code, output) == (1, b"")
    assert reason(said).endswith("the function may have run")


@pytest.mark.parametrize("options", [[], ["--json"], ["--stream"], ["--stream", "--json"]])
def test_an_answer_that_ends_with_a_reset_is_never_a_success(options: list[str]) -> None:
    """Where its end is that of the connection: what came of it need not be all."""
    body = encode_event_stream(encode_message(PayloadChunk(payload=b"half"))) if "--stream" in options else b'{"half":'
    with scripted(b"HTTP/1.1 200 OK\r\n\r\n", body, ending=reset) as service:
        code, _, said = run("--endpoint", service.url, *options)
    assert code == 1
    assert reason(said).endswith("the function may have run")


# -- a streamed answer


class Gated:
    """A function that writes its next chunk only when it is allowed to."""

    def __init__(self, *chunks: bytes, failing: bool = False) -> None:
        self.chunks = chunks
        self.failing = failing
        self._next = threading.Semaphore(0)

    def __call__(self, event: object, context: object) -> StreamingResponse:
        return StreamingResponse(self._body(), content_type="application/x-chunks")

    def allow(self) -> None:
        self._next.release()

    def _body(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            yield chunk
            if not self._next.acquire(timeout=PATIENCE_S):
                raise TimeoutError("nobody has seen the chunk")
        if self.failing:
            lame(None, None)


CHUNKS: Final = (b"one\n", b"\x00\xff\xfe", "Größe".encode(), b"last")
SIZE: Final = sum(map(len, CHUNKS))


def read_exactly(pipe: io.RawIOBase, size: int) -> bytes:
    read = b""
    while len(read) < size and (more := pipe.read(size - len(read))):
        read += more
    return read


def test_each_chunk_is_shown_before_the_function_writes_the_next() -> None:
    """Nothing waits for a buffer to fill, here or there; what is said of the end follows on standard error.

    It shows ES-MESSAGE-8.
    """
    gated = Gated(*CHUNKS)
    with LocalLambda(gated) as function, running("--endpoint", function.url, "--stream") as process:
        for chunk in CHUNKS:
            assert read_exactly(output_of(process), len(chunk)) == chunk
            gated.allow()
        assert output_of(process).read() == b""
        code, said = ending(process)
    assert code == 0
    assert said.startswith(f"complete: {SIZE} bytes in 4 chunks, ")
    assert said.endswith(" ms\n")
    assert said.count("\n") == 1


def test_each_event_is_a_line_before_the_function_writes_the_next() -> None:
    """With ``--json``: text where it is text, base64 where it is not."""
    gated = Gated(*CHUNKS)
    seen = []
    with LocalLambda(gated) as function, running("--endpoint", function.url, "--stream", "--json") as process:
        with io.BufferedReader(output_of(process)) as lines:
            seen.append(lines.readline())
            for _ in CHUNKS:
                seen.append(lines.readline())
                gated.allow()
            seen += lines.readlines()
        assert ending(process) == (0, "")
    accepted, *chunks, complete = events(b"".join(seen))
    assert accepted.pop("request_id")
    assert accepted.pop("trace_id")
    assert accepted == {
        "event": "InvokeAccepted",
        "content_type": "application/x-chunks",
        "executed_version": "$LATEST",
    }
    assert chunks == [
        {"event": "PayloadChunk", "size": 4, "text": "one\n"},
        {"event": "PayloadChunk", "size": 3, "base64": "AP/+"},
        {"event": "PayloadChunk", "size": 7, "text": "Größe"},
        {"event": "PayloadChunk", "size": 4, "text": "last"},
    ]
    assert complete == {"event": "InvokeComplete", "error_code": "", "error_details": ""}


@pytest.mark.parametrize("options", [["--tail"], []])
def test_an_error_midway_is_1_after_what_came_before(options: list[str]) -> None:
    """The chunks on standard output; on standard error how far it came, the log if wanted, and the reason."""
    gated = Gated(b"x", failing=True)
    gated.allow()
    with LocalLambda(gated) as function:
        code, output, said = run("--endpoint", function.url, "--stream", *options)
    first, *log, last = said.splitlines(keepends=True)
    assert (code, output) == (1, b"x")
    assert first.startswith("incomplete: 1 byte in 1 chunk, ")
    assert reason(last) == LAME
    assert [line.partition(" ")[0] for line in log] == (["START", "END", "REPORT"] if options else [])


def test_an_error_before_the_first_chunk_is_1() -> None:
    """The service accepts the call before it knows."""
    with LocalLambda(lame) as function:
        code, output, said = run("--endpoint", function.url, "--stream")
    first, last = said.splitlines(keepends=True)
    assert (code, output) == (1, b"")
    assert first.startswith("incomplete: 0 bytes in 0 chunks, ")
    assert reason(last) == LAME


def test_an_error_with_details_that_are_no_document_says_both() -> None:
    """Its code, and the details as they stand (ES-MESSAGE-19)."""
    complete = InvokeComplete(error_code="Code", error_details="no document")
    with scripted(STREAM_HEAD, frame(complete), b"0\r\n\r\n") as service:
        code, output, said = run("--endpoint", service.url, "--stream")
    assert (code, output) == (1, b"")
    assert reason(said.partition("\n")[2]) == "the function failed: Code: no document"


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_service_that_vanishes_midway_is_1_and_one_line(options: list[str]) -> None:
    """What came before was shown; an answer without its end is never a success."""
    with scripted(STREAM_HEAD, frame(PayloadChunk(payload=b"half"))) as service:
        code, output, said = run("--endpoint", service.url, "--stream", *options)
    assert code == 1
    if options:
        assert [event["event"] for event in events(output)] == ["InvokeAccepted", "PayloadChunk"]
    else:
        assert output == b"half"
    assert reason(said).endswith("the function may have run")


def test_a_service_that_never_ends_a_complete_answer_holds_nobody_up() -> None:
    """The completion is the end; the service still waits when the command has gone."""
    pieces = [STREAM_HEAD, frame(PayloadChunk(payload=b"all")), frame(InvokeComplete())]
    with scripted(*pieces, ending=wait_for_the_end) as service:
        code, output, said = run("--endpoint", service.url, "--stream")
    assert (code, output) == (0, b"all")
    assert said.startswith("complete: 3 bytes in 1 chunk, ")


@pytest.mark.parametrize("kind", ["text/html", ""])
def test_what_is_no_event_stream_says_what_it_is(kind: str) -> None:
    """As a web server answers that takes any path."""
    head = f"HTTP/1.1 200 OK\r\n{f'Content-Type: {kind}' if kind else 'Server: web'}\r\nContent-Length: 30\r\n\r\n"
    with scripted(head.encode(), b"<html>not a stream</html>     ") as service:
        code, output, said = run("--endpoint", service.url, "--stream")
    assert (code, output) == (1, b"")
    expected = f"expected application/vnd.amazon.eventstream, got {kind!r}: "
    assert f"does not speak as Lambda does: the service sent what it may not: {expected}" in reason(said)


def test_a_message_that_was_damaged_is_1_and_one_line() -> None:
    """Its checksum does not hold."""
    damaged = bytearray(frame(PayloadChunk(payload=b"half")))
    damaged[-4] ^= 1
    with scripted(STREAM_HEAD, bytes(damaged), b"0\r\n\r\n") as service:
        code, output, said = run("--endpoint", service.url, "--stream")
    assert (code, output) == (1, b"")
    assert reason(said).startswith(f"{service.url} does not speak as Lambda does: ")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_failure_of_the_service_midway_is_1_and_one_line(options: list[str]) -> None:
    """With ``--json`` it is an event as well."""
    failure = InvokeFailed(error_code="InternalError", message="out of\nluck")
    pieces = [STREAM_HEAD, frame(PayloadChunk(payload=b"half")), frame(failure), b"0\r\n\r\n"]
    with scripted(*pieces) as service:
        code, output, said = run("--endpoint", service.url, "--stream", *options)
    assert code == 1
    assert reason(said) == r"the service ended the answer with InternalError: out of\nluck"
    if options:
        assert events(output)[-1] == {
            "event": "InvokeFailed",
            "error_code": "InternalError",
            "message": "out of\nluck",
        }
    else:
        assert output == b"half"


# -- events of whole answers


def test_a_whole_answer_is_one_event() -> None:
    """With the log as text, when it was asked for."""
    with LocalLambda(echo) as function:
        code, output, said = run("--endpoint", function.url, "--json", "--tail", '"ö"')
    (event,) = events(output)
    log = event.pop("log").splitlines()
    assert (code, said) == (0, "")
    assert event.pop("request_id") in log[0]
    assert event.pop("trace_id")
    assert [line.partition(" ")[0] for line in log] == ["START", "END", "REPORT"]
    assert event == {
        "event": "InvokeAnswered",
        "status": 200,
        "content_type": "application/json",
        "function_error": "",
        "executed_version": "$LATEST",
        "size": 8,
        "text": r'"\u00f6"',
    }


def test_a_stream_gives_its_log_with_its_end() -> None:
    """As text."""
    with LocalLambda(echo) as function:
        code, output, said = run("--endpoint", function.url, "--json", "--tail", "--stream")
    found = events(output)
    assert (code, said) == (0, "")
    assert [event["event"] for event in found] == ["InvokeAccepted", "PayloadChunk", "InvokeComplete"]
    assert found[-1]["log"].startswith("START RequestId: ")


@pytest.mark.parametrize("options", [[], ["--stream"]])
def test_a_failed_function_is_an_event_too(options: list[str]) -> None:
    """With its whole error document; the exit code and the reason are as without ``--json``."""
    with LocalLambda(lame) as function:
        code, output, said = run("--endpoint", function.url, "--json", *options)
    event = events(output)[-1]
    assert (code, reason(said)) == (1, LAME)
    if options:
        assert event["error_code"] == "ValueError"
    else:
        assert event["function_error"] == "Unhandled"
    document = json.loads(event["error_details"] if options else event["text"])
    assert document["errorType"] == "ValueError"
    assert document["stackTrace"]


@pytest.mark.parametrize("options", [[], ["--stream"]])
def test_a_refusal_is_an_event_too(options: list[str]) -> None:
    """With status, type and message apart."""
    with LocalLambda(echo) as function:
        code, output, said = run("--endpoint", function.url, "--json", *options, "{")
    (event,) = events(output)
    assert code == 1
    assert event.pop("request_id")
    assert reason(said) == f"the service refused with 400 InvalidRequestContentException: {event.pop('message')}"
    assert event == {"event": "InvokeRefused", "status": 400, "error_type": "InvalidRequestContentException"}


# -- where it writes to and reads from


class Endless:
    """A function that streams until it is told to stop."""

    def __init__(self) -> None:
        self.stop = threading.Event()

    def __call__(self, event: object, context: object) -> StreamingResponse:
        return StreamingResponse(self._body())

    def _body(self) -> Iterator[bytes]:
        while not self.stop.is_set():
            yield b"more" * 4096


@contextmanager
def endless() -> Iterator[str]:
    handler = Endless()
    with LocalLambda(handler) as function:
        try:
            yield function.url
        finally:
            handler.stop.set()


@pytest.mark.parametrize("options", [["--stream"], ["--stream", "--json"]])
def test_a_reader_that_has_seen_enough_ends_it(options: list[str]) -> None:
    """As ``| head -c 1`` does: it says nothing and ends with 1, while the function streams on."""
    with endless() as url, running("--endpoint", url, *options) as process:
        assert len(read_exactly(output_of(process), 1)) == 1
        output_of(process).close()
        assert ending(process) == (1, "")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_reader_that_never_read_ends_it(options: list[str]) -> None:
    """A whole answer that nobody wants; its reason is said where the function failed."""
    with LocalLambda(raw) as function, running("--endpoint", function.url, *options) as process:
        output_of(process).close()
        assert ending(process) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is full")
@pytest.mark.parametrize("options", [[], ["--json"], ["--stream"]])
def test_output_that_cannot_be_written_is_1_and_one_line(options: list[str]) -> None:
    """Such as on a full disk."""
    with (
        LocalLambda(raw) as function,
        Path("/dev/full").open("wb") as full,
        running("--endpoint", function.url, *options, stdout=full.fileno()) as process,
    ):
        code, said = ending(process)
    assert (code, reason(said)) == (1, "the answer cannot be written: No space left on device")


def test_a_closed_standard_output_is_1_before_anything_is_sent() -> None:
    """The answer would be lost."""
    code, output, said = run("--endpoint", "http://127.0.0.1:1", close=[1])
    assert (code, output) == (1, b"")
    assert reason(said) == "standard output is closed: nothing was sent"


def test_a_closed_standard_input_matters_to_who_reads_it() -> None:
    """Only to a payload that comes from there."""
    with LocalLambda(echo) as function:
        assert run("--endpoint", function.url, "1", close=[0]) == (0, b"1", "")
        code, output, said = run("--endpoint", function.url, "-", close=[0])
    assert (code, output) == (2, b"")
    assert reason(said) == "cannot read standard input: it is closed (see lambda-wire invoke --help)"


def test_a_closed_standard_error_moves_nothing_elsewhere() -> None:
    """What would be said there is said nowhere: the output is the answer and nothing else."""
    with LocalLambda(echo) as function:
        assert run("--endpoint", function.url, "--stream", "1", close=[2]) == (0, b"1", "")
    with LocalLambda(lame) as function:
        assert run("--endpoint", function.url, "1", close=[2]) == (1, b"", "")


@pytest.mark.parametrize(
    ("options", "chunks", "shown"),
    [
        ([], [b"answer"], b"answer\n"),
        ([], [b"line\n"], b"line\n"),
        (["--stream"], [b"li", b"ne"], b"line\ncomplete: "),
        (["--stream"], [b"line\n"], b"line\ncomplete: "),
    ],
)
def test_on_a_terminal_what_follows_begins_a_line(options: list[str], chunks: list[bytes], shown: bytes) -> None:
    """There the answer, what is said of it and the shell's prompt would run together."""
    pieces = [*(frame(PayloadChunk(payload=chunk)) for chunk in chunks), frame(InvokeComplete()), b"0\r\n\r\n"]
    answer = [STREAM_HEAD, *pieces] if options else [whole("200 OK", b"".join(chunks))]
    ours, terminal = os.openpty()
    try:
        with scripted(*answer) as service:
            done = subprocess.run(
                [*PYTHON, "--endpoint", service.url, *options],
                env=environment(),
                stdout=terminal,
                stderr=terminal,
                check=False,
                timeout=PATIENCE_S,
            )
        seen = os.read(ours, 4096).replace(b"\r\n", b"\n")
    finally:
        os.close(ours)
        os.close(terminal)
    assert done.returncode == 0
    assert seen.startswith(shown)
    assert seen.count(b"\n") == (2 if options else 1)


# -- Ctrl-C


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_ctrl_c_ends_it_while_the_function_is_silent(options: list[str]) -> None:
    """At once, with 1, as every command, and without a word."""
    gated = Gated(b"all there is")
    with LocalLambda(gated) as function:
        with running("--endpoint", function.url, "--stream", *options) as process:
            seen = b""
            while b"all there is" not in seen:
                seen += read_exactly(output_of(process), 1)
            process.send_signal(signal.SIGINT)
            assert ending(process) == (1, "")
        gated.allow()


def test_ctrl_c_ends_it_while_it_waits_for_an_answer() -> None:
    """The function has been called and says nothing."""
    called, release = threading.Event(), threading.Event()

    def slow(event: object, context: object) -> object:
        called.set()
        return release.wait(PATIENCE_S)

    with LocalLambda(slow) as function, running("--endpoint", function.url) as process:
        assert called.wait(PATIENCE_S)
        process.send_signal(signal.SIGINT)
        assert ending(process) == (1, "")
        release.set()


def test_ctrl_c_ends_it_while_nobody_reads() -> None:
    """What it could not write is not waited for at its end."""
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, 4096)
    try:
        with (
            LocalLambda(lambda event, context: b"x" * 1_000_000) as function,
            running("--endpoint", function.url, stdout=writes) as process,
        ):
            readable, _, _ = select.select([reads], [], [], PATIENCE_S)
            assert readable  # so it is in the middle of writing more than fits
            process.send_signal(signal.SIGINT)
            assert ending(process) == (1, "")
    finally:
        os.close(reads)
        os.close(writes)


# -- real services


APP: Final = """
from lambda_wire import StreamingResponse

def echo(event, context):
    return event

def fail(event, context):
    raise ValueError("no legs")

def stream(event, context):
    print("in the log")
    def body():
        yield b"1\\xff\\n"
        with open("gate") as gate:
            gate.read()
        yield "2"
        raise ValueError("no legs")
    return StreamingResponse(body())
"""


def test_local_around_a_process_streams_to_it(tmp_path: Path) -> None:
    """Three processes: the first chunk is shown before the function writes the second; then its error and its log."""
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    os.mkfifo(tmp_path / "gate")
    with running_local("app.stream", cwd=tmp_path) as local:
        url = f"http://127.0.0.1:{local.port}"
        with running("--endpoint", url, "--stream", "--tail", "{}") as process:
            assert read_exactly(output_of(process), 3) == b"1\xff\n"
            (tmp_path / "gate").write_text("", encoding="ascii")
            assert output_of(process).read() == b"2"
            assert output_of(process).read() == b""
            code, said = _ending_with_log(process)
    first, *log, last = said.splitlines(keepends=True)
    assert code == 1
    assert first.startswith("incomplete: 4 bytes in 2 chunks, ")
    assert "in the log\n" in log
    assert reason(last) == "the function failed: ValueError: no legs"


def _ending_with_log(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """The log of a function that failed may hold the function's own traceback."""
    assert process.stderr is not None
    said = process.stderr.read().decode()
    assert "lambda_wire/invoke.py" not in said
    return process.wait(PATIENCE_S), said


def test_local_around_a_process_answers_it(tmp_path: Path) -> None:
    """Its answer, and what it refuses."""
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    (tmp_path / "large").write_bytes(b'"' + b"x" * 7_000_000 + b'"')
    with running_local("app.echo", cwd=tmp_path) as local:
        url = f"http://127.0.0.1:{local.port}"
        assert run("--endpoint", url, '{"n":  1}') == (0, b'{"n": 1}', "")
        code, output, said = run("--endpoint", url, f"@{tmp_path / 'large'}")
    assert (code, output) == (1, b"")
    assert reason(said).startswith("the service refused with 413 RequestTooLargeException: ")


def call_emulator(tmp_path: Path, handler: str, *arguments: str) -> tuple[int, bytes, str]:
    """Run the command against AWS's emulator around our bootstrap."""
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    runtime = [sys.executable, "-m", "lambda_wire", "run", handler]
    with running_emulator(runtime, cwd=tmp_path) as emulator:
        return run("--endpoint", emulator.base_url, *arguments)


def test_the_emulator_answers_it(tmp_path: Path) -> None:
    """With the function's bytes."""
    assert call_emulator(tmp_path, "app.echo", '{"n":  1}') == (0, b'{"n": 1}', "")
    assert call_emulator(tmp_path, "app.echo") == (0, b"{}", "")


def test_the_emulator_does_not_say_that_the_function_failed(tmp_path: Path) -> None:
    """Its answer has no field of Lambda's, so an error document is an answer like any other, and is shown as one."""
    code, output, said = call_emulator(tmp_path, "app.fail", "--json", "{}")
    (event,) = events(output)
    assert (code, said) == (0, "")
    assert json.loads(event.pop("text"))["errorMessage"] == "no legs"
    assert event.pop("size")
    assert event == {
        "event": "InvokeAnswered",
        "status": 200,
        "content_type": "text/plain; charset=utf-8",
        "function_error": "",
        "executed_version": "",
        "request_id": "",
        "trace_id": "",
    }


def test_the_emulator_cannot_stream(tmp_path: Path) -> None:
    """It says no more than that it has no such page; the line says more."""
    code, output, said = call_emulator(tmp_path, "app.echo", "--stream", "{}")
    assert (code, output) == (1, b"")
    assert reason(said) == (
        "the service refused with 404: 404 page not found "
        "(it may have no InvokeWithResponseStream: try without --stream)"
    )
