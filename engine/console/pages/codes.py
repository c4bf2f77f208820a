"""Codes that their table has no row for: how many wait, adding the row, and everything that waited going on in order."""

from __future__ import annotations

from pydantic import Field

from engine.console.answers import Conflict, Done, Invalid, NotFound, Refusal, Shown
from engine.console.doors import Scope, door
from engine.console.models import Asked, Instant, MessageId, Nothing, Problems, Told
from engine.console.rendering import url
from engine.console.rights import Right
from engine.console.visit import Visit
from engine.console.working import work
from engine.errors import ConfigurationError, WardlineError
from engine.mapping.tablefile import FOLDER, NoTable, TableChanged, add_row, answers, key_cells, keys_of, table_file
from engine.mapping.uses import uses
from engine.store.planning import slices
from engine.store.rows import UnknownRow
from engine.text import counted

MOST = 500  # codes in the list
FOLLOWED = 10_000  # messages whose way is watched after a row was added
ROWS = 8  # of the table, as examples


class Code(Told):
    table: str
    value: str
    waiting: int
    messages: int
    first_seen: Instant
    last_seen: Instant
    path: str
    example: MessageId
    channel: str


class Codes(Told):
    codes: list[Code]
    may_add: bool


@door("GET", "/worklists/codes", Right.SEE, Scope.SOME, "view unknown codes", page="codes.html", api="/codes")
def codes(visit: Visit, asked: Nothing) -> Codes:
    """Codes that their table has no row for, those that most messages wait for first."""
    return Codes(codes=_codes(visit), may_add=visit.who.everywhere(Right.EDIT))


def codes_that_wait(visit: Visit) -> list[Code]:
    return [row for row in _codes(visit) if row.waiting]


def _codes(visit: Visit) -> list[Code]:
    """Those of which an example is in a channel that the person may see; whoever sees everything is told the old ones too."""
    found = []
    for row in visit.history.unknown_codes(MOST):
        example, channel = _example(visit, row)
        if visit.may(Right.SEE, channel) if channel else visit.who.everywhere(Right.SEE):
            found.append(_code(row, example, channel))
    return found


def _example(visit: Visit, row: UnknownRow) -> tuple[int, str]:
    waiting = visit.history.waiting_for(row.table, row.value, 1) if row.waiting else []
    found = visit.history.planned(waiting) if waiting else []
    return (found[0].row.id, found[0].row.channel) if found else (0, "")


def _code(row: UnknownRow, example: int, channel: str) -> Code:
    return Code(
        table=row.table, value=row.value, waiting=row.waiting, messages=row.messages, first_seen=row.first_seen,
        last_seen=row.last_seen, path=row.path, example=example, channel=channel,
    )  # fmt: skip


class CodeAsked(Asked):
    table: str = Field(max_length=200)
    value: str = Field("", max_length=4000)


class Column(Told):
    name: str
    cell: str
    key: bool
    optional: bool


class Going(Told):
    """What became of the messages that waited when the row was added."""

    table: str
    value: str
    total: int
    states: dict[str, int]
    waiting: int
    under_way: bool


class Adding(Told):
    code: Code | None
    table: str
    value: str
    file: str
    columns: list[Column]
    rows: list[list[str]]
    count: int
    used_in: list[str]
    print: str
    problems: Problems
    going: Going | None
    may_add: bool


@door("GET", "/worklists/codes/{table}", Right.SEE, Scope.SITE, "view code", page="code.html", api="/codes/{table}")
def code(visit: Visit, asked: CodeAsked) -> Adding:
    """A code without a row, the table it is missing from, and what happened since a row was added."""
    visit.note(asked.table)
    return _adding(visit, asked.table, asked.value)


@door("GET", "/worklists/codes/{table}/progress", Right.SEE, Scope.SITE, "", page="_code.html")
def code_progress(visit: Visit, asked: CodeAsked) -> Going:
    """How what waited goes on: for a page that is open."""
    going = _going(visit, asked.table, asked.value)
    if going is None:
        raise NotFound("Nobody has added a row for this code lately.")
    return going


