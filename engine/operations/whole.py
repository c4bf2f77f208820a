"""Small files of a site's `.wardline`, for its owner alone: each is there whole or not at all, whenever the power goes."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def make(path: Path, content: bytes) -> None:
    """A new file, flushed; where that fails it may be there in part. Raises FileExistsError, OSError."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace(path: Path, content: bytes) -> None:
    """In the place of what is there, if anything is. Raises OSError, and then that is still there."""
    temporary = beside(path)
    try:
        make(temporary, content)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def once(path: Path, content: bytes) -> bool:
    """Unless it is there already; of several who do it at the same time one does. Raises OSError."""
    temporary = beside(path)
    try:
        make(temporary, content)
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    flush(path.parent)
    return True


def beside(path: Path) -> Path:
    """A name that nobody has, in the same directory."""
    return path.with_name(f".{secrets.token_hex(8)}")


def flush(folder: Path) -> None:
    """The names in a directory, to the disk."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One at a time, of threads and of processes; the directory is made where it is missing."""
    folder.mkdir(mode=0o700, exist_ok=True)
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)
