"""The vectors of ``spec/vectors``: they keep their own law, and our codecs and roles say what they say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

import pytest

from lambda_wire._errors import LocalProtocolError, RemoteProtocolError
from lambda_wire._events import ConnectionClosed, Violation
from lambda_wire._invoke_events import InvokeViolation
from lambda_wire._invoke_service import InvokeServiceConnection
from lambda_wire._lifecycle import ManagedLifecycle, StandardLifecycle
from lambda_wire._malformed import Malformed
from lambda_wire._service import ServiceConnection
from lambda_wire._signals import Signal
from lambda_wire.testing import deliveries
from tests import vector_codecs, vector_roles, vectors
from tests.real_parts import missing
from tests.test_spec import of_disk
from tests.vector_codecs import Reader, Rejected
from tests.vector_events import INVOKE, RUNTIME_API, STREAMING, Plain, Words, event, joined, unframed

NODE = Path(__file__).with_name("vectors.mjs")
LARGE = 100_000
VERDICTS = ("accept", "reject")
#: Fields that are everybody's own.
OWN = (b"host", b"user-agent", b"date")
CODECS = {*vector_codecs.READERS, *vector_codecs.WRITERS}


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
    return (
        said if "fields" not in said else said | {"fields": [[name.lower(), value] for name, value in said["fields"]]}
    )


def part_of(wanted: object, got: object) -> bool:
    """Say whether all that is wanted is there; what is null must not be."""
    if not is_object(wanted) or not is_object(got):
        return type(wanted) is type(got) and wanted == got
    return all(it not in got if each is None else part_of(each, got.get(it)) for it, each in wanted.items())


def is_object(value: object) -> TypeGuard[Plain]:
    """Say whether a value is a JSON object."""
    return isinstance(value, dict)


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


#: Stories of the roles before which something was said; what a function URL knows was said by nobody.
LATER = [(page, story) for page, story in STORIES if "event" in story.get("given", [{}])[0]]


@pytest.mark.parametrize(("page", "story"), LATER, ids=[f"{page}: {story['name']}" for page, story in LATER])
def test_what_was_said_before_lies_in_its_bytes(page: str, story: Plain) -> None:
    """Ours write these bytes where it is theirs to say it; else they read it out of them, or refuse it."""
    role, given = story["role"], story["given"]
    for at, said in enumerate(given):
        before, wire = story | {"given": given[:at]}, b"".join(said.get("wire", []))
        bare = {name: value for name, value in said.items() if name not in ("by", "wire")}
        if said["by"] == role and wire:
            assert messages(vector_roles.WRITERS[page, role](before).write([said])) == messages(wire)
        elif wire and said["event"] != "raw":
            read = outcome(page, before | {"ends": False}, [wire])
            if page == "invoke-service":
                bare = {"body": b"{}"} | bare  # IN-ASK-3
            if read["verdict"] == "accept":
                assert read["events"] == [bare]
            else:
                (answer,) = given[at + 1 : at + 2] or story["events"]
                assert answer["event"] == "refused" or story["verdict"] == "reject"


# -- the runner itself can fail

SPOILT = [
    next((page, story) for name, story in STORIES if name == page and story["does"] == does and story["events"])
    for page, does in dict.fromkeys((page, story["does"]) for page, story in STORIES)
]


@pytest.mark.parametrize(("page", "story"), SPOILT, ids=[f"{page} {story['does']}" for page, story in SPOILT])
def test_a_wrong_vector_is_found(page: str, story: Plain) -> None:
    """Of each file a story with another verdict, other events or other bytes is one that ours do not fit."""
    wire = b"".join(story["wire"])
    if story["does"] == "write":
        ours = written(page, story)
        assert (ours is None) == (story["verdict"] == "reject")
        assert ours is None or messages(ours) != messages(wire + b"x")
        return
    said = outcome(page, story, [wire])
    assert fits(page, story, said)
    other = "reject" if story["verdict"] == "accept" else "accept"
    assert not fits(page, story | {"verdict": other}, said)
    assert not fits(page, story | {"events": [*story["events"], {"event": "no such"}]}, said)
    assert not fits(page, story | {"events": story["events"][1:]}, said)


def test_faults_and_replies_are_compared() -> None:
    """Another offset, another status, or a connection that is kept: each is a difference."""
    pages = {page: story for page, story in STORIES if "fault" in story or "reply" in story}
    story = pages["event-stream"]
    said = outcome("event-stream", story, [b"".join(story["wire"])])
    assert fits("event-stream", story, said)
    assert not fits("event-stream", story | {"fault": {"at": story["fault"]["at"] + 1}}, said)
    story = pages["service"]
    said = outcome("service", story, [b"".join(story["wire"])])
    assert fits("service", story, said)
    assert not fits("service", story | {"reply": story["reply"] | {"status": 599}}, said)
    assert not fits("service", story | {"reply": story["reply"] | {"close": not said["reply"]["close"]}}, said)


# -- the law of the vectors


def test_each_story_proves_a_rule() -> None:
    """The id that a story cites is that of a rule in force, and it says whom that rule binds, and how."""
    laws = {rule.name: rule.law for rule in of_disk().rules() if not rule.withdrawn}
    for _, story in STORIES:
        assert re.match(rf"(?:A|An|The) {story['binds']}\b.* {story['word']}\b", laws[story["rule"]]), story["name"]


def test_names_are_unique() -> None:
    """A name stands for one story, whatever file it is in."""
    names = [story["name"] for _, story in STORIES]
    assert sorted(names) == sorted(set(names))


def test_there_is_enough_of_everything() -> None:
    """Every file that ours are held to has stories, accepted and rejected, and so has every role on both its sides."""
    assert len(STORIES) > 500
    assert len({story["rule"] for _, story in STORIES}) > 300
    pages = CODECS | {page for page, _ in (*vector_roles.READERS, *vector_roles.WRITERS)}
    sides = {(story["role"], story["does"], story["verdict"]) for _, story in STORIES}
    assert {(page, story["verdict"]) for page, story in STORIES} == {(page, it) for page in pages for it in VERDICTS}
    for role in ("runtime", "service", "caller"):
        assert {(role, does, it) for does in ("read", "write") for it in VERDICTS} <= sides


def test_every_word_of_given_is_used_and_stands_once(tmp_path: Path) -> None:
    """An entry of ``given.toml`` that no story refers to is dead text; of two nobody would know which one counts."""
    files = [json.loads(path.read_text(encoding="utf-8")) for path in vectors.VECTORS.glob("*.json")]
    given = [said for file in files for story in file["stories"] for said in story.get("given", [])]
    used = {json.dumps({name: said[name] for name in said.keys() - {"by", "wire"}}, sort_keys=True) for said in given}
    assert vectors.said_in(vectors.VECTORS / "source").keys() <= used
    twice = 2 * "[[said]]\nevent = '{\"event\": \"next\"}'\nby = 'runtime'\n"
    (tmp_path / vectors.GIVEN).write_text(twice, encoding="utf-8")
    with pytest.raises(ValueError, match="twice"):
        vectors.said_in(tmp_path)


def test_the_page_names_the_events_of_each_role() -> None:
    """All that ``events`` and ``given`` have, and what else a service of ours may say."""
    text = (vectors.VECTORS / "README.md").read_text(encoding="utf-8")
    told = {
        name
        for row in re.findall(r"^\| (?:runtime|service|caller|either) \|.*", text, re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", row)
    }
    said = {
        each["event"] for _, story in STORIES for each in story["events"] + story.get("given", []) if "event" in each
    }
    named = {name for words in (RUNTIME_API, INVOKE) for name, _ in words.values()} | {STREAMING}
    assert said - {"end", "rest"} <= told  # which are of the decoder of chunks
    assert named <= told


# -- the files and the tool that writes them


def test_the_files_are_what_their_sources_make() -> None:
    """``--check`` has nothing to say."""
    assert list(vectors.wrong(vectors.VECTORS)) == []


SOURCE = """\
about = "It."
role = "decoder"

