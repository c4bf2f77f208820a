"""Put one file into a directory so that it is there whole, under its name and for good, or not at all.

Blocking; runs in a thread. The order is the point: write aside, fsync the file, rename, fsync the directory. A crash
between any two leaves at most an unfinished `.name.tmp`, which the next attempt overwrites.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from engine.model import Busy, Delivered, Misconfigured, Outcome, Refused, Unknown

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_OURS_TO_MEND = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT, errno.ELOOP, errno.EISDIR})
_FILE_MODE, _DIRECTORY_MODE = 0o640, 0o750
RETRY_WHEN_FULL = 30.0  # seconds


def deposit(directory: str, name: str, content: bytes) -> Outcome:
    """Never raises OSError: what the file system says becomes an outcome, without the file's content."""
    try:
        folder = _folder(directory)
    except OSError as problem:
        return _outcome(problem, directory)
    try:
        if not _regular(folder, name):
            return Refused(f"{name} is already there and is no file")
        existing = _read(folder, name, len(content) + 1)
        if existing is None:
            _write(folder, f".{name}.tmp", content)
            os.rename(f".{name}.tmp", name, src_dir_fd=folder, dst_dir_fd=folder)
        elif existing != content:
            return Refused(f"{name} is already there with other content")
        os.fsync(folder)
        return Delivered()
    except OSError as problem:
        return _outcome(problem, os.path.join(directory, name))
    finally:
        os.close(folder)


def usable(directory: str) -> str:
    """'' or why nothing can be put there."""
    try:
        folder = _folder(directory)
    except OSError as problem:
        return f"{directory}: {problem.strerror}"
    try:
        return "" if os.access(".", os.W_OK | os.X_OK, dir_fd=folder) else f"{directory}: no permission to write"
    finally:
        os.close(folder)


def _folder(directory: str) -> int:
    """The open directory; made where it is missing: a relative one whole, of an absolute one only the last part."""
    try:
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        above = os.path.dirname(directory)
        if above and not os.path.isabs(directory):  # within the site everything is ours; elsewhere a mount may be missing
            os.makedirs(above, _DIRECTORY_MODE, exist_ok=True)
        with suppress(FileExistsError):  # another delivery was quicker
            os.mkdir(directory, _DIRECTORY_MODE)
        parent = os.open(os.path.dirname(os.path.abspath(directory)), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _regular(folder: int, name: str) -> bool:
    """False where a link, a directory or a device has the name: none of these is ours to follow."""
    try:
        return stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return True


def _read(folder: int, name: str, most: int) -> bytes | None:
    """What is there under `name`, made durable; None where nothing is."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    with open(file, "rb") as stream:
        content = stream.read(most)
        os.fsync(stream.fileno())
    return content


def _write(folder: int, name: str, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(name, flags, _FILE_MODE, dir_fd=folder), "wb", buffering=0) as stream:
        view = memoryview(content)
        while view:
            view = view[stream.write(view) :]
        os.fsync(stream.fileno())


def _outcome(problem: OSError, path: str) -> Outcome:
    reason = f"{path}: {problem.strerror or problem}"
    if problem.errno in _NO_ROOM:
        return Busy(reason, RETRY_WHEN_FULL)
    if problem.errno in _OURS_TO_MEND:
        return Misconfigured(reason)
    if problem.errno == errno.ENAMETOOLONG:
        return Refused(reason)
    return Unknown(reason)
