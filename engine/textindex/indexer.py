"""What the indexer does, a step at a time: each reads a stretch of the store and writes it with the cursor, in one transaction.

The store's ids are one sequence, in which messages and deliveries get theirs as they are committed. One cursor over it finds
new messages, and messages that have got new deliveries since; these are indexed once more, with all they have now. Deliveries
that may still change are watched: when one has ended or parked, its message is indexed once more. While one is tried again
and again, that is done after the first, second, fourth, eighth attempt, so that a year of attempts costs a few dozen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from engine.ids import format_id
from engine.model import SECOND
from engine.textindex.source import Document, Open, Source, Stretch, is_final
from engine.textindex.tables import FILLING, FULL, MAKING, TIDY, Database, Fault, Place, Tables, Volume

VOLUME: Final = 50_000  # messages in one
WATCHED: Final = 2000  # deliveries looked at in one step
DAY: Final = 86_400 * SECOND
REMEMBERED: Final = 20_000  # messages of which it is known which deliveries were indexed with them


class Indexer:
    """`now` gives microseconds since 1970; `tell` is told what an operator should know. Raises what the drivers raise: then
    nothing of the step has happened, and it can be done again."""

    def __init__(
        self, source: Source, database: Database, now: Callable[[], int], tell: Callable[[str], None], volume: int = VOLUME
    ) -> None:
        self._source, self._database, self._now, self._tell, self._size = source, database, now, tell, volume
        self._tables = Tables(database, source.identity())
        self._seen: dict[int, int] = {}  # message: the newest delivery that was indexed with it
        self._looked = 0  # up to this delivery the watched ones were looked at
        self._checked = 0  # up to this message volumes were compared with the store

    def open(self) -> None:
        """Raises StoreBusy where another indexer is at work."""
        if why := self._tables.open(self._now()):
            self._tell(f"the index of texts is made anew: {why}")
        for volume in self._tables.volumes():
            if volume.state == MAKING:  # it was not finished, and who knows what it has
                self._write([], lambda n=volume.n: self._tables.drop_volume(n))  # type: ignore[misc]

    def make_anew(self) -> None:
        self._seen.clear()
        self._looked = self._checked = 0
        self._tables.make_anew(self._now())

    def place(self) -> Place:
        return self._tables.place()

    # ── what is new ────────────────────────────────────────────────────────────────────────────────────────────────

    def forward(self, upto: int) -> int:
        """A stretch of what the store has up to id `upto`: how many documents were written. The place says how far it came."""
        place = self._tables.place()
        if place.reached >= upto:
            return 0
        stretch = self._source.stretch(place.reached, upto)
        again = [one for one, newest in stretch.deliveries.items() if one <= place.reached and self._seen.get(one, 0) < newest]
        documents = list(self._source.documents({*stretch.messages, *again}))
        new = [one for one in documents if one.message > place.reached]
        moved = Place(stretch.upto, place.newest, place.newest_at)
        if stretch.messages:
            moved = Place(stretch.upto, stretch.messages[-1], stretch.received_at)

        def beside() -> None:
            self._tables.move(moved)
            self._fill(new)

        self._write(documents, beside)
        self._remember(documents, stretch)
        return len(documents)

    def _fill(self, new: Sequence[Document]) -> None:
        """The newest volume has these, too; when it has enough, another one begins."""
        volume = next(one for one in self._tables.volumes() if one.state == FILLING)
        count = volume.messages + len(new)
        if count < self._size:
            self._tables.change_volume(volume._replace(messages=count))
            return
        last = new[-1].message if new else self._tables.place().newest
        self._tables.change_volume(volume._replace(messages=count, last=last, state=FULL))
        self._tables.new_volume(last + 1, self._now())

    def _remember(self, documents: Iterable[Document], stretch: Stretch) -> None:
        for one in documents:
            self._seen.pop(one.message, None)
            if one.newest:
                self._seen[one.message] = one.newest
        while len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]

    def caught_up(self) -> None:
        """What came first was written in one go; from now on it comes singly, and is looked for while it does."""
        for volume in self._tables.volumes():
            if volume.state == FILLING:
                self._database.index(volume.n)

    # ── what has changed ───────────────────────────────────────────────────────────────────────────────────────────

    def look(self) -> bool:
        """At some of the watched deliveries; False: all have been looked at, and the next look begins with the first."""
        watched = self._tables.watched(self._looked, WATCHED)
        now = self._source.states([one.delivery for one in watched]) if watched else {}
        gone = [one.delivery for one in watched if one.delivery not in now]
        changed = {one.message for one in watched if one.delivery in now and _worth(one, now[one.delivery])}
        if gone or changed:
            documents = list(self._source.documents(changed))
            forgotten = changed - {one.message for one in documents}
            gone += [one.delivery for one in watched if one.message in forgotten]
            self._write(documents, lambda: self._tables.unwatch(gone))
        self._looked = watched[-1].delivery if len(watched) == WATCHED else 0
        return bool(self._looked)

    # ── what was forgotten ─────────────────────────────────────────────────────────────────────────────────────────

    def tidy(self) -> bool:
        """A piece of what can wait: full volumes are put in order; False: there is nothing of that kind."""
        for volume in self._tables.volumes():
            if volume.state == MAKING:
                self._make(volume)
                return True
            if volume.state == FULL:
                if not self._database.tidy(volume.n):
                    self._write([], lambda one=volume: self._tables.change_volume(one._replace(state=TIDY)))  # type: ignore[misc]
                return True
        return False

    def forget(self) -> bool:
        """Compare one volume with the store; one that holds what retention has forgotten is made anew, or dropped where it
        holds nothing else, each at most once a day. False: all have been compared, and the next begins with the oldest."""
        for volume in self._tables.volumes():
            if volume.first > self._checked and volume.state != MAKING:
                self._checked = volume.first
                if self._now() - volume.made_at >= DAY:
                    self._compare(volume)
                return True
        self._checked = 0
        return False

    def _compare(self, volume: Volume) -> None:
        newest = self._tables.place().newest
        last = volume.last or newest
        if last < volume.first:
            return
        remaining = self._source.remaining(volume.first, last)
        if remaining >= volume.messages:
            return

        def change() -> None:
            if not volume.last:  # it is filled no further: what is new goes into another one
                self._tables.new_volume(last + 1, self._now())
                self._tables.change_volume(volume._replace(last=last, state=FULL))
            if remaining:
                self._tables.new_volume(volume.first, self._now(), last, MAKING)
            else:
                self._tables.drop_volume(volume.n)

        self._write([], change)

    def _make(self, volume: Volume) -> None:
        """A stretch of a volume that takes the place of the one with the same ids, once it has everything."""
        stretch = self._source.stretch(volume.reached, volume.last)
        documents = list(self._source.documents(stretch.messages))
        made = volume._replace(reached=stretch.upto, messages=volume.messages + len(documents))

        def beside() -> None:
            if made.reached < made.last:
                self._tables.change_volume(made)
                return
            for old in self._tables.volumes():
                if old.first == made.first and old.n != made.n:
                    self._tables.drop_volume(old.n)
            self._tables.change_volume(made._replace(state=FULL, made_at=self._now()))

        self._write(documents, beside, only=volume.n)

    # ── writing ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _write(self, documents: Sequence[Document], beside: Callable[[], None], only: int = 0) -> None:
        """Documents into their volumes, and what goes with them, in one transaction."""
        try:
            self._transaction(documents, beside, only, self._put)
        except Exception as error:
            if not documents or self._database.fault(error) is not Fault.OTHER:
                raise
            self._transaction(documents, beside, only, self._put_singly)

    def _transaction(
        self, documents: Sequence[Document], beside: Callable[[], None], only: int, put: Callable[[int, list[Document]], None]
    ) -> None:
        database = self._database
        database.begin()
        try:
            for volume in self._tables.volumes() if documents else ():
                if only in (0, volume.n):
                    theirs = [one for one in documents if only or volume.holds(one.message)]
                    if theirs:
                        put(volume.n, theirs)
            if not only:
                reached = self._tables.place().reached
                for again in (False, True):
                    self._tables.watch([one for one in documents if (one.message <= reached) is again], again)
            beside()
            database.commit()
        except BaseException:
            database.rollback()
            raise

    def _put(self, n: int, documents: list[Document]) -> None:
        self._database.put(n, documents)

    def _put_singly(self, n: int, documents: list[Document]) -> None:
        """What the database does not take is left out, so that it does not hold up the rest."""
        for one in documents:
            self._database.run("SAVEPOINT one_document")
            try:
                self._database.put(n, [one])
            except Exception as error:
                if self._database.fault(error) is not Fault.OTHER:
                    raise
                self._database.run("ROLLBACK TO SAVEPOINT one_document")
                self._tell(f"the texts of message {format_id(one.message)} cannot be indexed ({type(error).__name__})")
            self._database.run("RELEASE SAVEPOINT one_document")


def _worth(before: Open, now: Open) -> bool:
    """Whether there is something new that is indexed at once."""
    if is_final(now.state) or now.state != before.state:
        return True
    return now.attempts.bit_length() != before.attempts.bit_length()
