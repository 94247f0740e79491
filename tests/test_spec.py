"""The rules of ``spec/``, held to their own form: who reads them by id must find what the ids promise.

Each check takes a book, which is nothing but texts by name, and gives back its faults in words. So each one is tried
twice: on the pages as they are, and on a small page that is wrong in just that way.
"""

import importlib
import json
import posixpath
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.real_parts import need_module

ROOT = Path(__file__).parent.parent
SPEC = ROOT / "spec"
SCHEMA = "prelude.schema.json"
#: Why no test shows a rule, by the page and the id of the rule.
UNSHOWN = "tests/unshown.toml"

PAGE = re.compile(r"[\w-]+\.(?:md|json)")
HEADING = re.compile(r"^### (\S+)(.*)$", re.MULTILINE)
RULE_ID = re.compile(r"([A-Z]{2}(?:-[A-Z]+)?)-([1-9]\d*)")
CITED = re.compile(r"(?<![\w-])([A-Z]{2}(?:-[A-Z]{2,})?-\d+|[A-Z]{2}-[A-Z]{2,})(?![\w-])")
WORDS = re.compile(r"\b(?:MUST NOT|MUST|SHOULD NOT|SHOULD|MAY|SHALL NOT|SHALL|REQUIRED|RECOMMENDED|OPTIONAL)\b")
SENTENCE_END = re.compile(r"(?<=[.:])\s+(?=\S)|(?<=:)$")
GRADE = re.compile(r"^- Grade: *(.*)$", re.MULTILINE)
SOURCE = re.compile(r"^- Source: *(.*(?:\n  .*)*)", re.MULTILINE)
RECORDING = re.compile(r"\b[abc]\d\d\b")
OF_WHAT = re.compile(r"\bemulator \((?:observed|[abc]\d\d)|\bAWS, recorded by \w")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
OUR_FILE = re.compile(r"\blambda_wire, ([\w/]+\.py)")
FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
OF_VECTOR = re.compile(r'"rule": *"([^"]*)"')
OF_LIMITS = re.compile(r"\b(?:200 Mi?B|209,715,20\d|2,097,152|2 Mi?B)\b")


@dataclass(frozen=True)
class Rule:
    """One rule as it stands: its id, what follows the id in the heading, and the text up to the next heading."""

    page: str
    name: str
    remark: str
    text: str

    @property
    def withdrawn(self) -> bool:
        """A rule that fell away keeps its place, and only says why."""
        return self.remark == " (withdrawn)"

    @property
    def law(self) -> str:
        """The first sentence, on one line."""
        prose = self.text.split("\n- Grade:")[0].split("\n```")[0].split("\n|")[0]
        return SENTENCE_END.split(" ".join(prose.split()))[0]

    @property
    def source(self) -> str:
        """The source, on one line; empty when there is none."""
        found = SOURCE.search(self.text)
        return " ".join(found[1].split()) if found else ""


@dataclass(frozen=True)
class Book:
    """Pages by their names, the names of the recordings that are kept, and by their paths the files that cite."""

    pages: dict[str, str]
    kept: frozenset[str] = field(default=frozenset({"a01"}))
    files: dict[str, str] = field(default_factory=dict[str, str])

    def rules(self) -> Iterator[Rule]:
        """All rules, page by page; code is not looked into for headings."""
        for page, text in self.pages.items():
            bare = FENCED.sub(lambda code: re.sub(r"^#", ".", code[0], flags=re.MULTILINE), text)
            for heading in HEADING.finditer(bare):
                end = re.search(r"^##", bare[heading.end() :], re.MULTILINE)
                stop = heading.end() + end.start() if end else len(bare)
                yield Rule(page, heading[1], heading[2], bare[heading.end() : stop].strip())

    def table(self, title: str) -> list[list[str]]:
        """The rows of the table under a heading of README.md, without its head."""
        section = self.pages["README.md"].partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
        return rows[2:]

    def in_force(self) -> dict[str, str]:
        """The page of each rule that is not withdrawn."""
        return {rule.name: rule.page for rule in self.rules() if not rule.withdrawn}

    def cited(self, *roots: str) -> Iterator[tuple[str, str]]:
        """Who cites which id or group, in the files below these directories; of a vector its ``rule`` counts."""
        prefixes = tuple(f"{row[2]}-" for row in self.table("Pages"))
        for path, text in self.files.items():
            if path.startswith(roots) and path != UNSHOWN:
                found = OF_VECTOR.findall(text) if path.endswith(".json") else CITED.findall(text)
                yield from ((path, name) for name in found if name.startswith(prefixes))

    def excused(self) -> dict[str, dict[str, object]]:
        """The excuses by page and id."""
        return tomllib.loads(self.files.get(UNSHOWN, ""))


