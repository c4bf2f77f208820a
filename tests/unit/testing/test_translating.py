"""Translating outside the engine: what ends its process is parked alone, and the rest is answered in order."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterable, Sequence

import pytest

from engine.model import Heading, Message, MessageState, Translation
from engine.testing.translating import DEATHS, KeeperGone, Translator

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


class Work:
    """Does what the content says: be fine, or end the process."""

    def load(self, version: str, keep: Iterable[str]) -> None:
        raise LookupError(version)

    def __call__(self, version: str, channel: str, messages: Sequence[Message]) -> list[Translation]:
        for one in messages:
            if one.content == b"end":
                os.kill(os.getpid(), signal.SIGKILL)
        return [Translation(one.id, channel, MessageState.TRANSLATED, f"by {os.getpid()}") for one in messages]


def message(number: int, content: bytes = b"fine") -> Message:
    return Message(number, "adt", content, Heading("ADT^A01", str(number), "EHR|GENERAL"), "peer", 1)


def test_a_message_that_ends_its_process_parks_alone() -> None:
    with Translator(Work()) as translator:
        done = translator.translate("v1", "adt", [message(1), message(2, b"end"), message(3)])
        assert [one.message_id for one in done] == [1, 2, 3]
        assert [one.state for one in done] == [MessageState.TRANSLATED, MessageState.PARKED, MessageState.TRANSLATED]
        assert done[1].reason == f"translating it ended the process {DEATHS} times: signal 9"
        assert done[0].reason != done[2].reason  # other processes
        assert len(translator.translate("v1", "adt", [message(4)])) == 1


def test_it_says_so_when_nobody_starts_translators_any_more() -> None:
    translator = Translator(Work())
    translator._control.close()
    translator._control, other = socket.socketpair()
    other.close()
    with pytest.raises(KeeperGone):
        translator.translate("v1", "adt", [message(1)])
    translator.close()
