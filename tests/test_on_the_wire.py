"""The bytes of ``spec/on-the-wire.md``: our two ends write exactly these, and hear in them what was meant."""

from __future__ import annotations

import re
from typing import Final

import pytest

from lambda_wire._events import (
    Accepted,
    BufferedResponse,
    Invocation,
    NextAsked,
    ResponseChunk,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
)
from lambda_wire._runtime import RuntimeConnection
from lambda_wire._service import ServiceConnection
from lambda_wire.testing import deliveries
from tests.test_pair import Line, events
from tests.test_spec import SPEC, Book, citations, of_disk

PAGE: Final = "on-the-wire.md"
#: Looks like the id of a rule.
NO_RULE: Final = "RS-CHUNK-" + "9" * 2
_BLOCK: Final = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINE: Final = re.compile(r"(?P<mark>[<>]) (?P<bytes>\S.*?)(?:  +(?P<remark>\S.*))?|  +\(.*\)")
_ENDS: Final = {r"\r": "\r", r"\n": "\n"}

ID: Final = "a952746e"
POLL: Final[Line] = (
    NextAsked(),
    Invocation(
        request_id=ID,
        payload=b'{"k":"v"}',
        deadline_ms=1795234230850,
        invoked_function_arn="arn:aws:lambda:us-east-1:012345678912:function:f",
    ),
)
NEXT: Final[Line] = (NextAsked(), None)
BEGUN: Final[list[Line]] = [
    (ResponseStarted(request_id=ID, content_type="text/plain"), None),
    (ResponseChunk(data=b"hello "), None),
]
FAILURE: Final = ResponseFailed(error_type="Function.MyErr", error_body=b'{"errorMessage":"boom"}')

#: What is said in each block, and what was said before it.
SAID: Final[tuple[tuple[list[Line], list[Line]], ...]] = (
    ([], [POLL, (BufferedResponse(request_id=ID, payload=b'{"ok":true}'), Accepted()), NEXT]),
    ([POLL], [*BEGUN, (ResponseChunk(data=b"world"), None), (ResponseFinished(), Accepted()), NEXT]),
    ([POLL], [*BEGUN, (FAILURE, Accepted()), NEXT]),
)


def shown(text: str) -> list[list[tuple[str, bytes]]]:
    """Return what each block of a page shows: who speaks, and the bytes until the other one does.

    Raises:
        ValueError: A line is neither bytes nor a remark in brackets.
    """
    blocks: list[list[tuple[str, bytes]]] = []
    for block in _BLOCK.findall(text):
        blocks.append([])
        for line in block.splitlines():
            if not (found := _LINE.fullmatch(line)):
                raise ValueError(f"neither bytes nor a remark: {line!r}")
            if found["mark"]:
                data = re.sub(r"\\[rn]", lambda end: _ENDS[end[0]], found["bytes"]).encode()
                add(blocks[-1], found["mark"], data)
    return blocks


def add(said: list[tuple[str, bytes]], mark: str, data: bytes) -> None:
    if said and said[-1][0] == mark:
        data = said.pop()[1] + data
    said.append((mark, data))


BLOCKS: Final = shown((SPEC / PAGE).read_text(encoding="utf-8"))


@pytest.mark.parametrize("delivery", range(5))
@pytest.mark.parametrize("number", range(len(SAID)))
def test_our_ends_write_and_read_the_bytes_that_the_page_shows(number: int, delivery: int) -> None:
    """RT-NEXT, RT-RESP, RS-CHUNK, RS-TRAILER: each line of the page, and nothing beside it, however delivered."""
    runtime, service = RuntimeConnection(host="127.0.0.1:9001", user_agent="my-runtime/1.0"), ServiceConnection()

    def hold(lines: list[Line]) -> list[tuple[str, bytes]]:
        said: list[tuple[str, bytes]] = []
        for ask, answer in lines:
            add(said, ">", data := runtime.send(ask))
            assert events(service.receive_data, service.next_event, list(deliveries(data))[delivery]) == [ask]
            if answer is not None:
                add(said, "<", data := service.send(answer))
                assert events(runtime.receive_data, runtime.next_event, list(deliveries(data))[delivery]) == [answer]
        return said

    before, lines = SAID[number]
    hold(before)
    assert hold(lines) == BLOCKS[number]


def test_every_block_of_the_page_is_held() -> None:
    """A block that nobody compares could show anything."""
    assert len(BLOCKS) == len(SAID)


def test_the_remarks_cite_rules() -> None:
    """Also in the blocks, an id belongs to a rule that is in force."""
    book = of_disk()
    spoilt = Book(book.pages | {PAGE: book.pages[PAGE].replace("RS-CHUNK-1\n", f"{NO_RULE}\n")}, book.kept)
    assert list(citations(spoilt)) == [f"{PAGE}: cites {NO_RULE}"]


@pytest.mark.parametrize("line", ["> ", "x GET /", "(a remark at the margin)", ">  bytes", ""])
def test_a_line_that_is_nothing_is_found(line: str) -> None:
    """It would be bytes that are not compared."""
    with pytest.raises(ValueError, match="neither"):
        shown(f"```text\n{line}\n```\n")
