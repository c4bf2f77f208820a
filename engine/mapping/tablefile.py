"""The file of a code table, for those who add to it: read with what it is used for, and written whole or not at all."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from engine.errors import EXIT_FAILED, ConfigurationError, WardlineError
from engine.mapping.codes import CodeTable, named, parse_table
from engine.mapping.rows import Added, with_row
from engine.text import did_you_mean, listed

FOLDER = "mappings/codes"


class NoTable(WardlineError):
    """There is no such table, or the row does not fit it."""

    exit_code = EXIT_FAILED


class TableChanged(NoTable):
    """The file is not what somebody was shown."""


class TableFile(NamedTuple):
    table: CodeTable
    print: str  # of the file as it was read: `add_row` refuses where it is another


def table_file(site: Path, name: str) -> TableFile:
    """A table and its fingerprint. Raises NoTable, ConfigurationError where the table is wrong."""
    known = [path.stem for path in sorted(site.glob(f"{FOLDER}/*.csv"))]
    if name not in known:
        hint = did_you_mean(name, known) or (f" There are {listed(known)}." if known else f" {FOLDER}/ is empty.")
        raise NoTable(f"there is no code table '{name}'.{hint}")
    file = f"{FOLDER}/{name}.csv"
    try:
        content = (site / file).read_bytes()
        table, problems = parse_table(content.decode("utf-8-sig"), name, file)
    except OSError as error:
        raise NoTable(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise NoTable(f"{file}: byte {error.start + 1} is not UTF-8. Save the file as UTF-8.") from None
    if table is None:
        raise ConfigurationError(problems)
    return TableFile(table, _print(content))


def keys_of(site: Path, name: str) -> list[tuple[str, ...]]:
    """The columns in which the site's expressions look in the table; none where nobody knows."""
    from engine.mapping import Library
    from engine.registry import entities, formats

    table = Library.load(site, formats(), entities()).tables.get(name)
    return table.keys if table else []


def add_row(site: Path, name: str, cells: Mapping[str, str], keys: Sequence[tuple[str, ...]], seen: str = "") -> Added:
    """The row is in the file, on disk, when this returns; or nothing has changed.

    `seen`: the fingerprint of the file that the person was shown. Raises TableChanged where it is another by now, NoTable
    for a row that does not fit and for a file that cannot be written.
    """
    path = (site / FOLDER / f"{name}.csv").resolve()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # two who add at the same time do it one after the other
        before = path.stat()
        content = path.read_bytes()
        if seen and seen != _print(content):
            raise TableChanged(f"{FOLDER}/{name}.csv has changed since it was shown. Look at it, and try again.")
        added = with_row(content, name, f"{FOLDER}/{path.name}", cells, keys)
        _replace(path, added.content, before)
        os.fsync(folder)
    except ValueError as error:
        raise NoTable(str(error)) from None
    except OSError as error:
        raise NoTable(f"{path} cannot be written: {error.strerror}. It is as it was.") from None
    finally:
        os.close(folder)
    return added


def _print(content: bytes) -> str:
    return sha256(content).hexdigest()[:32]


def _replace(path: Path, content: bytes, before: os.stat_result) -> None:
    number, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as stream:
            os.fchmod(number, before.st_mode & 0o7777)
            stream.write(content)
            stream.flush()
            os.fsync(number)
        now = path.stat()
        if (now.st_ino, now.st_size, now.st_mtime_ns) != (before.st_ino, before.st_size, before.st_mtime_ns):
            raise ValueError(f"{path} was changed by somebody else just now. Look at it, and try again.")
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def key_cells(table: CodeTable, keys: Sequence[tuple[str, ...]], value: str) -> dict[str, str]:
    """The cells by which a row would answer for `value`, an unknown code as the worklist has it; none where it fits no key."""
    for columns in keys or [table.columns[:1]]:
        if len(columns) == 1:
            return {columns[0]: value}
        pattern = ", ".join(f"{re.escape(column)}=(?P<{column}>.*)" for column in columns)
        if found := re.fullmatch(pattern, value, re.DOTALL):
            return found.groupdict()
    return {}


def answers(added: Added, keys: Sequence[tuple[str, ...]], value: str) -> bool:
    """Whether the new row has an answer for `value`, an unknown code as the worklist has it."""
    table = added.table
    for columns in keys or [table.columns[:1]]:
        cells = tuple(table.rows[-1][table.columns.index(column)] for column in columns)
        parts = named(columns, cells).split("*") if "*" in cells else [named(columns, cells)]
        if re.fullmatch(".*".join(map(re.escape, parts)), value, re.DOTALL):
            return True
    return False
