"""What waits for people, in as few lines as it has causes; and who has taken which of them.

Who has what is one small file, `.wardline/worklist.json`, replaced whole under a lock: a few hundred lines that people write
by hand need no table of their own, and they belong to the site as its files do. A line whose cause is gone says nothing any
more and is dropped after a month.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson

from engine.model import SECOND
from engine.operations import whole

if TYPE_CHECKING:
    from engine.store.rows import ParkedRow

FILE = ".wardline/worklist.json"
KEPT = 30 * 24 * 3600 * SECOND  # since anybody touched it
MOST = 5_000  # lines
LONGEST_NOTE = 500

_PLACED = re.compile(
    r"^(?:mapping: )?(?P<mapping>[\w.-]+) (?P<target>(?:let )?\S+): (?P<rest>.*?) \((?P<place>[^()\s]+:\d+:\d+|inline)\)$", re.S
)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_NUMBER = re.compile(r"\d{4,}")  # `HTTP 422` says something, an account number does not
_INDEX = re.compile(r"\[\d+\]")


class Group(NamedTuple):
    """What is parked for one cause: 4,000 messages may be one line."""

    key: str  # of the cause: the same as long as it lasts
    kind: str  # one of `ParkReason`
    channel: str
    destination: str  # '' for messages
    cause: str  # `dft-to-charge charge.department`, or the reason without what differs
    place: str  # of the expression, `mappings/charge.yaml:12:8`; '' where there is none
    reason: str  # the newest one's, as it was told
    things: int
    first: int
    oldest: int
    newest: int
    in_doubt: int


def cause(reason: str) -> tuple[str, str]:
    """What a reason has in common with others of its cause, and the line of the expression, where there is one."""
    found = _PLACED.match(reason)
    if found:
        return f"{found['mapping']} {_INDEX.sub('[*]', found['target'])}", found["place"]
    return _NUMBER.sub("…", _QUOTED.sub("…", reason))[:200], ""


def key_of(kind: str, channel: str, destination: str, why: str) -> str:
    return blake2b("\0".join((kind, channel, destination, why)).encode(), digest_size=8).hexdigest()


def grouped(rows: Iterable[ParkedRow]) -> list[Group]:
    """One line for each cause, those that have waited longest first."""
    groups: dict[str, Group] = {}
    for row in rows:
        why, place = cause(row.reason)
        key = key_of(row.kind, row.channel, row.destination, why)
        was = groups.get(key)
        one = Group(
            key, row.kind, row.channel, row.destination, why, place, row.reason, row.things, row.first, row.oldest, row.newest,
            row.in_doubt,
        )  # fmt: skip
        if was:
            latest = one if one.newest >= was.newest else was
            one = latest._replace(
                things=was.things + one.things,
                first=min(was.first, one.first),
                oldest=min(was.oldest, one.oldest),
                in_doubt=was.in_doubt + one.in_doubt,
            )
        groups[key] = one
    return sorted(groups.values(), key=lambda group: (group.oldest, group.first))


def of_cause(group: Group, rows: Iterable[tuple[int, str]]) -> list[int]:
    """The ids, of (id, reason), that have this group's cause."""
    return [number for number, reason in rows if cause(reason)[0] == group.cause]


# ── who has it ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Taken(NamedTuple):
    """Somebody looks after a line of the worklist."""

    who: str  # '': nobody; there may still be a note
    note: str
    by: str  # who said so
    at: int


class Assignments:
    """Who has what on one site. `now` is the wall clock."""

    def __init__(self, site: Path, now: Callable[[], int]) -> None:
        self._path, self._now = site / FILE, now

    def all(self) -> dict[str, Taken]:
        """By the key of the line. A file that cannot be read counts as none: nothing hangs on it."""
        try:
            found = orjson.loads(self._path.read_bytes())
            return {key: Taken(*facts) for key, facts in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def assign(self, key: str, who: str, note: str, by: str) -> None:
        """The last word counts. Neither a name nor a note: nobody has it."""
        with whole.locked(self._path.parent):
            now = self._now()
            kept = {one: taken for one, taken in self.all().items() if now - taken.at < KEPT and one != key}
            if who or note:
                kept[key] = Taken(who[:100], note[:LONGEST_NOTE], by, now)
            latest = sorted(kept.items(), key=lambda item: item[1].at)[-MOST:]
            whole.replace(self._path, orjson.dumps({one: tuple(taken) for one, taken in latest}))