def of_disk() -> Book:
    """The book as it is in the repository, with the page about the vectors; these have tests of their own."""
    paths = sorted(path for path in {*SPEC.iterdir(), *SPEC.rglob("*.md")} if path.is_file())
    pages = {path.relative_to(SPEC).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    kept = frozenset(path.name[:3] for path in (ROOT / "tests" / "captures").glob("*.txt"))
    return Book(pages, kept, {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in citing()})


def citing() -> Iterator[Path]:
    """The files that cite rules: tests, code, vectors and excuses; not this one, whose ids are made up."""
    for root, pattern in (("tests", "*.py"), ("lambda_wire", "*.py"), ("fuzz", "*.py"), ("spec/vectors", "*.json")):
        yield from (path for path in sorted((ROOT / root).rglob(pattern)) if path != Path(__file__))
    yield ROOT / UNSHOWN


def form(book: Book) -> Iterator[str]:
    """A rule is an id in a heading, a text, one grade and one source, in this order; a withdrawn one only says why."""
    for rule in book.rules():
        if not RULE_ID.fullmatch(rule.name):
            yield f"{rule.name}: no id"
        if rule.withdrawn:
            if not rule.text or WORDS.search(rule.text):
                yield f"{rule.name}: withdrawn, and does not only say why"
            continue
        if rule.remark:
            yield f"{rule.name}: {rule.remark.strip()!r} behind the id"
        if not re.search(r"\n- Grade: .*\n- Source: .*(?:\n  .*)*\Z", rule.text):
            yield f"{rule.name}: does not end in a grade and a source"
        if len(GRADE.findall(rule.text)) != 1 or len(SOURCE.findall(rule.text)) != 1:
            yield f"{rule.name}: not one grade and one source"


def sentences(book: Book) -> Iterator[str]:
    """A rule's first sentence has a subject of README.md and one word of RFC 2119; its explanation has none."""
    subjects = tuple(f"{row[0]} " for row in book.table("Who is bound"))
    for rule in book.rules():
        if rule.withdrawn:
            continue
        if not rule.law.startswith(subjects):
            yield f"{rule.name}: binds nobody whom README.md names"
        if len(WORDS.findall(rule.law)) != 1:
            yield f"{rule.name}: not one word of RFC 2119 in its first sentence"
        if len(WORDS.findall(rule.text)) > len(WORDS.findall(rule.law)):
            yield f"{rule.name}: a word of RFC 2119 in its explanation"


def numbers(book: Book) -> Iterator[str]:
    """Ids are unique, count 1, 2, 3 within their group, and a group stands on one page, that of its prefix."""
    groups: dict[str, list[int]] = {}
    homes = {row[2]: PAGE.search(row[0]) for row in book.table("Pages")}
    for rule in book.rules():
        if found := RULE_ID.fullmatch(rule.name):
            groups.setdefault(found[1], []).append(int(found[2]))
            home = homes.get(rule.name[:2])
            if home is None or home[0] != rule.page:
                yield f"{rule.name}: README.md does not give its prefix to {rule.page}"
    for group, counted in groups.items():
        if len(set(counted)) < len(counted):
            yield f"{group}: a number twice"
        if counted != list(range(1, len(counted) + 1)):
            yield f"{group}: not numbered 1, 2, 3: {counted}"


def grades(book: Book) -> Iterator[str]:
    """A grade is one of the five of README.md; a recorded rule names of what it was recorded."""
    known = [row[0] for row in book.table("Grades")]
    if known != ["documented", "aws-code", "recorded", "inferred", "unknown"]:
        yield f"README.md: grades {known}"
    for rule in book.rules():
        grade = GRADE.search(rule.text)
        if grade and grade[1] not in known:
            yield f"{rule.name}: grade {grade[1]!r}"
        if grade and grade[1] == "recorded" and not OF_WHAT.search(rule.source):
            yield f"{rule.name}: recorded, and neither 'emulator (...)' nor 'AWS, recorded by ...'"


def sources(book: Book) -> Iterator[str]:
    """A source says something, and the files of lambda_wire that it names exist."""
    for rule in book.rules():
        if not rule.withdrawn and not rule.source:
            yield f"{rule.name}: no source"
        for name in OUR_FILE.findall(rule.source):
            if not any((base / name).is_file() for base in (ROOT, ROOT / "lambda_wire")):
                yield f"{rule.name}: no file {name} in lambda_wire"


def citations(book: Book) -> Iterator[str]:
    """A cited id, or group of ids, belongs to a rule that is in force."""
    in_force = {rule.name for rule in book.rules() if not rule.withdrawn}
    groups = {name.rpartition("-")[0] for name in in_force}
    for page, text in book.pages.items():
        for name in CITED.findall(re.sub(r"^### .*$", "", text, flags=re.MULTILINE)):
            if name not in in_force | groups:
                yield f"{page}: cites {name}"


def citations_elsewhere(book: Book) -> Iterator[str]:
    """What tests, code and vectors cite belongs to a rule that is in force."""
    in_force = set(book.in_force())
    groups = {name.rpartition("-")[0] for name in in_force}
    for path, name in book.cited(""):
        if name not in in_force | groups:
            yield f"{path}: cites {name}"


def shown(book: Book) -> Iterator[str]:
    """Every rule is cited by a test or a vector, or excused, and never both."""
    tests: dict[str, str] = {name: path for path, name in book.cited("tests/", "spec/vectors/")}
    excused = {name for page in book.excused().values() for name in page}
    for name in book.in_force():
        if name not in tests and name not in excused:
            yield f"{name}: no test cites it, and {UNSHOWN} does not say why"
        if name in tests and name in excused:
            yield f"{UNSHOWN}: {name} is cited by {tests[name]}"


def excuses(book: Book) -> Iterator[str]:
    """An excuse stands under the page of its rule, which is in force, and gives its reason on one line."""
    in_force = book.in_force()
    for page, reasons in book.excused().items():
        for name, reason in reasons.items():
            if in_force.get(name) != page:
                yield f"{UNSHOWN}: {name} is no rule of {page}"
            if not isinstance(reason, str) or " " not in reason or "\n" in reason:
                yield f"{UNSHOWN}: {name}: no reason: {reason!r}"


def recordings(book: Book) -> Iterator[str]:
    """A cited recording is in tests/captures, or README.md lists it as not kept; none is both."""
    listed = re.search(r"\*\*Not kept here\*\*(.*?)(?=^- |^#|\Z)", book.pages["README.md"], re.MULTILINE | re.DOTALL)
    lost = set(RECORDING.findall(listed[1] if listed else ""))
    cited: set[str] = set()
    for page, text in book.pages.items():
        here = FENCED.sub("", text.replace(listed[0], "") if listed else text)
        cited.update(RECORDING.findall(here) if page.endswith(".md") else [])
        for name in sorted(set(RECORDING.findall(here)) - book.kept - lost):
            if page.endswith(".md"):
                yield f"{page}: cites the recording {name}"
    for name in sorted(lost & book.kept):
        yield f"README.md: {name} is kept"
    for name in sorted(lost - cited):
        yield f"README.md: nobody cites {name}"


def slug(heading: str) -> str:
    """The anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def links(book: Book) -> Iterator[str]:
    """A link within the repository leads to a file that exists, and its anchor to a heading there."""
    for page, text in book.pages.items():
        for link in LINK.findall(FENCED.sub("", text)) if page.endswith(".md") else ():
            if "://" in link:
                continue
            path, _, anchor = link.partition("#")
            target = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page
            if target not in book.pages and not (SPEC / target).exists():
                yield f"{page}: {link}: no such file"
            titles = re.findall(r"^#+ (.*)$", FENCED.sub("", book.pages.get(target, "")), re.MULTILINE)
            if anchor and anchor not in map(slug, titles):
                yield f"{page}: {link}: no such heading"


def listed_pages(book: Book) -> Iterator[str]:
    """README.md lists every page once, and no other."""
    rows = [row[0] for row in book.table("Pages")]
    names = [name for row in rows for name in LINK.findall(row)]
    for name in sorted(set(book.pages) - {"README.md"} - set(names)):
        yield f"README.md: does not list {name}"
    for name in names:
        if name not in book.pages or names.count(name) > 1:
            yield f"README.md: lists {name}"


def limits_once(book: Book) -> Iterator[str]:
    """Size and speed of streams stand in limits.md, and elsewhere only as ids."""
    for page, text in book.pages.items():
        if page != "limits.md":
            yield from (f"{page}: says {number}" for number in OF_LIMITS.findall(text))


def width(book: Book) -> Iterator[str]:
    """A line has at most 120 characters; the tables of states.md, which cannot be wrapped, are excepted."""
    for page, text in (book.pages | {UNSHOWN: book.files.get(UNSHOWN, "")}).items():
        for number, line in enumerate(text.splitlines(), 1):
            if len(line) > 120 and not (page == "states.md" and line.startswith("|")):
                yield f"{page}:{number}: {len(line)} characters"
            if line != line.rstrip():
                yield f"{page}:{number}: blanks at its end"


def schema(book: Book) -> Iterator[str]:
    """The schema is a JSON object, says which JSON Schema it is written in, and points at what it defines."""
    text = book.pages.get(SCHEMA, "")
    try:
        read = json.loads(text)
    except ValueError as problem:
        yield f"{SCHEMA}: {problem}"
        return
    if not isinstance(read, dict) or not str(read.get("$schema", "")).startswith("https://json-schema.org/"):
        yield f"{SCHEMA}: no $schema"
        return
    for name in re.findall(r'"\$ref": *"([^"]*)"', text):
        if name.removeprefix("#/$defs/") not in read.get("$defs", {}):
            yield f"{SCHEMA}: {name} is not defined"


Check = Callable[[Book], Iterator[str]]
CHECKS: tuple[Check, ...] = (
    form,
    sentences,
    numbers,
    grades,
    sources,
    citations,
    citations_elsewhere,
    shown,
    excuses,
    recordings,
    links,
    listed_pages,
    limits_once,
    width,
    schema,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_pages_keep_the_law(check: Check) -> None:
    """The law that the check's own docstring says holds on every page of spec/."""
    assert list(check(of_disk())) == []


def test_there_are_rules() -> None:
    """The checks saw what they were meant for: each page of rules has some, and these four have none."""
    seen = {rule.page for rule in of_disk().rules()}
    without = {"README.md", "on-the-wire.md", "states.md", "vectors/README.md"}
    assert seen == {name for name in of_disk().pages if name.endswith(".md")} - without
    assert len(list(of_disk().rules())) > 500


def test_the_schema_is_json_schema() -> None:
    """The schema is valid by the JSON Schema that it names, and takes the prelude that function-url.md shows."""
    need_module("jsonschema")
    jsonschema = importlib.import_module("jsonschema")
    read = json.loads((SPEC / SCHEMA).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(read)
    jsonschema.Draft202012Validator(read).validate({"statusCode": 200, "headers": {}, "cookies": []})
    assert not jsonschema.Draft202012Validator(read).is_valid({"statusCode": 99})


README = """\
# Rules

## Pages

| page | about | ids |
| --- | --- | --- |
| [one.md](one.md) | it | RT |
| [prelude.schema.json](prelude.schema.json) | it | RT-NEXT |

## Who is bound

| word | who |
| --- | --- |
| A runtime | it |

## Grades

| grade | what |
| --- | --- |
| documented | it |
| aws-code | it |
| recorded | it |
| inferred | it |
| unknown | it |

## Sources

- **Not kept here** are: b01.
"""
ONE = """\
# One

See [polls](#polls), [the rules](README.md#grades) and `a b`.

## Polls

### RT-NEXT-1
A runtime MUST poll. See RT-NEXT, RT-NEXT-2 and b01.

```text
### RT-NEXT-9
```
- Grade: recorded
- Source: emulator (a01), lambda_wire, _state.py,
  and more

### RT-NEXT-2
A runtime MAY poll, as ...:

| a | b |
- Grade: documented
- Source: RFC 9110

### RT-NEXT-3 (withdrawn)
It was wrong.
"""
FILES = {
    "tests/test_one.py": '"""A poll is made (RT-NEXT-1, of RT-NEXT), in UTF-8."""\n',
    "spec/vectors/one.json": '{"name": "as UN-7", "rule": "RT-NEXT-1"}\n',
    "lambda_wire/_one.py": "#: Of RT-NEXT-2.\n",
    UNSHOWN: '["one.md"]\nRT-NEXT-2 = "It is optional."\n',
}
GOOD = {"README.md": README, "one.md": ONE, SCHEMA: '{"$schema": "https://json-schema.org/x", "$defs": {}}\n'}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_right_page_passes(check: Check) -> None:
    """The small page that the next test spoils has no fault of its own."""
    assert list(check(Book(GOOD, files=FILES))) == []


@pytest.mark.parametrize(
    ("check", "page", "right", "wrong", "fault"),
    [
        (form, "one.md", "### RT-NEXT-2", "### RT-next-2", "no id"),
        (form, "one.md", "### RT-NEXT-2", "### RT-NEXT-2 polls", "behind the id"),
        (sentences, "one.md", "A runtime MAY", "Polls MAY", "binds nobody"),
        (sentences, "one.md", "A runtime MAY", "A runtime may", "not one word"),
        (sentences, "one.md", "MAY poll", "MAY poll and MUST NOT wait", "not one word"),
        (sentences, "one.md", "MUST poll. See", "MUST poll. It SHOULD see", "in its explanation"),
        (sentences, "one.md", "MAY poll, as", "MAY poll. As it MAY", "in its explanation"),
        (form, "one.md", "- Grade: documented\n", "", "does not end in"),
        (form, "one.md", "- Source: RFC 9110\n", "", "does not end in"),
        (form, "one.md", "- Source: RFC 9110\n", "- Source: RFC 9110\n\nMore.\n", "does not end in"),
        (form, "one.md", "- Grade: documented\n", "- Grade: unknown\n- Grade: documented\n", "not one grade"),
        (form, "one.md", "It was wrong.", "", "withdrawn"),
        (form, "one.md", "It was wrong.", "It MUST be wrong.", "withdrawn"),
        (sentences, "README.md", "| A runtime |", "| A caller |", "binds nobody"),
        (numbers, "one.md", "### RT-NEXT-2", "### RT-NEXT-1", "a number twice"),
        (numbers, "one.md", "### RT-NEXT-2", "### RT-NEXT-4", "not numbered"),
        (numbers, "one.md", "### RT-NEXT-1", "### RT-NEXT-0", "not numbered"),
        (numbers, "one.md", "### RT-NEXT-3", "### RS-NEXT-1", "does not give its prefix"),
        (grades, "one.md", "documented", "certain", "grade 'certain'"),
        (grades, "one.md", "emulator (a01)", "recorded a01", "recorded, and neither"),
        (grades, "README.md", "| inferred | it |\n", "", "README.md: grades"),
        (sources, "one.md", "RFC 9110", "", "no source"),
        (sources, "one.md", "_state.py", "_nowhere.py", "no file _nowhere.py"),
        (citations, "one.md", "RT-NEXT-2 and", "RT-NEXT-9 and", "cites RT-NEXT-9"),
        (citations, "one.md", "RT-NEXT-2 and", "RT-NEXT-3 and", "cites RT-NEXT-3"),
        (citations, "one.md", "See RT-NEXT,", "See RT-LAST,", "cites RT-LAST"),
        (citations, "README.md", "# Rules", "# Rules of XY-1", "cites XY-1"),
        (citations_elsewhere, "tests/test_one.py", "RT-NEXT-1", "RT-NEXT-9", "test_one.py: cites RT-NEXT-9"),
        (citations_elsewhere, "tests/test_one.py", "of RT-NEXT)", "of RT-LAST)", "test_one.py: cites RT-LAST"),
        (citations_elsewhere, "spec/vectors/one.json", "RT-NEXT-1", "RT-NEXT-9", "one.json: cites RT-NEXT-9"),
        (citations_elsewhere, "lambda_wire/_one.py", "RT-NEXT-2", "RT-NEXT-3", "_one.py: cites RT-NEXT-3"),
        (shown, UNSHOWN, "RT-NEXT-2", "RT-NEXT-1", "RT-NEXT-2: no test cites it"),
        (shown, UNSHOWN, "RT-NEXT-2", "RT-NEXT-1", "RT-NEXT-1 is cited by"),
        (shown, "one.md", "### RT-NEXT-3 (withdrawn)", "### RT-NEXT-3", "RT-NEXT-3: no test cites it"),
        (excuses, UNSHOWN, "RT-NEXT-2", "RT-NEXT-9", "RT-NEXT-9 is no rule of one.md"),
        (excuses, UNSHOWN, "RT-NEXT-2", "RT-NEXT-3", "RT-NEXT-3 is no rule of one.md"),
        (excuses, UNSHOWN, "one.md", "two.md", "RT-NEXT-2 is no rule of two.md"),
        (excuses, UNSHOWN, "It is optional.", "", "RT-NEXT-2: no reason"),
        (excuses, UNSHOWN, '"It is optional."', "7", "RT-NEXT-2: no reason"),
        (excuses, UNSHOWN, "is optional", "is\\noptional", "RT-NEXT-2: no reason"),
        (recordings, "one.md", "and b01", "and b01 and a02", "cites the recording a02"),
        (recordings, "README.md", ": b01", ": b01, a01", "a01 is kept"),
        (recordings, "README.md", ": b01", ": b01, b02", "nobody cites b02"),
        (recordings, "README.md", "Not kept here", "Lost", "cites the recording b01"),
        (links, "one.md", "(#polls)", "(#pools)", "no such heading"),
        (links, "one.md", "(README.md#grades)", "(README.md#one)", "no such heading"),
        (links, "one.md", "(README.md#grades)", "(two.md)", "no such file"),
        (listed_pages, "README.md", "| [one.md](one.md) | it | RT |\n", "", "does not list one.md"),
        (listed_pages, "README.md", "](one.md)", "](two.md)", "lists two.md"),
        (limits_once, "one.md", "MAY poll", "MAY poll 200 MB", "says 200 MB"),
        (limits_once, "one.md", "MAY poll", "MAY poll 209,715,201", "says 209,715,201"),
        (limits_once, "one.md", "MAY poll", "MAY poll 2 MiB", "says 2 MiB"),
        (width, "one.md", "It was wrong.", "x" * 121, "121 characters"),
        (width, "one.md", "It was wrong.", "| " + "x" * 121, "123 characters"),
        (width, "one.md", "It was wrong.", "It was wrong. ", "blanks at its end"),
        (width, UNSHOWN, "It is optional.", "x" * 121, "135 characters"),
        (schema, SCHEMA, "{}}", "{}", "prelude.schema.json: "),
        (schema, SCHEMA, '"$schema"', '"schema"', "no $schema"),
        (schema, SCHEMA, "{}}", '{}, "$ref": "#/$defs/gone"}', "#/$defs/gone is not defined"),
    ],
)
def test_a_wrong_page_is_found(check: Check, page: str, right: str, wrong: str, fault: str) -> None:
    """Each check can fail: on a page that is wrong in one place it finds the fault that is meant."""
    right_files = GOOD | FILES
    assert right_files[page].count(right) == 1
    files = right_files | {page: right_files[page].replace(right, wrong)}
    book = Book({name: files[name] for name in GOOD}, files={name: files[name] for name in FILES})
    faults = list(check(book))
    assert any(fault in found for found in faults), faults


def test_links_of_a_page_in_a_directory_start_there() -> None:
    """A link is relative to the page that has it."""
    linking = "[a](../one.md#polls) [b](two.md) [c](#here) [d](one.md) [e](../one.md#pools)\n\n## Here\n"
    book = Book(GOOD | {"sub/page.md": linking, "sub/two.md": ""})
    assert list(links(book)) == [
        "sub/page.md: one.md: no such file",
        "sub/page.md: ../one.md#pools: no such heading",
    ]
