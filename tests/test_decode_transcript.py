"""``lambda-wire decode`` of a transcript: each connection is explained for itself, as far as its bytes are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_wire.cli import main
from lambda_wire.decode import explain, recognise
from lambda_wire.decode.pieces import Layer, Piece, Verdict, as_json, as_line
from tests.capture import CAPTURES, load
from tests.test_decode import CUT, VIOLATIONS, decode, explained, named

PING: Final = "GET /2018-06-01/ping HTTP/1.1\r\nHost: x\r\n\r\n"
ANSWER: Final = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n"
STREAM: Final = (
    "POST /2018-06-01/runtime/invocation/a/response HTTP/1.1\r\nHost: x\r\n"
    "Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n\r\n"
)

Written: TypeAlias = tuple[bytes, str]
"""A transcript, and the file in which it is."""
Write: TypeAlias = Callable[..., Written]


def block(mark: str, data: str, *, size: int | None = None, connection: str = "runtime c1") -> str:
    size = len(data) if size is None else size
    return f"[   0.000s] {connection} {mark} {size} bytes\n    {data.encode('latin-1')!r}"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return what writes a transcript of these blocks; its one connection is open."""

    def write(*blocks: str) -> Written:
        lines = ["# case: x", "# of our own", "", "[   0.000s] runtime c1 --- connected", *blocks, ""]
        path = tmp_path / "x.txt"
        path.write_text("\n".join(lines), encoding="utf-8")
        return path.read_bytes(), str(path)

    return write


def alone(data: bytes) -> list[Piece]:
    """Return the pieces of a transcript that has one connection."""
    (part,) = explain(data, "transcript")
    return list(part.pieces)


