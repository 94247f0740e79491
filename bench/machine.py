"""What a measurement was made on: a ratio travels between machines, but only so far."""

from __future__ import annotations

import os
import platform
import re
import shutil
from importlib import metadata
from pathlib import Path
from typing import Final

__all__ = ["described", "installed"]

_PEERS: Final = ("awslambdaric", "botocore", "h11", "httptools", "httpx", "trio", "uvloop")


def described() -> dict[str, str]:
    """Return processor, cores for us, system, Python, load, how calls are counted, and the versions of the peers."""
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return {
        "cpu": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load": load,
        "calls": "by strace" if shutil.which("strace") else "on the sockets of Python clients only: there is no strace",
        "peers": ", ".join(f"{name} {version}" for name in _PEERS if (version := installed(name))),
    }


def installed(distribution: str) -> str:
    """Return the version of what is installed; empty when it is not."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()
