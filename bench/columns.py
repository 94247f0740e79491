"""Who is compared, in the order of the table, and how each is started."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import asdict, replace
from typing import Final

from bench.clients.handler import JOB
from bench.clients.job import Job
from bench.results import Absent
from bench.tools import HERE, Tools, python

__all__ = ["ALL", "CLIENTS", "NOT_PYTHON", "OURS", "TITLES", "command", "more_environment", "require"]

#: Column -> what the table calls it.
TITLES: Final = {
    "floor": "floor",
    "ours": "lambda_wire",
    "asyncio": "on asyncio",
    "uvloop": "on uvloop",
    "trio": "on trio",
    "awslambdaric": "awslambdaric",
    "h11": "h11",
    "http.client": "http.client",
    "httpx": "httpx",
    "node": "node",
    "go": "aws-lambda-go",
    "httptools": "httptools",
    "botocore": "botocore",
    "crc32": "CRC-32 alone",
}
ALL: Final = tuple(TITLES)
OURS: Final = ("ours", "asyncio", "uvloop", "trio")
CLIENTS: Final = ALL[: ALL.index("go") + 1]

_MODULES: Final = {
    "floor": "floor",
    "ours": "ours",
    "asyncio": "ours_async",
    "uvloop": "ours_async",
    "trio": "ours_async",
    "awslambdaric": "awslambdaric",
    "h11": "h11_natural",
    "http.client": "http_client",
    "httpx": "httpx_client",
}
_INSTALLED: Final = ("uvloop", "trio", "awslambdaric", "h11", "httpx", "httptools", "botocore")
#: Whose memory and sockets Python knows nothing of.
NOT_PYTHON: Final = ("awslambdaric", "node", "go")
#: What a whole runtime does -> its handler, and the words that ours is given for it.
_RUNTIMES: Final[dict[str, tuple[str, ...]]] = {
    "runtime": ("handle",),
    "generator": ("generate",),
    "async-generator": ("generate_async",),
    "http": ("respond_http",),
    "slots": ("handle", "--concurrency", "4"),
    "async-slots": ("handle_async", "--concurrency", "4"),
}
_TOGETHER: Final = "it has no way to send several chunks together"


def require(column: str) -> None:
    """Say whether what a column measures is installed.

    Raises:
        Absent: It is not.
    """
    if column in _INSTALLED and importlib.util.find_spec(column) is None:
        raise Absent(f"{column} is not installed (python -m pip install '.[bench]')")


def more_environment(job: Job) -> dict[str, str]:
    """Return what a whole runtime finds in its environment."""
    if job.work not in _RUNTIMES:
        return {}
    return {JOB: json.dumps(asdict(job)), "AWS_LAMBDA_RUNTIME_API": job.address}


def command(column: str, job: Job, tools: Tools) -> list[str]:
    """Return the command of a client, with its job.

    Raises:
        Absent: It is not on this machine, or cannot do this job at all.
    """
    if column == "awslambdaric" and job.work not in ("echo", "runtime"):
        raise Absent("awslambdaric cannot stream")
    if job.work == "joined" and column != "floor":
        job = replace(job, work="together")
    if column in ("http.client", "httpx", "go") and job.work == "together":
        raise Absent(_TOGETHER)
    if job.measure == "traced" and column in NOT_PYTHON:
        raise Absent("it does not allocate through Python, so Python cannot count it")
    require(column)
    if job.work in _RUNTIMES and column in ("ours", "awslambdaric"):
        handler, *words = _RUNTIMES[job.work]
        runtime = ("lambda_wire", "run", *words) if column == "ours" else ("awslambdaric",)
        return python("-m", *runtime, f"bench.clients.handler.{handler}")
    told = replace(job, loop=column) if _MODULES.get(column) == "ours_async" else job
    said = json.dumps(asdict(told))
    if column == "node":
        return [tools.program("node"), str(HERE / "clients" / "node.mjs"), said]
    if column == "go":
        return [str(tools.go()), said]
    return python("-m", f"bench.clients.{_MODULES[column]}", said)
