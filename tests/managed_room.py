r"""A private room for the emulator's managed-instances mode: ``/var/task`` with our files, seen by nobody else.

In that mode the emulator ignores the command on its command line, starts ``/var/task/bootstrap`` and gives it the
user id 993 and the group id 990. So this program, run as root on Linux, leaves the machine's mount namespace, lays an
empty ``/var/task`` over what is there, writes the given files into it, and becomes the emulator. When the emulator
ends, the room is gone; the machine never saw it.

User 993 must be able to read the interpreter and the code under test, wherever they lie (a home directory, a private
temporary directory). It is therefore left two abilities of root: to pass and read any directory, and to read and
execute any file.

Usage: ``python managed_room.py FILES_JSON COMMAND...`` where FILES_JSON is ``{"bootstrap": "#!/bin/sh\n..."}``.
Exit status 125: this machine does not permit such a room (the reason is on stderr).
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path

#: What the program exits with when the room cannot be built.
NOT_PERMITTED = 125

TASK_ROOT = Path("/var/task")
_VAR = TASK_ROOT.parent
_MODE = b"mode=755"

# linux/sched.h, linux/mount.h
_CLONE_NEWNS = 0x00020000
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000
# linux/prctl.h, linux/securebits.h, linux/capability.h
_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 0x4
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_OVERRIDE = 1
_CAP_DAC_READ_SEARCH = 2
_KEPT = (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH)

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _mount(source: str, target: Path, kind: str, flags: int, data: bytes = b"") -> None:
    _check(
        _libc.mount(source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), data),
        f"mount {kind or 'bind'} on {target}",
    )


def _leave_mount_namespace() -> None:
    """Whatever is mounted from here on is seen by this process and its children only."""
    _check(_libc.unshare(_CLONE_NEWNS), "unshare the mount namespace")
    _mount("none", Path("/"), "", _MS_REC | _MS_PRIVATE)


def _lay_task_root() -> None:
    """Put an empty, writable task root where the emulator looks; the rest of ``/var`` stays as it is.

    Held open, the old directories can still be bound after the new ``/var`` hides them.
    """
    links = {entry.name: str(entry.readlink()) for entry in _VAR.iterdir() if entry.is_symlink()}
    rooms = [entry for entry in _VAR.iterdir() if entry.is_dir() and not entry.is_symlink()]
    held = {room: os.open(room, os.O_PATH) for room in rooms if room.name not in {"task", "runtime"}}
    _mount("tmpfs", _VAR, "tmpfs", 0, _MODE)
    for room, descriptor in held.items():
        room.mkdir()
        _mount(f"/proc/self/fd/{descriptor}", room, "", _MS_BIND | _MS_REC)
        os.close(descriptor)
    for name, target in links.items():
        (_VAR / name).symlink_to(target)
    TASK_ROOT.mkdir()


def _write_files(files: dict[str, str]) -> None:
    for name, text in files.items():
        path = TASK_ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)


def _keep_reading_rights() -> None:
    """Let the change of user that the emulator makes keep the abilities to read and to search (capabilities(7))."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then the same for capabilities above 31
    _check(_libc.capget(header, sets), "capget")
    for capability in _KEPT:
        sets[2] |= 1 << capability
    _check(_libc.capset(header, sets), "capset")
    for capability in _KEPT:
        arguments = (ctypes.c_ulong(value) for value in (_PR_CAP_AMBIENT_RAISE, capability, 0, 0))
        _check(_libc.prctl(_PR_CAP_AMBIENT, *arguments), "raise an ambient capability")
    _check(_libc.prctl(_PR_SET_SECUREBITS, ctypes.c_ulong(_SECBIT_NO_SETUID_FIXUP)), "set securebits")


def main() -> None:
    """Build the room and become the command."""
    files: dict[str, str] = json.loads(sys.argv[1])
    command = sys.argv[2:]
    try:
        _leave_mount_namespace()
        _lay_task_root()
        _keep_reading_rights()
    except OSError as fault:
        sys.stderr.write(f"no private task root here: {fault}\n")
        sys.exit(NOT_PERMITTED)
    _write_files(files)
    os.umask(0o022)
    os.chdir(TASK_ROOT)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
