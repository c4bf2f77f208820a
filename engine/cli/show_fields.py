"""`wardline show --tree` and `--diff`: a message value by value, and what differs from the one before it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

import click

from engine.cli.terminal import print_json, print_table
from engine.errors import EXIT_FAILED, WardlineError
from engine.views.content import READ, opened

if TYPE_CHECKING:
    from engine.store.history import History, MessageFacts
    from engine.store.rows import MessageRow
    from engine.views.lines import Reading

VALUES: Final = 10_000  # of one message that are shown


class NotKept(WardlineError):
    """The content is older than the channel's retention."""

    exit_code = EXIT_FAILED


def tree(facts: MessageFacts, history: History, as_json: bool) -> None:
    """Raises NotKept."""
    from engine.views.marks import plain

    reading = _reading(history, facts.row)
    values = (
        piece
        for line in reading.lines(0)
        for piece in line.pieces
        if piece.path and piece.role not in ("delimiter", "key", "tag")
    )
    pieces = list(islice(values, VALUES))
    if as_json:
        print_json([{"path": plain(one.path), "name": one.name, "value": plain(one.meant or one.text)} for one in pieces])
        return
    rows = [(plain(one.path), one.name, plain(one.meant or one.text) + ("…" if one.more else "")) for one in pieces]
    print_table(("path", "name", "value"), rows, plain(reading.title))
    for note in reading.notes:
        click.echo(plain(note))


def diff(facts: MessageFacts, history: History, as_json: bool) -> None:
    """Raises NotKept."""
    from engine.ids import format_id
    from engine.views.compare import as_texts, compared
    from engine.views.marks import plain
    from engine.views.siblings import previous

    before = previous(history, facts.row, history.keys(facts.row.id))
    found = None if before is None else compared(_reading(history, before), _reading(history, facts.row))
    if as_json:
        changes = [] if found is None else as_texts(found)
        names = ("path", "name", "old", "new")
        print_json(
            {
                "before": None if before is None else format_id(before.id),
                "changes": [dict(zip(names, change, strict=True)) for change in changes],
                "notes": [] if found is None else [plain(note) for note in found.notes],
            }
        )
    elif before is None or found is None:
        click.echo("There is no earlier message of its kind with one of its business keys.")
    else:
        print_table((found.by, "name", format_id(before.id), format_id(facts.row.id)), as_texts(found))
        click.echo(f"{len(found.changes) + found.more:,} differ, {found.same:,} are equal.")
        for note in found.notes:
            click.echo(plain(note))


def _reading(history: History, row: MessageRow) -> Reading:
    content = history.piece(row.original or row.id, 0, READ)
    if content is None:
        raise NotKept("Its content is no longer kept: it is older than the channel's retention.")
    return opened(content, row.size)
