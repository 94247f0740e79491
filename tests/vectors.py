r"""Writes the vectors, ``spec/vectors/*.json``, from their sources: ``python -m tests.vectors``.

With ``--check`` it writes nothing, names each file that is not what its source makes of it, and fails if there is one.
Nothing is worked out here: bytes, events and verdicts stand in the sources as somebody wrote them.

A source is TOML. ``wire`` has one piece a line: bytes in hexadecimal (``00 1f``), text as JSON writes it (``"a\r\n"``),
both also repeated (``61 * 100``) and with a note behind ``#``, or a line of HTTP, whose CR LF is added (``> Host: h``).
``given``, ``events`` and ``reply`` are JSON, in which ``{"text": "hi"}`` stands for the bytes of a text. What ``given``
has by its event alone stands in ``given.toml``, once for all stories: who says it, and in which bytes.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeGuard

from tests.test_spec import WORDS, of_disk

VECTORS: Final = Path(__file__).parent.parent / "spec" / "vectors"
GIVEN: Final = "given.toml"

_PIECE: Final = re.compile(
    r'(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<hex>(?:[0-9a-f]{2} *)*[0-9a-f]{2}))'
    r"(?: *\* *(?P<times>\d+))?(?: *# *(?P<note>.+))?"
)
_KEYS: Final = (
    *("name", "rule", "binds", "word", "role", "does", "for", "environment"),
    *("given", "wire", "ends", "events", "verdict", "fault", "reply"),
)

Rules: TypeAlias = dict[str, tuple[str, str]]
"""Of each rule whom it binds, and its word of RFC 2119."""
Said: TypeAlias = dict[str, dict[str, Any]]  # Any: JSON
"""Of each event of ``given.toml``, as JSON, who says it, and in which bytes."""


def rules_in_force() -> Rules:
    """Return what the first sentences of the rules of ``spec/`` say: ``A runtime MUST`` is ``runtime`` and ``MUST``."""
    found = (rule for rule in of_disk().rules() if not rule.withdrawn)
    return {rule.name: (rule.law.split()[1], WORDS.findall(rule.law)[0]) for rule in found}


def piece(line: str) -> dict[str, Any]:  # Any: JSON
    """Return a piece of the wire that a line of a source stands for."""
    if line.startswith(">"):
        return _bytes(line[1:].removeprefix(" ") + "\r\n")
    found = _PIECE.fullmatch(line)
    if found is None:
        raise ValueError(f"expected hexadecimal digits, a JSON string or '> ' and a line of HTTP, got {line!r}")
    made = {"hex": found["hex"].replace(" ", "")} if found["text"] is None else _bytes(json.loads(found["text"]))
    times = {} if found["times"] is None else {"times": int(found["times"])}
    return made | times | ({} if found["note"] is None else {"note": found["note"]})


def _bytes(text: str) -> dict[str, Any]:
    return {"hex": text.encode().hex(), "text": text}


def values(text: str) -> list[Any]:
    """Return the JSON values that stand behind one another in a text, with bytes in hexadecimal."""
    found: list[Any] = []
    while text := text.lstrip():
        value, end = json.JSONDecoder(object_hook=_object).raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


def _object(members: dict[str, Any]) -> dict[str, Any]:
    if "text" in members and members.keys() <= {"text", "times"}:
        return _bytes(members["text"]) | members
    return members


def said_in(directory: Path) -> Said:
    """Return what the stories of a directory refer to by its event.

    Raises:
        ValueError: An event stands there twice.
    """
    path = directory / GIVEN
    read: dict[str, list[dict[str, str]]] = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    said: Said = {}
    for entry in read.get("said", []):
        (event,) = values(entry.pop("event"))
        if (name := json.dumps(event, sort_keys=True)) in said:
            raise ValueError(f"{GIVEN}: {name} stands there twice")
        said[name] = entry | ({"wire": wire(entry["wire"])} if "wire" in entry else {})
    return said


def wire(text: str) -> list[dict[str, Any]]:
    """Return the pieces of the wire that the lines of a source stand for."""
    return [piece(line.strip()) for line in text.splitlines() if line.strip()]


def _given(event: dict[str, Any], said: Said) -> dict[str, Any]:
    """Return what was said before a story: with who said it, and its bytes."""
    if "event" not in event or "by" in event:
        return event
    entry = said[json.dumps(event, sort_keys=True)]
    return {"by": entry["by"]} | event | entry


def story(source: dict[str, Any], rules: Rules, said: Said) -> dict[str, Any]:
    """Return a story as other languages read it."""
    unknown = source.keys() - set(_KEYS)
    if unknown:
        raise ValueError(f"{source['name']}: unknown {sorted(unknown)}")
    binds, word = rules[source["rule"]]
    made = {"binds": binds, "word": word, "does": "write" if source["role"] == "encoder" else "read"} | source
    made["given"] = [_given(event, said) for event in values(made.get("given", ""))]
    made["wire"] = wire(made.get("wire", ""))
    made["events"] = values(made.get("events", ""))
    if "reply" in made:
        (made["reply"],) = values(made["reply"])
    return {key: made[key] for key in _KEYS if made.get(key) or key in ("wire", "events")}


def page(source: str, rules: Rules, said: Said) -> str:
    """Return the JSON file that a source makes."""
    read = tomllib.loads(source)
    about, stories = read.pop("about"), read.pop("story")
    shown = ",\n".join(_shown(story(read | each, rules, said)) for each in stories)
    return f'{{\n"about": {json.dumps(about)},\n"stories": [\n{shown}\n]\n}}\n'


def _shown(made: dict[str, Any]) -> str:
    """Return a story in JSON, with one line for each piece and each event."""
    members = [f"  {json.dumps(key)}: {_lines(value)}" for key, value in made.items()]
    return "{\n" + ",\n".join(members) + "\n}"


def _lines(value: object) -> str:
    if not _is_list(value) or not value:
        return json.dumps(value)
    return "[\n" + ",\n".join(f"    {json.dumps(each)}" for each in value) + "\n  ]"


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)


def wrong(directory: Path) -> Iterator[str]:
    """Name the files in a directory that are not what the sources beside them make, or that no source makes."""
    made = pages(directory)
    for path in sorted({*made, *directory.glob("*.json")}):
        if not path.exists() or path.read_text(encoding="utf-8") != made.get(path):
            yield path.name


def pages(directory: Path) -> dict[Path, str]:
    """Return the text of each file that the sources of a directory make."""
    sources = sorted((directory / "source").glob("*.toml"))
    rules, said = rules_in_force(), said_in(directory / "source")
    return {
        directory / f"{path.stem}.json": page(path.read_text(encoding="utf-8"), rules, said)
        for path in sources
        if path.name != GIVEN
    }


def main(arguments: list[str], directory: Path = VECTORS) -> int:
    """Write the files, or check them; return the exit status."""
    if arguments == ["--check"]:
        faults = list(wrong(directory))
        for name in faults:
            sys.stderr.write(f"{name} is not what its source makes: run python -m tests.vectors\n")
        return 1 if faults else 0
    if arguments:
        sys.stderr.write("usage: python -m tests.vectors [--check]\n")
        return 2
    for path, text in pages(directory).items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
