"""How often somebody may try: five times a minute for an account, and ever longer waits for an address that keeps failing.

In memory and bounded: a restart forgets it, and takes longer than the waits it spares. What an attempt is about counts before
it is looked at, so that many at once are no way around it; names that do not exist count like those that do.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeVar

V = TypeVar("V")

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
A_MINUTE: Final = 5  # attempts on one account
FREE: Final = 10  # failures in a row of one address, or of one account's codes, before it must wait
LONGEST: Final = 15 * MINUTE
FORGOTTEN: Final = 24 * 60 * MINUTE  # after the last failure; much longer than any wait, or waiting would be rewarded
KEPT: Final = 20_000  # keys; the one that was quiet longest is forgotten first


class Throttle:
    def __init__(self, now: Callable[[], int], kept: int = KEPT) -> None:
        self._now, self._kept = now, kept
        self._lock = threading.Lock()
        self._recent: OrderedDict[str, list[int]] = OrderedDict()  # by account: instants of the last minute
        self._failed: OrderedDict[str, tuple[int, int]] = OrderedDict()  # how often in a row, and when last
        self._waiting: OrderedDict[str, None] = OrderedDict()  # keys for which the last attempt had to wait

    def attempt(self, account: str, *growing: str) -> tuple[int, bool]:
        """Seconds to wait, and whether this is the first one who must. With 0 the attempt may go on and has been counted for
        the account and for every key of `growing` (addresses), as a failure until `succeeded` says otherwise."""
        now = self._now()
        with self._lock:
            recent = [at for at in self._recent.get(account, ()) if 0 <= now - at < MINUTE]
            waits = {key: wait for key in growing if (wait := self._wait(key, now)) > 0}
            if len(recent) >= A_MINUTE:
                waits[account] = recent[0] + MINUTE - now
            if waits:
                first = not any(key in self._waiting for key in waits)
                for key in waits:
                    self._keep(self._waiting, key, None)
                return max(1, -(-max(waits.values()) // SECOND)), first
            for key in (account, *growing):
                self._waiting.pop(key, None)
            self._keep(self._recent, account, [*recent, now])
            for key in growing:
                count, at = self._failed.get(key, (0, now))
                self._keep(self._failed, key, (1 if now - at > FORGOTTEN else count + 1, now))
            return 0, False

    def succeeded(self, account: str, *growing: str) -> None:
        with self._lock:
            self._recent.pop(account, None)
            for key in growing:
                self._failed.pop(key, None)

    def _wait(self, key: str, now: int) -> int:
        count, at = self._failed.get(key, (0, 0))
        if count < FREE:
            return 0
        wait = min(SECOND << min(count - FREE, 30), LONGEST)
        return wait - max(0, now - at)

    def _keep(self, kept: OrderedDict[str, V], key: str, value: V) -> None:
        kept[key] = value
        kept.move_to_end(key)
        while len(kept) > self._kept:
            kept.popitem(last=False)
