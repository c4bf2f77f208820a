"""What the store asks of a database, and what can go wrong with one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum
from typing import Any, Protocol

from engine.store.statements import Rows, Statement

Row = tuple[Any, ...]


class Fault(Enum):
    """Whose fault an exception is, and so who hears of it."""

    DATA = "data"  # one item's: the others go on
    FULL = "full"  # no room: this batch is refused, the next may fit
    BUSY = "busy"  # someone else holds the database: this batch is refused
    RETRY = "retry"  # chosen as the victim of a conflict: the same again
    LOST = "lost"  # the connection went: what was committed must be read back
    BROKEN = "broken"  # nothing it says can be trusted any more


class Driver(Protocol):
    """One connection. Statements run inside `begin` … `commit`; the calls block."""

    url: str

    def begin(self) -> None: ...

    def commit(self) -> None:
        """Durable when it returns."""

    def rollback(self) -> None:
        """Never raises; afterwards `begin` works unless the connection is gone."""

    def run(self, statement: Statement, *values: Any) -> None: ...

    def changed(self, statement: Statement, *values: Any) -> int:
        """Like `run`; how many rows it changed."""

    def rows(self, statement: Statement, *values: Any) -> list[Row]: ...

    def many(self, statement: Rows, rows: Sequence[Row], singly: bool = False) -> None:
        """An Insert, Update or Delete for each of `rows`; none is fine. `singly`: they are large, and nothing is gained by
        holding several of them at once."""

    def numbers(self, numbers: Collection[int]) -> Any:
        """The parameter for `among`."""

    def originals(self, channel: int, keys: Sequence[bytes]) -> list[Row]:
        """(key, message id) of every message of `channel` that has one of these dedupe keys."""

    def fault(self, error: BaseException) -> Fault: ...

    def recover(self) -> bool:
        """After Fault.LOST: a new connection under the same lock. Whether the last commit that was asked for is in the
        store. Raises StoreError where none can be had, or where the store is not the one we wrote to."""

    def tidy(self) -> None:
        """After a commit, when everybody has had an answer: what would have held them up."""

    def relieve(self) -> None:
        """After Fault.FULL: give up the reserve, for those who bring nothing new."""

    def shrink(self, whole: bool) -> bool:
        """Give a piece of the free pages back to the disk, in the transaction under way. False: there is no more to give."""

    def settle(self) -> None:
        """After creation: make it survive a power loss."""

    def execute(self, text: str) -> None:
        """A statement of the schema."""

    def exists(self) -> bool:
        """Whether there is a store at all."""

    def warnings(self) -> list[str]:
        """What an operator should know about this database."""

    def opened(self) -> None:
        """After recovery, before the first verb."""

    def close(self, well: bool = True) -> None:
        """`well`: the database has not failed."""


class Reader(Protocol):
    """A connection that only reads."""

    def rows(self, statement: Statement, *values: Any) -> list[Row]: ...

    def numbers(self, numbers: Collection[int]) -> Any: ...

    def close(self) -> None: ...