def _adding(visit: Visit, table: str, value: str, given: dict[str, str] | None = None) -> Adding:
    site = visit.home.directory
    try:
        read = table_file(site, table)
    except NoTable as error:
        raise NotFound(str(error)) from error
    keys = keys_of(site, table)
    cells = given or key_cells(read.table, keys, value)
    keyed = {column for columns in keys or [read.table.columns[:1]] for column in columns}
    rows = {row.value: row for row in visit.history.unknown_codes(10_000) if row.table == table}
    row = rows.get(value)
    return Adding(
        code=_code(row, *_example(visit, row)) if row else None,
        table=table,
        value=value,
        file=f"{FOLDER}/{table}.csv",
        columns=[
            Column(name=name, cell=cells.get(name, ""), key=name in keyed, optional=name not in read.table.columns)
            for name in read.table.header
        ],
        rows=[list(cells) for cells in read.table.cells[-ROWS:]],
        count=len(read.table.rows),
        used_in=[f"{use.file}:{use.line}" for use in uses(site) if use.table == table],
        print=read.print,
        problems=[],
        going=_going(visit, table, value),
        may_add=visit.who.everywhere(Right.EDIT),
    )


def _going(visit: Visit, table: str, value: str) -> Going | None:
    waited = work(visit.home).waited.get((table, value))
    if waited is None:
        return None
    states: dict[str, int] = {}
    for some in slices(waited):
        for state, number in visit.history.states_of(some).items():
            states[state] = states.get(state, 0) + number
    waiting = len(visit.history.waiting_for(table, value, FOLLOWED))
    return Going(
        table=table, value=value, total=len(waited), states=dict(sorted(states.items())), waiting=waiting,
        under_way=bool(waiting or states.get("received")),
    )  # fmt: skip


class RowAsked(Asked):
    table: str = Field(max_length=200)
    value: str = Field("", max_length=4000)
    column: list[str] = Field(max_length=200)
    cell: list[str] = Field(max_length=200)
    print: str = Field("", max_length=64)


class RowAdded(Told):
    file: str
    line: int
    waited: int  # messages that wait for this code: they go on in order


@door("POST", "/worklists/codes/{table}", Right.EDIT, Scope.SITE, "add a code", api="/codes/{table}", status=201)
def add_code(visit: Visit, asked: RowAsked) -> Done[RowAdded] | Shown:
    """Add a row to a code table, as the last line of its file, and have the engine take it up: what waited goes on in order.

    `print` is the fingerprint of the table that was shown: where the file is another by now, nothing is changed.
    """
    site = visit.home.directory
    if len(asked.column) != len(asked.cell) or len(set(asked.column)) < len(asked.column):
        raise Invalid(("cell", "each column takes one cell"))
    waiting = visit.history.waiting_for(asked.table, asked.value, FOLLOWED)
    keys = _keys(visit, asked.table)
    cells = dict(zip(asked.column, asked.cell, strict=True))
    try:
        added = add_row(site, asked.table, cells, keys, asked.print)
    except TableChanged as error:
        raise Conflict(str(error)) from error
    except NoTable as error:
        again = _adding(visit, asked.table, asked.value, cells)
        return Shown(again.model_copy(update={"problems": [("", str(error))]}), "code.html", 422)
    visit.note(f"{FOLDER}/{asked.table}.csv", line=added.line)
    if waiting:
        work(visit.home).remember(asked.table, asked.value, waiting)
    said = _taken_up(visit, f"Line {added.line} of {FOLDER}/{asked.table}.csv is written")
    if asked.value and not answers(added, keys, asked.value):
        said += " The new row does not answer for this code, so what waits for it goes on waiting."
    to = f"/worklists/codes/{asked.table}"
    model = RowAdded(file=f"{FOLDER}/{asked.table}.csv", line=added.line, waited=len(waiting))
    return Done(url(to, value=asked.value), said, model, 201)


def _keys(visit: Visit, table: str) -> list[tuple[str, ...]]:
    try:
        table_file(visit.home.directory, table)
        return keys_of(visit.home.directory, table)
    except NoTable as error:
        raise NotFound(str(error)) from error


def _taken_up(visit: Visit, done: str) -> str:
    """The row is in the file, whatever the engine says: this tells both."""
    try:
        said = visit.call("reload", who=visit.who.name)
    except ConfigurationError as error:
        return f"{done}, but the engine has not taken it up: {counted(len(error.problems), 'problem')} in the site's files."
    except (Refusal, WardlineError) as error:
        return f"{done}, but the engine has not taken it up: {error}"
    return f"{done}, and the engine has taken it up. {str(said).partition(chr(10))[0]}"
