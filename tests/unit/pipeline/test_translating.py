"""How messages are claimed ahead and recorded together: against a store and a translator that the test answers for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred, succeed

from engine.contracts import Channel, Runtime
from engine.model import Heading, Message, MessageState, Translation
from engine.pipeline.translating import AHEAD, AHEAD_BYTES, BATCH, Translating


class Bench:
    """`asked` and `recording` are what the stage waits for, oldest first."""

    def __init__(self, waiting: int, size: int = 10) -> None:
        self.waiting = [Message(n, "adt", b"x" * size, Heading("", "", ""), "", 0) for n in range(1, waiting + 1)]
        self.asked: list[tuple[list[int], Deferred[list[Translation]]]] = []
        self.recording: list[tuple[list[int], Deferred[None]]] = []
        runtime = Runtime(None, None, lambda event: None, lambda: 0, None)  # type: ignore[arg-type]
        channel = Channel("adt", "", "memory", None, None, ())  # type: ignore[arg-type]
        store: Any = self
        self.stage = Translating(channel, "v1", store, store, runtime, lambda names: None)

    def untranslated(self, channel: str, after: int, limit: int) -> Deferred[list[Message]]:
        return succeed([one for one in self.waiting if one.id > after][:limit])

    def translate(self, version: str, channel: str, messages: Sequence[Message]) -> Deferred[list[Translation]]:
        answer: Deferred[list[Translation]] = Deferred()
        self.asked.append(([one.id for one in messages], answer))
        return answer

    def translated(self, translations: Sequence[Translation]) -> Deferred[None]:
        self.recording.append(([one.message_id for one in translations], Deferred()))
        return self.recording[-1][1]

    def answer(self, number: int) -> None:
        ids, answer = self.asked[number]
        answer.callback([Translation(one, "adt", MessageState.FILTERED) for one in ids])


@pytest.fixture
def bench() -> Bench:
    return Bench(4 * BATCH)


def test_what_is_translated_while_a_batch_is_recorded_shares_the_next_commit(bench: Bench) -> None:
    step = ensureDeferred(bench.stage.step())
    assert len(bench.asked) == 4
    bench.answer(0)
    assert step.called
    assert [len(ids) for ids, _ in bench.recording] == [BATCH]
    ensureDeferred(bench.stage.step())
    bench.answer(1)
    bench.answer(2)
    assert len(bench.recording) == 1  # not before the one under way is on disk
    bench.recording[0][1].callback(None)
    assert [ids for ids, _ in bench.recording] == [[*range(1, 33)], [*range(33, 97)]]
    ensureDeferred(bench.stage.step())
    bench.recording[1][1].callback(None)
    bench.answer(3)
    assert bench.recording[2][0] == [*range(97, 129)]


def test_only_what_follows_without_a_gap_is_recorded(bench: Bench) -> None:
    ensureDeferred(bench.stage.step())
    bench.answer(1)
    bench.answer(3)
    assert bench.recording == []
    bench.answer(0)
    assert [ids for ids, _ in bench.recording] == [[*range(1, 65)]]


def test_claims_are_bounded_in_number_and_in_bytes() -> None:
    many = Bench((AHEAD + 2) * BATCH)
    ensureDeferred(many.stage.step())
    assert len(many.asked) == AHEAD
    large = Bench(3 * BATCH, AHEAD_BYTES // BATCH)
    step = ensureDeferred(large.stage.step())
    assert len(large.asked) == 1
    large.answer(0)
    assert step.called
    ensureDeferred(large.stage.step())
    assert len(large.asked) == 2


def test_after_a_failure_everything_is_claimed_again(bench: Bench) -> None:
    step = ensureDeferred(bench.stage.step())
    bench.asked[0][1].errback(RuntimeError("gone"))
    step.addErrback(lambda failure: failure.trap(RuntimeError))
    ensureDeferred(bench.stage.step())
    assert bench.asked[4][0] == [*range(1, 33)]
    assert len(bench.asked) == 8