[[story]]
name = "one"
rule = "ES-FRAME-4"
wire = '''
00 1f * 2   # a note
"a\\r\\n" # text
> Host: h # no note
'''
events = '''{"payload": {"text": "hi"}}'''
verdict = "accept"
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with one source, and what the tool made of it."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "one.toml").write_text(SOURCE, encoding="utf-8")
    assert vectors.main([], tmp_path) == 0
    return tmp_path


def test_a_source_becomes_json(directory: Path) -> None:
    """Each line of the wire is a piece with its note; texts are bytes; whom the rule binds is there."""
    made = json.loads((directory / "one.json").read_text(encoding="utf-8"))
    assert made["about"] == "It."
    assert made["stories"] == [
        {
            "name": "one",
            "rule": "ES-FRAME-4",
            "binds": "encoder",
            "word": "MAY",
            "role": "decoder",
            "does": "read",
            "wire": [
                {"hex": "001f", "times": 2, "note": "a note"},
                {"hex": "610d0a", "text": "a\r\n", "note": "text"},
                {"hex": b"Host: h # no note\r\n".hex(), "text": "Host: h # no note\r\n"},
            ],
            "events": [{"payload": {"hex": "6869", "text": "hi"}}],
            "verdict": "accept",
        }
    ]


@pytest.mark.parametrize("name", ["one.json", "two.json"])
def test_the_check_can_fail(directory: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that was changed, one that no source makes, and one that is missing are named; the status says so."""
    assert vectors.main(["--check"], directory) == 0
    (directory / name).write_text("{}", encoding="utf-8")
    assert vectors.main(["--check"], directory) == 1
    assert name in capsys.readouterr().err
    (directory / name).unlink()
    assert vectors.main(["--check"], directory) == int(name == "one.json")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("ES-FRAME-4", "ES-FRAME-" + "9" * 3),
        ("00 1f", "0 1f"),
        ("verdict", "verdikt"),
        ('{"text": "hi"}', "{"),
    ],
)
def test_a_wrong_source_is_refused(directory: Path, right: str, wrong: str) -> None:
    """A rule that is not in force, bytes that are none, an unknown member, events that are no JSON."""
    (directory / "source" / "one.toml").write_text(SOURCE.replace(right, wrong), encoding="utf-8")
    with pytest.raises((ValueError, KeyError)):
        vectors.main([], directory)


def test_unknown_arguments_are_refused(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two is the status of a wrong usage."""
    assert vectors.main(["--chekc"], directory) == 2
    assert "usage" in capsys.readouterr().err


# -- other languages

PROGRAMS = re.compile(r"```python\n(.*?)```", re.DOTALL)
SERVICES = ("service", "managed-service", "invoke-service")


def test_the_ten_lines_of_the_readme_read_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """What README.md shows gives the stories that are read, as these tests have them."""
    monkeypatch.chdir(vectors.VECTORS)
    code, _ = PROGRAMS.findall(Path("README.md").read_text(encoding="utf-8"))
    seen: list[tuple[object, ...]] = []

    def check(*story: object) -> None:
        seen.append(story)

    exec(code, {"check": check})
    assert seen == [
        (b"".join(story["wire"]), story.get("ends", False), story["events"], story["verdict"])
        for page, story in STORIES
        if page == "prelude" and story["does"] == "read"
    ]


class BlackBox:
    """Our services, as bytes alone show them; as the README wants a service to be held."""

    def __init__(self, page: str, environment: str) -> None:
        self._words: Words = INVOKE if page == "invoke-service" else RUNTIME_API
        snap_start = environment == "snap-start"
        self._lifecycle = ManagedLifecycle() if environment == "managed" else StandardLifecycle(snap_start=snap_start)
        self._connection: ServiceConnection | InvokeServiceConnection

    def connect(self) -> BlackBox:
        """Open a connection; only the last one is spoken on."""
        invoke = self._words is INVOKE
        self._connection = InvokeServiceConnection() if invoke else ServiceConnection(self._lifecycle)
        return self

    def expire(self, request_id: str) -> None:
        """Let a deadline pass."""
        assert isinstance(self._lifecycle, ManagedLifecycle)
        self._lifecycle.expire(request_id)

    def close(self) -> None:
        """End the connection."""
        self._connection.abandon()

    def receive(self, data: bytes, *, ends: bool = False) -> bytes:
        """Take bytes, and return the refusal of what they say."""
        refusal: Any = None  # any answer: Any because the two services have no common type of it
        self._connection.receive_data(data)
        if ends:
            self._connection.receive_data(b"")
        try:
            while not isinstance(got := self._connection.next_event(), (Signal, ConnectionClosed)):
                if isinstance(got, (Violation, InvokeViolation)):
                    refusal = got.reply
        except RemoteProtocolError as fault:
            refusal = fault.reply
        return b"" if refusal is None else self._connection.send(refusal)

    def send(self, said: Plain) -> bytes | None:
        """Say an event, if it may be said."""
        try:
            what: Any = event(said, self._words)  # any event; Any because they have no common type
            return self._connection.send(what)
        except (Malformed, LocalProtocolError):
            return None


def test_the_runner_of_the_readme_holds_a_service_to_its_stories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every story of a service is told in bytes alone: what is refused is, and what is written is the wire."""
    monkeypatch.chdir(vectors.VECTORS)
    first, code = PROGRAMS.findall(Path("README.md").read_text(encoding="utf-8"))
    judged: list[str] = []

    def check(*_: object) -> None:
        """The test above has it."""

    def judge(story: Plain, said: list[bytes | None]) -> None:
        judged.append(story["name"])
        answer = b"".join(filter(None, said))
        start, fields, _ = messages(answer)
        rejected = story["verdict"] == "reject"
        if story["does"] == "write" and not rejected:
            assert messages(answer) == messages(b"".join(story["wire"])), story["name"]
        else:
            assert (None in said or start[:10] in (b"HTTP/1.1 4", b"HTTP/1.1 5")) is rejected, story["name"]
        if "reply" in story:
            assert start == b"HTTP/1.1 %d" % story["reply"]["status"], story["name"]
            closes = b"connection:close" in fields
            assert closes is story["reply"].get("close", closes), story["name"]

    exec(first + code, {"check": check, "start": BlackBox, "judge": judge})
    assert judged == [story["name"] for wanted in SERVICES for page, story in STORIES if page == wanted]


#: Stories of a MAY that the decoders in JavaScript do not follow, with the reason.
NODE_DIFFERS = {
    "a status with a fraction": "JSON.parse does not tell 200.0 from 200",
    "NaN in a member that nobody reads": "JSON.parse refuses it",
}


def node_says(directory: Path) -> Plain:
    """Run the decoders in JavaScript over a directory of vectors."""
    if shutil.which("node") is None:
        missing("there is no node on this machine")
    done = subprocess.run(["node", str(NODE), str(directory)], capture_output=True, text=True, timeout=60, check=True)
    said: Plain = json.loads(done.stdout)
    return said


def test_decoders_in_another_language_say_the_same() -> None:
    """Decoders of preludes and messages that were written from spec/ alone, for Node.js."""
    said = node_says(vectors.VECTORS)
    read = [page for page, story in STORIES if page in ("prelude", "event-stream") and story["does"] == "read"]
    assert said["run"] == len(read)
    assert [(each["name"], each["word"]) for each in said["differ"]] == [(name, "MAY") for name in NODE_DIFFERS]


@pytest.mark.parametrize(
    ("page", "right", "wrong"),
    [
        ("prelude", '"statusCode": 206', '"statusCode": 207'),
        ("event-stream", '"at": 8', '"at": 9'),
        ("event-stream", '"field": "type"', '"field": "name"'),
    ],
)
def test_decoders_in_another_language_find_a_wrong_vector(tmp_path: Path, page: str, right: str, wrong: str) -> None:
    """Changed events, offsets and fields are told."""
    shutil.copytree(vectors.VECTORS, tmp_path, dirs_exist_ok=True)
    text = (tmp_path / f"{page}.json").read_text(encoding="utf-8")
    (tmp_path / f"{page}.json").write_text(text.replace(right, wrong), encoding="utf-8")
    assert right in text
    assert {each["name"] for each in node_says(tmp_path)["differ"]} > NODE_DIFFERS.keys()
