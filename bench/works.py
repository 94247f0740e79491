"""What is measured: a work a row, in the order of the table."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Literal

from bench.clients.job import Job
from bench.columns import CLIENTS

__all__ = ["WORKS", "Work", "chosen"]

Kind = Literal["client", "calls", "codec", "start"]

KB: Final = 1024
MB: Final = 1024 * KB
_SIZES: Final = (64, KB, 16 * KB, 64 * KB, MB)
_CHUNKS: Final = {64: 1000, KB: 1000, 16 * KB: 200, 64 * KB: 64, MB: 8}
#: AWS's limit for a streamed response. Source: AWS docs "Lambda quotas".
_LONGEST_STREAM: Final = 200 * MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One thing to do.

    Attributes:
        key: What ``--only`` selects by.
        section: Part of the table.
        title: In the table.
        kind: ``client``: a client talks to the server. ``calls``: the same, its system calls are counted. ``codec``:
            bytes in memory. ``start``: fresh interpreters.
        metrics: What is measured, each a row: name -> unit.
        columns: Who is measured.
        job: What is to be done; of a codec its size.
        event: Bytes of the event that the server hands out.
        framing: ``counted`` or ``chunked``: how it does.
        per: By how many the wall's and the processor's time of one step are divided.
        absolute: Whether the values say more than their ratios.
        cached: For ``start``: whether there is cached bytecode.
    """

    key: str
    section: str
    title: str
    kind: Kind
    metrics: dict[str, str]
    columns: tuple[str, ...]
    job: Job
    event: int = 100
    framing: str = "counted"
    per: int = 1
    absolute: bool = False
    cached: bool = True