class TestRecordings:
    """All of ``tests/captures``, through the command line."""

    @pytest.mark.parametrize("path", sorted(CAPTURES.glob("*.txt")), ids=lambda path: path.stem)
    def test_a_machine_reads_each_connection_by_itself(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """As if both its directions were a capture of their own, and with its name."""
        expected: list[str] = []
        broken: list[str] = []
        for connection, steps in load(path).connections.items():
            pieces = explained(b"".join(step.data for step in steps))
            assert named(pieces) == VIOLATIONS.get((path.stem, connection), ("", "", ""))[2]
            broken += [named(pieces)] if named(pieces) else []
            expected += [as_json(piece, connection) for piece in pieces]
        assert main(["decode", "--json", str(path)]) == (1 if broken else 0)
        shown = capsys.readouterr().out.splitlines()
        assert shown == expected
        assert all(json.loads(line)["connection"] for line in shown)

    @pytest.mark.parametrize("path", sorted(CAPTURES.glob("*.txt")), ids=lambda path: path.stem)
    def test_a_person_reads_each_connection_by_itself(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Under its name and its size; the verdict names the connection that it is of."""
        capture = load(path)
        expected: list[str] = []
        first = where = cut = ""
        for connection, steps in capture.connections.items():
            data = b"".join(step.data for step in steps)
            expected.append(f"{connection}: {len(data)} bytes")
            expected += [as_line(piece, data) for piece in explained(data)]
            rule, _, offset = VIOLATIONS.get((path.stem, connection), ("", "", ""))[2].partition(" ")
            if rule and not first:
                first, where = f"violation of {rule}", f" at byte {offset} of {connection}: "
            if (path.stem, connection) in CUT and not cut:
                cut = f"; {connection} ends at byte {len(data)}, "
        main(["decode", str(path)])
        *shown, verdict = capsys.readouterr().out.splitlines()
        assert shown == expected
        total = sum(len(step.data) for step in capture.steps)
        if first:
            assert verdict.startswith(first)
            assert where in verdict
        else:
            assert verdict.startswith(f"no violation in {total} bytes{cut}")
            assert cut or verdict.endswith(" bytes")

    def test_as_a_program(self) -> None:
        """From standard input, as any other capture."""
        run = decode("-", data=(CAPTURES / "a45_bad_chunk.txt").read_bytes())
        assert (run.returncode, run.stderr) == (1, b"")
        last = run.stdout.splitlines()[-1]
        assert last == (
            b"violation of RS-CHUNK-1 at byte 633 of runtime/c1: a chunk's size must be 1-16 hex digits, got b'ZZ'"
        )


class TestLeftOut:
    """What a transcript does not have is said, and nobody is accused of it."""

    def test_a_path(self, write: Write, capsys: pytest.CaptureFixture[str]) -> None:
        """What is before it is explained, and the message that begins behind it."""
        data, file = write(block(">>>", PING), block("<<<", ANSWER + "see <path>/x", size=88), block(">>>", PING))
        pieces = alone(data)
        gap, end = len(PING + ANSWER) + 4, len(PING + ANSWER) + 12
        cut, lost, *then = [piece for piece in pieces if piece.offset + piece.length >= gap]
        assert (cut.verdict, cut.offset + cut.length) == (Verdict.INCOMPLETE, gap)
        assert (lost.verdict, lost.offset, lost.length) == (Verdict.UNREAD, gap, end - gap)
        assert [piece.offset for piece in then] == [end, end + 31, end + 40, end]
        assert then[-1].value == "PingAsked"
        assert main(["decode", file]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == (
            f"no violation in {end + len(PING)} bytes; "
            f"runtime/c1 lacks bytes at byte {gap}: the transcript leaves them out"
        )

    def test_a_run_of_many_bytes(self, write: Write) -> None:
        """Where it is not of one byte: its blocks until the next message cannot be placed either (RS-CHUNK-1)."""
        chunk = "400\r\nabc<<<ELIDED 1000 BYTES>>>def\r\n"
        data, _ = write(
            block(">>>", STREAM), block(">>>", chunk), block(">>>", "3\r\nabc\r\n"), block("<<<", "HTTP/1.1 202 OK\r\n")
        )
        pieces = alone(data)
        (lost,) = [piece for piece in pieces if piece.verdict is Verdict.UNREAD]
        assert (lost.offset, lost.length) == (len(STREAM) + 8, 5 + 8)
        assert not [piece for piece in pieces if piece.verdict is Verdict.VIOLATION]
        assert [piece.offset for piece in pieces][-1] == lost.offset + lost.length

    @pytest.mark.parametrize(
        ("said", "known", "gap"),
        [
            ("x" * 8 + "<<<ELIDED 9 BYTES>>>" + "x" * 8, "x" * 25, None),
            ("x" * 8 + "<<<ELIDED 9 BYTES>>>" + "x" * 7, "x" * 15, 8),
            ("<<<ELIDED 9 BYTES>>>" + "x" * 8, "x" * 8, 0),
            ("x" * 8 + "<<<ELIDED 9 BYTES>>>", "x" * 8, 8),
            ("x" * 8 + "<<<ELIDED 9999999999 BYTES>>>" + "x" * 8, "x" * 16, 8),
        ],
        ids=["put back", "too few behind", "none before", "none behind", "too many"],
    )
    def test_only_what_both_sides_show_is_put_back(self, write: Write, said: str, known: str, gap: int | None) -> None:
        """Eight equal bytes on each."""
        (part,) = explain(write(block(">>>", STREAM + said))[0], "transcript")
        assert part.data == (STREAM + known).encode()
        lost = [piece.offset for piece in part.pieces if piece.verdict is Verdict.UNREAD]
        assert (len(STREAM) + (gap or 0) in lost) is (gap is not None)

    def test_more_than_one_gap(self, write: Write) -> None:
        """What lies between two is explained once; and in one block, the first of them counts."""
        part = ANSWER + "a<path>"
        data, _ = write(*[block("<<<", part, size=200)] * 2, block(">>>", PING))
        assert [piece.offset for piece in alone(data) if piece.rules == ("RT-CONN-11",)] == [17, 17 + len(part)]
        data, _ = write(block("<<<", ANSWER + "a<<<ELIDED 9 BYTES>>>b<path>", size=200))
        assert alone(data)[-1].offset == len(ANSWER) + 1

    def test_a_path_that_was_sent(self, write: Write) -> None:
        """Where all bytes are there, it is what it says."""
        pieces = alone(write(block("<<<", ANSWER + "<path>" * 8 + "ab"))[0])
        assert {piece.verdict for piece in pieces} == {Verdict.FINE}


def test_what_the_other_end_opened(write: Write) -> None:
    """It need not be HTTP, and then nothing is known of it; where it is, it is explained."""
    other = block("<<<", '{"a":1}\n', connection="runtime sink")
    _, sink = explain(write(other, other)[0], "transcript")
    (piece,) = sink.pieces
    assert (sink.name, piece.verdict, piece.offset, piece.length) == ("runtime/sink", Verdict.UNREAD, 0, 16)
    _, sink = explain(write(block("<<<", PING, connection="runtime sink"))[0], "transcript")
    assert [piece.value for piece in sink.pieces][-1] == "PingAsked"
    first, _ = explain(write(block(">>>", "GARBAGE\r\n\r\n"), other)[0], "transcript")
    assert named(list(first.pieces)) == "RT-CONN-16 0"


def test_a_remark_on_bytes_opens_nothing(write: Write) -> None:
    """It is a connection of its own only where it was connected."""
    remarked = block(">>>", PING).replace(" bytes", " bytes  # connected before")
    assert [part.name for part in explain(write(remarked)[0], "transcript")] == ["runtime/c1"]


def test_what_cannot_command_a_terminal(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Names, too, are what somebody wrote."""
    _, file = write(block("<<<", "GARBAGE\r\n", connection="run\x1b[31mtime c1"))
    assert main(["decode", file]) == 0
    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.splitlines())
    assert "run\\x1b[31mtime/c1: 9 bytes" in out


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("what is this", "line 5: not a head line: 'what is this'"),
        (block(">>>", PING, size=999), "line 5: 42 bytes follow"),
        (block(">>>", "<path>", size=5), "line 5: 6 bytes follow"),
        ("[   0.000s] runtime c1 >>> some bytes", "line 5: no byte count"),
        (block(">>>", PING) + "\n    b'\\q'", "line 7: not a bytes literal: \"b'\\\\q'\""),
        (block(">>>", PING) + "\n    b'a'*9999999999", "line 7: not a bytes literal: \"b'a'*9999999999\""),
        (block(">>>", PING) + "\n    b'\u00e9'", "line 7: not a bytes literal: \"b'\u00e9'\""),
        (block(">>>", PING) + "\n    print()", "line 7: not a bytes literal: 'print()'"),
        ("[   0.000s] runtime c1 --- closed\n    b'a'", "line 5: 1 bytes follow"),
        (block(">>>", PING, connection="runtime c2"), "line 5: runtime c2 speaks before it is connected"),
    ],
)
def test_a_broken_transcript_is_wrong_usage(
    lines: str, said: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, which names that of the file; nothing was shown before."""
    _, file = write(lines)
    with pytest.raises(SystemExit) as caught:
        main(["decode", file])
    out, err = capsys.readouterr()
    assert (caught.value.code, out, err.count("\n")) == (2, "", 1)
    assert f"cannot read {file!r} as a transcript: {said} (see " in err


def test_no_connection_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing was said, and so nothing wrong."""
    path = tmp_path / "x.txt"
    path.write_text("# case: x\r\n\r\n[   0.000s] runtime  ### it exits\r\n", newline="")
    assert main(["decode", str(path)]) == 0
    assert capsys.readouterr().out == "no violation in 0 bytes\n"


SEED: Final = b"\n".join(
    [
        (CAPTURES / "a07_streaming_aborted.txt").read_bytes(),
        b"[   9.000s] runtime c1 >>> 61 bytes",
        b"    b'x'*30 + b'<<<ELIDED 9 BYTES>>>' + b'xxxxxxxx\\r\\n\\xff'",
        b"[   9.000s] runtime sink <<< 2 bytes",
        b"    b'{}'",
    ]
)


@settings(max_examples=200, deadline=None)
@given(edit=st.data())
def test_nothing_but_pieces_or_a_line_comes_of_any_transcript(edit: st.DataObject) -> None:
    """Whatever is broken, cut out or put in: each byte of each connection is explained, or a line is named."""
    assert explain(SEED, "transcript")
    data = bytearray(SEED)
    for _ in range(edit.draw(st.integers(0, 3))):
        at = edit.draw(st.integers(7, len(data)))
        data[at : at + edit.draw(st.integers(0, 40))] = edit.draw(st.binary(max_size=9) | st.just(b"<path>"))
    assert recognise(bytes(data)) == "transcript"
    try:
        parts = explain(bytes(data), "transcript")
    except ValueError as fault:
        assert str(fault).startswith("line ")  # noqa: PT017  # one of both comes of it
        return
    for part in parts:
        at = 0
        for piece in part.pieces:
            if piece.layer is Layer.WIRE:
                assert piece.offset == at
                at += piece.length
        assert at == len(part.data)
