"""People on a database of their own, with a clock that tests turn and chance that repeats."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.console.people import Actor, People
from engine.console.people.audit import Entry
from engine.console.people.passwords import Passwords
from engine.console.people.trail import Wanted, all_entries
from engine.console.rights import Grant, Role, Who

PASSWORD = "gravel lantern otter quilt"
ROOT = Actor("root", "local")
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
BEGIN = 1_800_000_000 * SECOND


class World:
    """One site's people."""

    def __init__(self, site: Path) -> None:
        self.site = site
        self.now = BEGIN
        self.told: list[tuple[str, dict[str, object]]] = []
        self.passwords = Passwords(1, 8)
        self.opened: list[People] = []
        self.people = self.open()

    def open(self, chance: int = 1) -> People:
        made = People(
            self.site,
            lambda: self.now,
            chance=random.Random(chance + len(self.opened)).randbytes,
            tell=lambda name, facts: self.told.append((name, facts)),
            passwords=self.passwords,
            organization="General Hospital",
        )
        self.opened.append(made)
        return made

    def later(self, microseconds: int) -> None:
        self.now += microseconds

    def add(self, name: str, *grants: Grant) -> None:
        link = self.people.persons.add(ROOT, name, name.title(), grants or (Grant(Role.ADMIN),))
        self.people.persons.accept(link, PASSWORD, "10.0.0.1")

    def enter(self, name: str) -> str:
        """A session's cookie."""
        return self.people.login.password(name, PASSWORD, "10.0.0.1", "a browser").cookie

    def who(self, cookie: str) -> Who:
        found = self.people.session(cookie)
        assert found is not None
        return found

    def trail(self, what: str = "") -> list[Entry]:
        return list(all_entries(self.people.database, Wanted(what=what)))

    def files(self) -> bytes:
        """Everything that is on the disk."""
        return b"".join(path.read_bytes() for path in sorted((self.site / ".wardline").iterdir()))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    for people in made.opened:
        people.close()
