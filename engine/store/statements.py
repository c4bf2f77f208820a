"""Statements, declared once and compiled once to each database's own text.

The hot path executes driver text with plain tuples: building or compiling an expression for every call would cost more
than the call. Every statement is registered by name, so that the tests ask both databases for the plan of exactly the
text that runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

from sqlalchemy import BindParameter, ClauseElement, ColumnElement, Table, bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

_SQLITE: Final = sqlite.dialect()
_POSTGRES: Final = postgresql.dialect(paramstyle="format")  # type: ignore[no-untyped-call]

REGISTRY: Final[dict[str, Statement]] = {}


class Statement:
    """`parameters` names the places in order: calls pass their values in that order."""

    def __init__(self, name: str, clause: ClauseElement, *parameters: str) -> None:
        self.name, self.clause, self.parameters = name, clause, parameters
        REGISTRY[name] = self

    def _compiled(self, dialect: Any) -> str:
        compiled = self.clause.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)
        order = tuple(compiled.positiontup or ())
        if order != self.parameters:
            raise AssertionError(f"{self.name}: its parameters are {order}, declared as {self.parameters}")
        return str(compiled)

    @cached_property
    def sqlite(self) -> str:
        return self._compiled(_SQLITE)

    @cached_property
    def postgres(self) -> str:
        return self._compiled(_POSTGRES)


class Written(Statement):
    """A statement in each database's own words, where they differ too much. `?` marks a parameter in both."""

    def __init__(self, name: str, *parameters: str, sqlite: str, postgres: str = "") -> None:
        self.name, self.parameters = name, parameters
        self._sqlite, self._postgres = sqlite, postgres or sqlite
        REGISTRY[name] = self

    @cached_property
    def sqlite(self) -> str:
        return self._sqlite

    @cached_property
    def postgres(self) -> str:
        return self._postgres.replace("%", "%%").replace("?", "%s")


class Rows(Statement):
    """Something done to many rows, given as tuples of `columns`."""

    columns: tuple[str, ...]
    parameters: tuple[str, ...]
    table: Table

    def _arrays(self) -> str:
        """PostgreSQL takes each column as one array: one statement whatever the number of rows."""
        kinds = (self.table.c[column].type.compile(dialect=_POSTGRES) for column in self.columns)
        return ", ".join(f"%b::{kind}[]" for kind in kinds)


class Insert(Rows):
    """`replacing`: a row with the same primary key is overwritten; `adding`: to its columns of these names is added."""

    def __init__(self, table: Table, *columns: str, replacing: bool = False, adding: Sequence[str] = ()) -> None:
        self.name = f"insert_{table.name}"
        self.table, self.columns = table, columns or tuple(table.c.keys())
        self.parameters, self.replacing, self.adding = self.columns, replacing, adding
        self._texts: dict[int, str] = {}  # of `sqlite_for`
        REGISTRY[self.name] = self

    def _text(self, source: str) -> str:
        text = f"INSERT INTO {self.table.name} ({', '.join(self.columns)}) {source}"
        keys = [column.name for column in self.table.primary_key]
        if self.adding:
            values = ", ".join(f"{column} = {self.table.name}.{column} + excluded.{column}" for column in self.adding)
        elif self.replacing:
            values = ", ".join(f"{column} = excluded.{column}" for column in self.columns if column not in keys)
        else:
            return text
        return f"{text} ON CONFLICT ({', '.join(keys)}) DO " + (f"UPDATE SET {values}" if values else "NOTHING")

    @cached_property
    def sqlite(self) -> str:
        return self.sqlite_for(1)

    def sqlite_for(self, rows: int) -> str:
        """SQLite's text for so many rows at once, the parameters of one after those of another."""
        if (text := self._texts.get(rows)) is None:
            row = f"({', '.join('?' * len(self.columns))})"
            text = self._texts[rows] = self._text(f"VALUES {', '.join([row] * rows)}")
        return text

    @cached_property
    def postgres(self) -> str:
        return self._text(f"SELECT * FROM unnest({self._arrays()})")


class Update(Rows):
    """Sets `columns` but the last ones, which are the table's primary key and find the row."""

    def __init__(self, name: str, table: Table, *columns: str) -> None:
        self.name, self.table, self.columns = name, table, columns
        self.parameters = columns
        self.keys = tuple(column.name for column in table.primary_key)
        assert columns[-len(self.keys) :] == self.keys
        REGISTRY[name] = self

    @cached_property
    def sqlite(self) -> str:
        values = ", ".join(f"{column} = ?" for column in self.columns[: -len(self.keys)])
        return f"UPDATE {self.table.name} SET {values} WHERE {' AND '.join(f'{key} = ?' for key in self.keys)}"

    @cached_property
    def postgres(self) -> str:
        values = ", ".join(f"{column} = v.{column}" for column in self.columns[: -len(self.keys)])
        found = " AND ".join(f"t.{key} = v.{key}" for key in self.keys)
        source = f"unnest({self._arrays()}) AS v({', '.join(self.columns)})"
        return f"UPDATE {self.table.name} AS t SET {values} FROM {source} WHERE {found}"


class Delete(Rows):
    """Deletes rows by their whole primary key."""

    def __init__(self, table: Table) -> None:
        self.name = f"delete_{table.name}"
        self.table, self.columns = table, tuple(column.name for column in table.primary_key)
        self.parameters = self.columns
        REGISTRY[self.name] = self

    @cached_property
    def sqlite(self) -> str:
        return f"DELETE FROM {self.table.name} WHERE {' AND '.join(f'{key} = ?' for key in self.columns)}"

    @cached_property
    def postgres(self) -> str:
        found = " AND ".join(f"t.{key} = v.{key}" for key in self.columns)
        source = f"unnest({self._arrays()}) AS v({', '.join(self.columns)})"
        return f"DELETE FROM {self.table.name} AS t USING {source} WHERE {found}"


class among(ColumnElement[bool]):  # noqa: N801 - it reads as an operator
    """`column` is one of the numbers given as one parameter (see `Driver.numbers`)."""

    inherit_cache = False

    def __init__(self, column: ColumnElement[int], parameter: str) -> None:
        self.column = column
        self.parameter: BindParameter[Any] = bindparam(parameter)


@compiles(among, "sqlite")
def _among_sqlite(element: among, compiler: SQLCompiler, **kw: Any) -> str:
    column, parameter = compiler.process(element.column, **kw), compiler.process(element.parameter, **kw)
    return f"{column} IN (SELECT value FROM json_each({parameter}))"


@compiles(among, "postgresql")
def _among_postgres(element: among, compiler: SQLCompiler, **kw: Any) -> str:
    column, parameter = compiler.process(element.column, **kw), compiler.process(element.parameter, **kw)
    return f"{column} = ANY(CAST({parameter} AS BIGINT[]))"


def powers(count: int, largest: int = 64) -> Sequence[int]:
    """The statement sizes that cover `count` values: few texts, each of them prepared once."""
    sizes = [largest] * (count // largest)
    if rest := count % largest:
        sizes.append(1 << (rest - 1).bit_length())
    return sizes
