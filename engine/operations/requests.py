"""Having an engine on another host do something: a row in the PostgreSQL store that both know, and its answer.

Whoever may write to the store's tables may do everything, as at the control socket. A request is withdrawn by its asker where
no engine takes it in time; one that was taken is done once, by the engine that holds the store. What an engine began and did
not answer before it ended is answered by the next: that nobody knows whether it was done.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import orjson
from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from engine.contracts import Request, Store
from engine.errors import EXIT_FAILED, StoreBusy, StoreError, StoreFull
from engine.model import SECOND
from engine.operations.control import CONNECTIONS, LONGEST, Answered, NotRunning, Unanswerable, Verbs, answer_of, verb_of

LOOK = 1.0  # seconds between two looks of an engine
PATIENCE = 10.0  # seconds until a request that nobody takes is withdrawn, and until an engine takes it no more
ANSWER = 600.0  # seconds until nobody waits any longer for the answer to one that was taken
PAUSE = 0.1  # seconds between two looks of the asker
NOBODY_KNOWS = "the engine that took this ended before it answered: nobody knows whether it was done, look before you repeat it"


class Taking:
    """The engine's end: a worker's step."""

    def __init__(self, store: Callable[[], Store], verbs: Verbs) -> None:
        self._store_of, self._verbs = store, verbs
        self._under_way: set[str] = set()

    async def step(self) -> float:
        with suppress(StoreFull, StoreBusy):  # it is asked again
            await self._look()
        return LOOK

    async def _look(self) -> None:
        store = self._store_of()
        for request in await store.requests():
            if request.token in self._under_way or len(self._under_way) >= CONNECTIONS:
                continue
            if not request.epoch and request.age > PATIENCE * SECOND:
                continue  # its asker withdraws it, or has gone
            if not await store.take_request(request):
                continue
            self._under_way.add(request.token)
            ensureDeferred(self._answer(store, request)).addErrback(_told)

    async def _answer(self, store: Store, request: Request) -> None:
        try:
            await store.answer_request(request.token, orjson.dumps(await self._done(request), default=str).decode())
        except (StoreError, StoreFull, StoreBusy):
            pass  # the next engine says that nobody knows
        finally:
            self._under_way.discard(request.token)

    async def _done(self, request: Request) -> dict[str, Any]:
        if request.epoch:
            return {"error": NOBODY_KNOWS, "exit": EXIT_FAILED}
        try:
            return await answer_of(lambda: verb_of(self._verbs, request.verb, _arguments(request)))
        except Exception:
            _told(Failure())
            return {"error": "something went wrong in the engine: its log says what", "exit": EXIT_FAILED}


def _arguments(request: Request) -> dict[str, Any]:
    try:
        found = orjson.loads(request.arguments)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise Unanswerable("the arguments of a request are a JSON object")
    return found


def _told(failure: Failure) -> None:
    Logger("engine.operations").failure("A request could not be answered", failure=failure)


class Requests:
    """The asker's end, blocking, for one thread: as `control.Caller`. Use it as a context."""

    def __init__(self, url: str) -> None:
        """Raises NotRunning where the store cannot be had."""
        from engine.store.asker import Asker

        with _reached():
            self._asker = Asker(url, PATIENCE)

    def __enter__(self) -> Requests:
        return self

    def __exit__(self, *error: object) -> None:
        self._asker.close()

    def __call__(self, verb: str, /, **arguments: Any) -> Any:
        """The verb's result. Raises Answered with the engine's own words and exit code, NotRunning where none takes it."""
        text = orjson.dumps(arguments).decode()
        if len(text) > LONGEST:
            raise Unanswerable(f"a request has at most {LONGEST >> 20} MiB")
        with _reached():
            said = orjson.loads(self._answer(str(arguments.get("who", "")), verb, text))
        if "error" in said:
            raise Answered(said["error"], said["exit"])
        return said["result"]

    def _answer(self, who: str, verb: str, arguments: str) -> str:
        token = secrets.token_hex(16)
        begun = time.monotonic()
        self._asker.ask(token, who, verb, arguments)
        while (found := self._asker.look(token)) is not None:
            answer, epoch = found
            if answer:
                return answer
            waited = time.monotonic() - begun
            if not epoch and waited > PATIENCE and self._asker.withdraw(token):
                raise NotRunning("no engine took this from the store: does one run on it?")
            if waited > ANSWER:
                raise NotRunning("the engine has taken this and not answered: whether it was done, `wardline show` tells")
            time.sleep(PAUSE)
        raise NotRunning("this request is not in the store any more: whether it was done, `wardline show` tells")


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise NotRunning(f"the store cannot be asked: {error}") from error
