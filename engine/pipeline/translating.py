"""The stage between two stores of the same message: claim what was received, have it translated, record what became of it.

Each channel has one cursor and one worker. Batches are translated ahead, and recorded in the order of the commits that
took the messages; a message's state and all its deliveries are one transaction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred

from engine import events
from engine.contracts import Channel, Runtime, Store
from engine.errors import StoreBusy, StoreError, StoreFull, WardlineError
from engine.model import MessageState, ParkReason, Translation
from engine.pipeline.translators import Translator
from engine.pipeline.worker import UNTIL_WOKEN

BATCH = 32  # messages: some milliseconds of work
AHEAD = 8  # batches under way: being translated, waiting for that, and translated while those before are recorded
AHEAD_BYTES = 8 << 20  # of their content; with this much no further batch is claimed


class Translating:
    """The worker's step for one channel. `recorded` is called with the destinations that get new deliveries, once the
    store has been asked to record them: a verb that is submitted after that sees them."""

    def __init__(
        self,
        channel: Channel,
        version: str,
        translator: Translator,
        store: Store,
        runtime: Runtime,
        recorded: Callable[[set[str]], None],
    ) -> None:
        self._channel = channel.name
        self.version = version  # of the site: what is translated from now on
        self._translator = translator
        self._store = store
        self._runtime = runtime
        self._recorded = recorded
        self._again = False
        self._cursor = 0  # the last message that was claimed
        self._ahead: deque[tuple[Deferred[list[Translation]], int]] = deque()  # each with the size of its messages
        self._ahead_bytes = 0
        self._recording: Deferred[None] | None = None
        self._batch: list[Translation] = []  # what is being recorded

    async def rest(self) -> None:
        """After the last step: what is being recorded ends. The next step claims anew what was not."""
        with suppress(StoreFull, StoreBusy):
            await self._recorded_before()
        self._begin_again()

    def look_again(self) -> None:
        """Messages may wait that were received before those claimed last: released ones."""
        self._again = True

    async def step(self) -> float:
        try:
            return await self._round()
        except BaseException:
            self._begin_again()
            raise

    async def _round(self) -> float:
        if self._again and not self._ahead:
            self._again = False
            await self._recorded_before()
            self._cursor = 0
        while len(self._ahead) < AHEAD and self._ahead_bytes < AHEAD_BYTES and not self._again:
            messages = await self._store.untranslated(self._channel, self._cursor, BATCH)
            if not messages:
                break
            self._cursor = messages[-1].id
            size = sum(len(message.content) for message in messages)
            self._ahead.append((self._translator.translate(self.version, self._channel, messages), size))
            self._ahead_bytes += size
        if not self._ahead:
            await self._recorded_before()
            return UNTIL_WOKEN
        translations = await self._next()
        await self._recorded_before()
        while self._ahead and self._ahead[0][0].called:  # what has been translated meanwhile shares its commit
            translations += await self._next()
        self._recording = self._store.translated(translations)
        self._recording.addCallback(lambda _: self._tell(translations))
        self._batch = translations
        self._wake(translations)  # now, and not when it is on disk: what begins at once shares the commit that records it
        return 0

    async def _next(self) -> list[Translation]:
        """What becomes of the oldest batch under way."""
        answer, size = self._ahead[0]
        translations = [*await answer]
        self._ahead.popleft()
        self._ahead_bytes -= size
        return translations

    async def _recorded_before(self) -> None:
        """The batch before is on disk."""
        recording, self._recording = self._recording, None
        batch, self._batch = self._batch, []
        if recording is None:
            return
        try:
            await recording
        except (StoreError, StoreFull, StoreBusy):
            raise
        except Exception:
            await self._one_by_one(batch)

    async def _one_by_one(self, batch: Sequence[Translation]) -> None:
        """The store refused a batch for what is in it. One that cannot be recorded parks, so that the others go on."""
        for one in batch:
            recorded = one
            try:
                await self._store.translated([one])
            except (StoreError, StoreFull, StoreBusy):
                raise
            except WardlineError:
                continue  # it waits for this no more
            except Exception as error:
                why = f"{type(error).__name__} while recording it"
                recorded = Translation(
                    one.message_id, one.channel, MessageState.PARKED, why, ParkReason.POISON, config=one.config
                )
                await self._store.translated([recorded])
            self._tell([recorded])
            self._wake([recorded])

    def _begin_again(self) -> None:
        """What could not be recorded is still untranslated: claim it from the store once more. What is on its way to the
        store meanwhile is refused there if it comes twice, and claimed no more once it is recorded."""
        self._cursor = 0
        unwanted: list[Deferred[Any]] = [answer for answer, _ in self._ahead]
        if self._recording is not None:
            unwanted.append(self._recording)
        for answer in unwanted:
            answer.addErrback(_ignored)
        self._ahead.clear()
        self._ahead_bytes = 0
        self._recording = None

    def _tell(self, translations: Iterable[Translation]) -> None:
        emit = self._runtime.emit
        for done in translations:
            if done.state is MessageState.TRANSLATED:
                emit(events.Translated(done.channel, done.message_id, len(done.outgoings)))
            elif done.state is MessageState.PARKED:
                emit(events.Parked(done.channel, done.message_id, done.park_reason, done.reason))
            else:
                emit(events.Filtered(done.channel, done.message_id, done.reason))

    def _wake(self, translations: Iterable[Translation]) -> None:
        """The destinations that have new deliveries."""
        if destinations := {outgoing.destination for done in translations for outgoing in done.outgoings}:
            self._recorded(destinations)


def _ignored(failure: object) -> None:
    """The first failure has been told; those of the batches behind it say nothing new."""
