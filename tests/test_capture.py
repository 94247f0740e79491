"""Every capture is read whole: each block has as many bytes as its head line says, nothing is left over."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import capture
from tests.capture import Direction

FILES = sorted(capture.CAPTURES.glob("*.txt"))
ALL = {path.stem: capture.load(path) for path in FILES}

_BLOCK = re.compile(r"^\[.*?\] \S+ \S* (>>>|<<<) (\d+) bytes", re.MULTILINE)
_ELIDED = re.compile(r"<<<ELIDED (\d+) BYTES>>>")


def test_the_captures_are_here() -> None:
    """All captures of the Runtime API are read, in the order of their names."""
    assert len(FILES) == 62
    assert [item.name for item in capture.load_all()] == [path.stem for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_block_becomes_a_step_of_its_length(path: Path) -> None:
    """The counts in the head lines, with what was elided put back, are the lengths of the steps, in order."""
    text = path.read_text(encoding="utf-8")
    blocks = re.split(r"^(?=\[)", text, flags=re.MULTILINE)[1:]
    expected: list[tuple[str, int]] = []
    for block in blocks:
        if head := _BLOCK.match(block):
            kept = [(int(size), len(f"<<<ELIDED {size} BYTES>>>")) for size in _ELIDED.findall(block)]
            expected.append((head[1], int(head[2]) + sum(size - mark for size, mark in kept)))
    steps = ALL[path.stem].steps
    assert len(steps) == len(blocks)
    marks = {Direction.SENT: ">>>", Direction.RECEIVED: "<<<"}
    assert [(marks[step.direction], len(step.data)) for step in steps if step.direction in marks] == expected
    assert not any(step.data for step in steps if step.direction not in marks)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nothing_had_to_stay_elided(path: Path) -> None:
    """Each cut run is one byte repeated, and the message is as long as its own framing says."""
    for step in ALL[path.stem].steps:
        assert not step.elided
        assert b"ELIDED" not in step.data
        if len(step.data) < 10_000:
            continue
        head, _, body = step.data.partition(b"\r\n\r\n")
        if length := re.search(rb"(?im)^content-length: (\d+)\r?$", head):
            assert len(body) == int(length[1])
        elif re.search(rb"(?im)^transfer-encoding: chunked\r?$", head):
            assert unchunked(body)
        elif re.match(rb"[0-9a-f]+\r\n", step.data):
            assert unchunked(step.data)


def unchunked(data: bytes) -> bytes:
    pieces: list[bytes] = []
    while data:
        size, _, data = data.partition(b"\r\n")
        count = int(size, 16)
        pieces.append(data[:count])
        assert data[count : count + 2] == b"\r\n"
        data = data[count + 2 :]
    return b"".join(pieces)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_steps_are_in_order_and_connections_begin_by_connecting(path: Path) -> None:
    """A connection is one TCP connection: it is opened once, before anything else."""
    item = ALL[path.stem]
    assert [step.at_ms for step in item.steps] == sorted(step.at_ms for step in item.steps)
    for connection, steps in item.connections.items():
        assert steps[0].direction is Direction.CONNECTED
        assert sum(step.direction is Direction.CONNECTED for step in steps) == 1
        assert connection.startswith(steps[0].party + "/")
    assert sum(map(len, item.connections.values())) == sum(bool(step.connection) for step in item.steps)


def test_a_stream_reads_as_it_was_written() -> None:
    """Writes stay apart, and a caller's exchange is joined."""
    item = ALL["a03_streaming_ok"]
    assert item.title == "chunked streaming response, several chunks with pauses"
    assert (item.flags, item.env, item.runtime_port, item.caller_port) == ((), {}, 50117, 42589)
    assert list(item.connections) == ["caller/call", "runtime/c1"]
    runtime = item.connections["runtime/c1"]
    sent = [step.data for step in runtime if step.direction is Direction.SENT]
    assert sent[2:6] == [b"6\r\nhello \r\n", b"a\r\nstreaming \r\n", b"5\r\nworld\r\n", b"0\r\n\r\n"]
    (exchange,) = item.caller_exchanges
    assert exchange.request.endswith(b'\r\n\r\n{"k":"v"}')
    assert exchange.answer.endswith(b"\r\n\r\nhello streaming world")


def test_flags_environment_and_notes_are_kept() -> None:
    """How the emulator was started, and what the author remarked, is not lost."""
    item = ALL["c32_snapstart_restore_error"]
    assert item.flags == ("--enable-init-caching",)
    assert item.env == {"AWS_LAMBDA_FUNCTION_TIMEOUT": "5"}
    assert "in Started" in [step.note for step in item.steps]


def test_later_processes_and_later_connections_have_names_of_their_own() -> None:
    """A label that is used again is another connection; a restarted runtime another party."""
    item = ALL["a47_runtime_exits_during_invoke"]
    assert list(item.connections) == ["caller/call", "runtime/c1", "caller/call.2", "runtime#1/c1"]
    assert item.caller_exchanges[0].answer.startswith(b"HTTP/1.1 502 ")
    assert any(step.direction is Direction.NOTE and not step.connection for step in item.steps)


def test_how_connections_ended_is_told_apart() -> None:
    """Every direction occurs, and FIN is not RST."""
    directions = {step.direction for item in ALL.values() for step in item.steps}
    assert directions == set(Direction)
    ends = {step.note for item in ALL.values() for step in item.steps if step.direction is Direction.CLOSED}
    assert ends == {"closed locally (FIN)", "closed locally (RST)"}


def test_a_cut_between_different_bytes_stays_flagged(tmp_path: Path) -> None:
    """What was elided is never guessed."""
    item = write(tmp_path, "[   0.000s] runtime c1 >>> 29 bytes", "    b'abc<<<ELIDED 1000 BYTES>>>def'")
    assert item.steps[1].elided
    assert item.steps[1].data == b"abcdef"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (("[   0.000s] runtime c1 >>> 3 bytes", "    b'ab'"), "2 bytes follow"),
        (("[   0.000s] runtime c1 >>> some bytes",), "no byte count"),
        (("[   0.000s] runtime c1 >>> 1 bytes", "    0"), "not a bytes literal"),
        (("[   0.000s] runtime c2 >>> 1 bytes", "    b'a'"), "before it is connected"),
        (("what is this",), "not a head line"),
    ],
)
def test_what_is_not_a_capture_is_refused(tmp_path: Path, lines: tuple[str, ...], reason: str) -> None:
    """A damaged block is refused with the reason."""
    with pytest.raises(ValueError, match=reason):
        write(tmp_path, *lines)


def test_a_file_without_its_four_lines_is_refused(tmp_path: Path) -> None:
    """A file of another format is refused."""
    path = tmp_path / "x.txt"
    path.write_text("# case: y\n# t\n# emulator flags:   env: {}\n# ports\n", encoding="utf-8")
    with pytest.raises(ValueError, match="first four lines"):
        capture.load(path)


def write(folder: Path, *lines: str) -> capture.Capture:
    head = ["# case: x", "# a title", "# emulator flags:   env: {}", "# runtime-api port 1, caller port 2; etc"]
    path = folder / "x.txt"
    path.write_text("\n".join([*head, "", "[   0.000s] runtime c1 --- connected", *lines, ""]), encoding="utf-8")
    return capture.load(path)