def size_name(size: int) -> str:
    """Return a size as people say it."""
    for unit, name in ((MB, "MB"), (KB, "KB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


def _key(prefix: str, size: int) -> str:
    return f"{prefix}-{size_name(size).replace(' ', '')}"


_TIMES: Final = {"wall": "s", "cpu": "s"}
_PYTHONS: Final = tuple(column for column in CLIENTS if column not in ("node", "go"))
_CALLS: Final = {"calls": "calls", "sends": "calls"}


def _echo(size: int, *, parsed: bool = False, framing: str = "counted") -> Work:
    suffix = "-json" if parsed else "-chunked" if framing == "chunked" else ""
    said = ", JSON both ways" if parsed else ", come as one chunk" if framing == "chunked" else ""
    return Work(
        key=_key("echo", size) + suffix,
        section="Invocation loop: one event, echoed",
        title=size_name(size) + said,
        kind="client",
        metrics=_TIMES,
        columns=CLIENTS,
        job=Job(work="echo", size=size, json=parsed),
        event=size,
        framing=framing,
    )


def _runtime(
    size: int, work: str = "runtime", said: str = "", columns: tuple[str, ...] = ("awslambdaric", "go")
) -> Work:
    return Work(
        key=_key("runtime", size) if work == "runtime" else f"runtime-{work}",
        section="Whole runtime: a handler that gives its event back, JSON both ways",
        title=size_name(size) + said,
        kind="client",
        metrics=_TIMES,
        columns=("floor", "ours", *columns),
        job=Job(work=work, size=size, json=True),
        event=size,
    )


def _generated(size: int, work: str) -> Work:
    return Work(
        key=_key(f"runtime-{work}", size),
        section="Whole runtime: a handler that streams, a chunk",
        title=f"{size_name(size)}, from {'a generator' if work == 'generator' else 'an async generator'}",
        kind="client",
        metrics=_TIMES,
        columns=("floor", "ours", "awslambdaric", "go"),
        job=Job(work=work, size=size, chunks=_CHUNKS[size]),
        per=_CHUNKS[size],
    )


_SENT: Final = {
    "stream": "each sent at once",
    "together": "ready together (floor: one send each)",
    "joined": "ready together (floor: one send in all)",
}


def _stream(size: int, work: str = "stream") -> Work:
    return Work(
        key=_key(work, size),
        section="Streaming up, a chunk",
        title=f"{size_name(size)}, {_SENT[work]}",
        kind="client",
        metrics=_TIMES,
        columns=CLIENTS,
        job=Job(work=work, size=size, chunks=_CHUNKS[size]),
        per=_CHUNKS[size],
    )


def _calls(key: str, title: str, job: Job, event: int, columns: tuple[str, ...] = CLIENTS) -> Work:
    return Work(
        key=f"calls-{key}",
        section="System calls of one invocation",
        title=title,
        kind="calls",
        metrics=_CALLS,
        columns=columns,
        job=job,
        event=event,
        absolute=True,
    )


def _codec(
    key: str, title: str, columns: tuple[str, ...], size: int = 0, *, per: int = 1, receiving: bool = False
) -> Work:
    return Work(
        key=_key(key, size) if size else key,
        section="Receiving a chunked body with error trailers, in memory" if receiving else "Codecs, in memory",
        title=title,
        kind="codec",
        metrics=_TIMES if receiving else {"wall": "s"},
        columns=columns,
        job=Job(work=key, size=size),
        per=per,
        absolute=per > 1,
    )


def _receive(size: int) -> Work:
    what = f"{size_name(size)} chunks" if size else "chunks of mixed sizes"
    columns = ("floor", "ours", "h11", "httptools")
    return _codec("receive" if size else "receive-mixed", what, columns, size, receiving=True)


def _start(key: str, title: str, columns: tuple[str, ...], *, cached: bool) -> Work:
    return Work(
        key=key if cached else f"{key}-uncached",
        section="Cold start, beyond a bare process",
        title=f"{title}, {'with' if cached else 'without'} cached bytecode",
        kind="start",
        metrics={"wall": "s"},
        columns=columns,
        job=Job(work=key),
        absolute=True,
        cached=cached,
    )


_IMPORTED: Final = ("floor", "ours", "asyncio", "trio", "awslambdaric", "h11", "http.client", "httpx")
_SAID: Final = ("floor", "ours", "awslambdaric", "h11", "http.client", "httpx")
_RUN: Final = ("floor", "ours", "awslambdaric", "h11", "node", "go")
_ECHOED: Final = (100, 10 * KB, MB, 6 * MB)

WORKS: Final[tuple[Work, ...]] = (
    *(_echo(size) for size in _ECHOED),
    _echo(MB, framing="chunked"),
    *(_echo(size, parsed=True) for size in _ECHOED[:3]),
    *(_runtime(size) for size in (100, 10 * KB, MB)),
    _runtime(100, "slots", ", four at once in threads (floor: one loop)", ()),
    _runtime(100, "async-slots", ", four at once in one event loop (floor: one loop)", ()),
    *(_generated(size, work) for size in (64, 16 * KB) for work in ("generator", "async-generator")),
    *(_stream(size) for size in _SIZES),
    _stream(64, "together"),
    _stream(64, "joined"),
    Work(
        key="first",
        section="First byte of a stream",
        title="one chunk that is ready at once",
        kind="client",
        metrics={"latency": "s", **_TIMES},
        columns=CLIENTS,
        job=Job(work="first", size=64),
    ),
    Work(
        key="runtime-http",
        section="First byte of a stream",
        title="whole runtime, an HttpResponse of one chunk",
        kind="client",
        metrics={"latency": "s", **_TIMES},
        columns=("floor", "ours", "awslambdaric"),
        job=Job(work="http", size=64),
    ),
    _calls("echo-100B", "100 B event, echoed", Job(work="echo", size=100), 100),
    _calls(
        "busy", "100 B event, echoed after computing for 20 ms", Job(work="echo", size=100, busy=0.02), 100, _PYTHONS
    ),
    _calls("echo-1MB", "1 MB event, echoed", Job(work="echo", size=MB), MB),
    _calls("first", "a stream of one chunk: poll, head and chunk, end", Job(work="first", size=64), 100),
    *(_receive(size) for size in (*_SIZES, 0)),
    _codec("open-stream", "open a stream: head, prelude, first chunk", ("floor", "ours", "h11"), per=64),
    _codec("frame", "frame a chunk of 64 B", ("floor", "ours", "h11"), per=1000),
    _codec("whole-stream", "one streamed invocation, from the poll to its acceptance", ("floor", "ours", "h11")),
    _codec("prelude-encode", "prelude, encode", ("floor", "ours")),
    _codec("prelude-decode", "prelude, decode", ("floor", "ours")),
    _codec("trailers-encode", "error trailers, encode", ("floor", "ours")),
    _codec("trailers-decode", "error trailers, decode", ("floor", "ours")),
    *(_codec("events-encode", f"event stream, encode {size_name(s)}", ("floor", "ours"), s) for s in _SIZES[:3]),
    *(
        _codec("events-decode", f"event stream, decode {size_name(s)}", ("floor", "ours", "botocore", "crc32"), s)
        for s in _SIZES[:3]
    ),
    *(_start("import", "import the package alone", _IMPORTED, cached=cached) for cached in (True, False)),
    *(_start("import-role", "import and make one request", _SAID, cached=cached) for cached in (True, False)),
    *(_start("run", "exec to the first GET /next", _RUN, cached=cached) for cached in (True, False)),
    Work(
        key="memory-event",
        section="Memory",
        title="6 MB event, echoed: most that Python allocates, in copies of it",
        kind="client",
        metrics={"peak": "copies"},
        columns=CLIENTS,
        job=Job(work="echo", size=6 * MB, measure="traced"),
        event=6 * MB,
        per=6 * MB,
        absolute=True,
    ),
    Work(
        key="memory-stream",
        section="Memory",
        title="200 MB streamed up",
        kind="client",
        metrics={"peak": "B", "growth": "B"},
        columns=CLIENTS,
        job=Job(work="stream", size=64 * KB, chunks=_LONGEST_STREAM // (64 * KB), measure="resident"),
        absolute=True,
    ),
)


def chosen(patterns: list[str]) -> tuple[Work, ...]:
    """Return the works whose key matches one of the patterns (``*`` and ``?``), or begins with one; all for none."""
    if not patterns:
        return WORKS
    return tuple(work for work in WORKS if any(fnmatchcase(work.key, f"{pattern}*") for pattern in patterns))
