"""Named places where the engine can be killed: between two steps that must not come apart.

Nothing of this is in the engine. `tests.campaign.rigged` patches the function at a place, in the process in which it then
runs the engine, and that process sends itself SIGKILL when it passes there for the n-th time.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NamedTuple

from sqlalchemy import event
from twisted.internet.defer import Deferred

from engine.app import Engine
from engine.change import Change
from engine.connectors.mllp.destination import AckLink
from engine.model import Close, Delivered, Delivery, DeliveryState, Settlement
from engine.operations.versions import Versions
from engine.pipeline.intake import Intake
from engine.running import AtWork, Listener, RunningChannel, RunningDestination
from engine.store import commit, duplicates, keys, migrations, recovery, store
from engine.store.commit import Committer
from engine.store.store import SqlStore

LOAD = "under load"
START = "during recovery"
RELOAD = "during a reload"
STOP = "during a stop"
UPGRADE = "while the store is upgraded"
WHENS = (LOAD, START, RELOAD, STOP, UPGRADE)
EVERYTHING = 1000  # more than are ever in doubt


class Fuse:
    """Called at each passing. The n-th ends this process, and none that was forked from it."""

    def __init__(self, n: int) -> None:
        self._left = itertools.count(n - 1, -1)
        self._process = os.getpid()

    def __call__(self, *_: object) -> None:
        if os.getpid() == self._process and next(self._left) == 0:
            os.kill(self._process, signal.SIGKILL)


class Point(NamedTuple):
    about: str
    when: str  # one of WHENS
    most: int  # the largest n that is surely reached in one life
    arm: Callable[[Fuse], None]
    least: int = 1


# ── patching ───────────────────────────────────────────────────────────────────────────────────────────────────────


def put(owner: Any, name: str, value: Any) -> None:
    """In the place of what is there. Raises AttributeError where nothing is: the engine has been changed."""
    getattr(owner, name)
    setattr(owner, name, value)


def _before(owner: Any, name: str) -> Callable[[Fuse], None]:
    """Where `name` is called; of a coroutine, before its first step."""

    def arm(fuse: Fuse) -> None:
        original = getattr(owner, name)

        @wraps(original)
        def rigged(*arguments: Any, **named: Any) -> Any:
            fuse()
            return original(*arguments, **named)

        put(owner, name, rigged)

    return arm


def _after(owner: Any, name: str, fits: Callable[..., bool] = lambda *_: True) -> Callable[[Fuse], None]:
    """Where `name` has returned, if `fits` says so of its result and arguments."""

    def arm(fuse: Fuse) -> None:
        original = getattr(owner, name)

        @wraps(original)
        def rigged(*arguments: Any, **named: Any) -> Any:
            result = original(*arguments, **named)
            if fits(result, *arguments):
                fuse()
            return result

        put(owner, name, rigged)

    return arm


def _uncommitted(verb: int) -> Callable[[Fuse], None]:
    """In a transaction that does `verb`: everything is written, nothing is committed."""
    return _after(Committer, "_run", lambda _, __, jobs: any(job.verb == verb for job in jobs))


def _committed(verb: int) -> Callable[[Fuse], None]:
    """A transaction that did `verb` is on disk, and nobody has been told."""
    return _after(Committer, "__call__", lambda _, __, jobs: any(job.verb == verb for job in jobs))


def _begun(done: commit.Done, *_: object) -> bool:
    return any(isinstance(result, list) and result and isinstance(result[0], Delivery) for _, result in done.answers)


def _sent(fuse: Fuse) -> None:
    """One turn of the loop after the bytes were given to the connection: by then the kernel has them."""
    original = AckLink.exchange

    def exchange(link: AckLink, request: bytes, timeout: float) -> Any:
        answer = original(link, request, timeout)
        link.links.clock.callLater(0, fuse)
        return answer

    put(AckLink, "exchange", exchange)


def _gathering(fuse: Fuse) -> None:
    """Both indexes are written in slices; here they are due early, so that it happens in every life."""
    for module in (duplicates, keys):
        put(module, "GATHER", 64)
    _after(duplicates.Duplicates, "gather")(fuse)
    _after(keys, "gather")(fuse)


def _stale(fuse: Fuse) -> None:
    """An engine that was thought dead says of every attempt it had begun that it was delivered: after the next one has
    begun all these deliveries again, and before it has sent any."""
    original = SqlStore.take_due

    def take_due(self: SqlStore, destination: str, room: int, window: int) -> Deferred[list[Delivery]]:
        def late(deliveries: list[Delivery]) -> Any:
            now, delivered = self._runtime.now(), Close(DeliveryState.DELIVERED)
            earlier = [one._replace(attempts=one.attempts - 1) for one in deliveries if one.in_doubt]
            told = [Settlement(one, Delivered(), delivered, now, now) for one in earlier]
            if not told:
                return deliveries
            return self.attempted(told).addCallback(fuse).addCallback(lambda _: deliveries)

        return original(self, destination, EVERYTHING, EVERYTHING).addCallback(late)

    put(SqlStore, "take_due", take_due)


def _recovering(fuse: Fuse) -> None:
    """Before each statement of the recovery."""
    original = recovery.recover

    def recover(driver: Any, now: Any) -> Any:
        for name in ("run", "changed", "commit", "rows"):
            setattr(driver, name, _told(getattr(driver, name), fuse))
        try:
            return original(driver, now)
        finally:
            for name in ("run", "changed", "commit", "rows"):
                delattr(driver, name)

    put(store, "recover", recover)


def _told(original: Callable[..., Any], fuse: Fuse) -> Callable[..., Any]:
    def rigged(*arguments: Any) -> Any:
        fuse()
        return original(*arguments)

    return rigged


def _migrating(fuse: Fuse) -> None:
    """Before each statement of the upgrade, and before its commit."""
    original = migrations.engine_for

    def engine_for(url: str) -> Any:
        made = original(url)
        event.listen(made, "before_cursor_execute", fuse)
        event.listen(made, "commit", fuse)
        return made

    put(migrations, "engine_for", engine_for)


# ── the places ─────────────────────────────────────────────────────────────────────────────────────────────────────

POINTS: dict[str, Point] = {
    "taking": Point("messages are written, not committed", LOAD, 60, _uncommitted(commit.TAKE)),
    "taken": Point("messages are on disk, nobody has been told", LOAD, 60, _committed(commit.TAKE)),
    "answering": Point("a message is on disk, its ACK is not yet made", LOAD, 400, _before(Intake, "_receipt")),
    "translated": Point("messages are translated, the store does not know", LOAD, 30, _before(SqlStore, "translated")),
    "recording": Point("deliveries are written, not committed", LOAD, 30, _uncommitted(commit.TRANSLATED)),
    "recorded": Point("deliveries are on disk, nobody has been told", LOAD, 30, _committed(commit.TRANSLATED)),
    "begun": Point("attempts are on disk, no byte has left", LOAD, 60, _after(Committer, "__call__", _begun)),
    "sent": Point("a delivery has left, no answer is there", LOAD, 400, _sent),
    "answered": Point("the answer is there, nobody has read it", LOAD, 400, _before(AckLink, "dataReceived")),
    "settling": Point("outcomes are written, not committed", LOAD, 60, _uncommitted(commit.ATTEMPTED)),
    "settled": Point("outcomes are on disk, nobody has been told", LOAD, 60, _committed(commit.ATTEMPTED)),
    "gathering": Point("keys are on their way to their index, not committed", LOAD, 6, _gathering),
    "opened": Point("the store is open, nothing is recovered", START, 1, _before(store, "recover")),
    "recovering": Point("before one of the statements of the recovery", START, 12, _recovering),
    "recovered": Point("the store is recovered, nothing is at work", START, 1, _after(Engine, "open")),
    "carrying": Point("what was in doubt goes out again, no source is open", START, 2, _before(Listener, "open")),
    "stale": Point("a dead engine's word about attempts comes late", START, 1, _stale),
    "loading": Point("the new version is checked, the translators do not know it", RELOAD, 1, _before(AtWork, "load")),
    "exchanging": Point("the translators know the new version, nothing else does", RELOAD, 1, _before(Change, "_open")),
    "closed": Point("the old listener is closed, the new one not yet open", RELOAD, 3, _before(Listener, "open"), 3),
    "swapping": Point("the new listener is open, the channels have their old rules", RELOAD, 1, _before(Change, "_swap")),
    "replacing": Point(
        "the old destination is stopped, the new one not yet at work", RELOAD, 3, _before(RunningDestination, "start"), 3
    ),
    "noting": Point("the new version is at work, its journal does not say so", RELOAD, 2, _before(Versions, "note"), 2),
    "draining": Point("SIGTERM has come, everything is open", STOP, 1, _before(Engine, "stop")),
    "drained": Point("no source is open, what was taken is not yet all recorded", STOP, 2, _before(RunningChannel, "stop")),
    "finishing": Point("nothing more is translated, deliveries are on the wire", STOP, 2, _before(RunningDestination, "stop")),
    "closing": Point("everything has ended, the store is open", STOP, 1, _before(SqlStore, "close")),
    "migrating": Point("before one of the statements of the upgrade, or its commit", UPGRADE, 21, _migrating),
    "migrated": Point("the store is upgraded, nothing is recovered", UPGRADE, 1, _after(migrations, "upgrade")),
}
"""By name, in the order in which a message, an engine and a configuration come to them."""


def of(*whens: str) -> Sequence[str]:
    return [name for name, point in POINTS.items() if point.when in whens]
