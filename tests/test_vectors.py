"""The vectors of ``spec/vectors``: they keep their own law, and our codecs and roles say what they say."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lambda_wire._errors import LocalProtocolError, RemoteProtocolError
from lambda_wire._malformed import Malformed
from lambda_wire.testing import deliveries
from tests import vector_codecs, vector_roles, vectors
from tests.real_parts import missing
from tests.test_spec import of_disk
from tests.vector_codecs import Reader, Rejected
from tests.vector_events import Plain, joined, unframed

NODE = Path(__file__).with_name("vectors.mjs")
LARGE = 100_000
#: Fields that are everybody's own.
OWN = (b"host", b"user-agent", b"date")
CODECS = {name for name in (*vector_codecs.READERS, *vector_codecs.WRITERS)}


def unwrapped(members: Plain) -> Any:  # Any: JSON
    """Read bytes, and texts that are repeated, as the vectors write them."""
    if "hex" in members:
        return bytes.fromhex(members["hex"]) * members.get("times", 1)
    return members["repeat"] * members["times"] if "repeat" in members else members


def stories() -> Iterator[tuple[str, Plain]]:
    """Yield every story, with the name of its file."""
    for path in sorted(vectors.VECTORS.glob("*.json")):
        for story in json.loads(path.read_text(encoding="utf-8"), object_hook=unwrapped)["stories"]:
            yield path.stem, story


STORIES = list(stories())


# -- what ours say


def outcome(page: str, story: Plain, pieces: list[bytes]) -> Plain:
    """Return what our codec or role says of bytes: verdict, events, and where and how they were refused."""
    if page in CODECS:
        reader: Reader = vector_codecs.READERS[page](story)
    else:
        reader = vector_roles.READERS[page, story["role"]](story)
    said: Plain = {"verdict": "accept"}
    try:
        for piece in pieces:
            reader.feed(piece)
        reader.finish(ends=story.get("ends", False))
    except Malformed as fault:
        said = {"verdict": "reject", "fault": {"at": fault.at}}
    except RemoteProtocolError:
        said = {"verdict": "reject"}
    except Rejected as fault:
        said = {"verdict": "reject", "reply": fault.reply}
    return said | {"events": normal(page, reader.heard)}


def normal(page: str, events: list[Plain]) -> list[Plain]:
    """Return events without what means nothing."""
    if page in ("service", "managed-service"):
        return unframed(events)
    if page == "chunked":
        return list(joined(events))
    if page.startswith("function-url"):
        return [lowered(said) for said in events]
    return events


def lowered(said: Plain) -> Plain:
    """Return an answer with names of fields in lower case."""
    return said if "fields" not in said else said | {"fields": [[name.lower(), value] for name, value in said["fields"]]}


def part_of(wanted: Any, got: Any) -> bool:  # Any: JSON
    """Say whether all that is wanted is there; what is null must not be."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        return all(name not in got if value is None else part_of(value, got.get(name)) for name, value in wanted.items())
    return type(wanted) is type(got) and wanted == got


def fits(page: str, story: Plain, said: Plain) -> bool:
    """Say whether an outcome is what the story says."""
    wanted = normal(page, story["events"])
    if page == "function-url-event":
        events_fit = len(wanted) == len(said["events"]) and all(map(part_of, wanted, said["events"]))
    else:
        events_fit = wanted == said["events"]
    rest: Plain = {"verdict": story["verdict"]}
    if "fault" in story:
        rest["fault"] = {"at": story["fault"]["at"]}
    if "reply" in story:
        rest["reply"] = lowered(story["reply"])
    return events_fit and part_of(rest, said)


def cuts(wire: bytes) -> Iterator[list[bytes]]:
    """Yield the ways in which bytes are delivered; large ones not byte by byte."""
    if len(wire) < LARGE:
        yield from deliveries(wire, seed=7)
    else:
        yield [wire]
        yield [wire[at : at + LARGE // 3] for at in range(0, len(wire), LARGE // 3)]


def written(page: str, story: Plain) -> bytes | None:
    """Return what our codec or role writes for the events of a story; ``None`` where it refuses to."""
    try:
        if page in CODECS:
            return vector_codecs.WRITERS[page](story["events"])
        return vector_roles.WRITERS[page, story["role"]](story).write(story["events"])
    except (Malformed, LocalProtocolError):
        return None


def messages(wire: bytes) -> tuple[bytes, list[bytes], bytes]:
    """Return start line, fields and body of an HTTP message, without what is everybody's own; else all as the body."""
    head, _, body = wire.partition(b"\r\n\r\n")
    start, *lines = head.split(b"\r\n")
    if b"HTTP/1." not in start:
        return b"", [], wire
    pairs = (line.partition(b":") for line in lines)
    fields = [name.lower() + b":" + value.strip() for name, _, value in pairs if name.lower() not in OWN]
    status = start.split(b" ")[:2] if start.startswith(b"HTTP") else [start]  # the reason is free
    return b" ".join(status), sorted(fields), body


@pytest.mark.parametrize(("page", "story"), STORIES, ids=[f"{page}: {story['name']}" for page, story in STORIES])
def test_ours_say_what_the_vector_says(page: str, story: Plain) -> None:
    """Same verdict, same events, the same answer to what is refused, however the bytes are delivered."""
    wire = b"".join(story["wire"])
    if story["does"] == "read":
        for pieces in cuts(wire):
            said = outcome(page, story, pieces)
            assert fits(page, story, said), said
        return
    ours = written(page, story)
    assert (ours is None) == (story["verdict"] == "reject"), ours
    if ours is not None:
        assert ours == wire or messages(ours) == messages(wire)


# -- the law of the vectors


def test_the_files_are_what_their_sources_make() -> None:
    """``--check`` has nothing to say."""
    assert list(vectors.wrong(vectors.VECTORS)) == []
