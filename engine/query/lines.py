"""The lines of a result: what is shown of a message without its content, and files of them for other programs."""

from __future__ import annotations

import csv
import io
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from engine.errors import WardlineError
from engine.ids import format_id
from engine.model import SECOND

if TYPE_CHECKING:
    from engine.store.history import History
    from engine.store.rows import FoundDelivery, MessageRow

MOST: Final = 100_000  # lines of a file
SECONDS: Final = 600.0  # that writing one may take
COLUMNS: Final = (
    *("id", "received_at", "channel", "type", "control_id", "sender", "state", "park_reason", "reason", "keys"),
    *("deliveries", "size", "peer", "original", "replay_of", "part_of"),
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")  # a spreadsheet takes a cell that begins so for more than text


class Line(NamedTuple):
    """A message as a result shows it."""

    row: MessageRow
    keys: list[tuple[str, str]]  # business keys: (name, value)
    deliveries: list[FoundDelivery]

    @property
    def reason(self) -> str:
        """Why it is as it is; its own, or that of the first delivery that has one."""
        return self.row.reason or next((one.reason for one in self.deliveries if one.reason), "")

    def summary(self) -> dict[str, int]:
        """Deliveries by state."""
        return dict(Counter(one.state for one in self.deliveries))

    def data(self) -> dict[str, Any]:
        """For programs: ids as people type them, instants in ISO 8601."""
        row = self.row
        at = datetime.fromtimestamp(row.received_at / SECOND, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        found: dict[str, Any] = {"id": row.id, "received_at": at, "type": row.kind, "reason": self.reason, "keys": self.keys}
        found |= {"deliveries": self.summary()}
        found |= {name: getattr(row, name) for name in COLUMNS if name not in found}
        return {name: _written(found[name]) if name in _IDS else found[name] for name in COLUMNS}


_IDS: Final = ("id", "original", "replay_of", "part_of")


def lines(history: History, rows: list[MessageRow], reads: Callable[[str], bool] = lambda channel: True) -> list[Line]:
    """The lines of a page, in its order. Business keys name patients: they are left out where the asker may not read what a
    channel's messages hold."""
    if not rows:
        return []
    numbers = [row.id for row in rows if reads(row.channel)]
    keys, deliveries = history.keys_of(numbers), history.deliveries_of([row.id for row in rows if row.deliveries])
    return [Line(row, keys.get(row.id, []), deliveries.get(row.id, [])) for row in rows]


def as_jsonl(
    history: History, pages: Iterator[list[MessageRow]], reads: Callable[[str], bool] = lambda channel: True
) -> Iterator[bytes]:
    """A JSON object to a line. Where it is not all, the last line is `{"incomplete": "why"}`."""
    for page in _bounded(history, pages, reads):
        if isinstance(page, str):
            yield orjson.dumps({"incomplete": page}) + b"\n"
        else:
            yield b"".join(orjson.dumps(line.data()) + b"\n" for line in page)


def as_csv(
    history: History, pages: Iterator[list[MessageRow]], reads: Callable[[str], bool] = lambda channel: True
) -> Iterator[bytes]:
    """RFC 4180 in UTF-8, every cell quoted; one that a spreadsheet would take for a formula begins with an apostrophe. Where
    it is not all, the last row says why."""
    yield _rows([COLUMNS])
    for page in _bounded(history, pages, reads):
        if isinstance(page, str):
            yield _rows([("incomplete", page, *[""] * (len(COLUMNS) - 2))])
        else:
            yield _rows(tuple(_cell(value) for value in line.data().values()) for line in page)


def _bounded(history: History, pages: Iterator[list[MessageRow]], reads: Callable[[str], bool]) -> Iterator[list[Line] | str]:
    """Lines, and at last why these are not all."""
    count, until = 0, time.monotonic() + SECONDS
    try:
        for rows in pages:
            taken = rows[: MOST - count]
            count += len(taken)
            yield lines(history, taken, reads)
            if len(taken) < len(rows):
                yield f"more than {MOST:,} messages are found: narrow the search, by since: and until: for example"
                return
            if time.monotonic() > until:
                yield f"the search took more than {SECONDS / 60:.0f} minutes: narrow it by channel, time or key"
                return
    except WardlineError as error:  # half a file must not look like a whole one
        yield str(error)


def _rows(rows: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        value = ", ".join(f"{count} {word}" for word, count in value.items())
    elif isinstance(value, list):
        value = ", ".join(f"{name}:{one}" for name, one in value)
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _written(number: int) -> str | None:
    return format_id(number) if number else None
