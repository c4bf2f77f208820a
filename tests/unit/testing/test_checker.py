"""The oracle of the campaigns must catch every kind of fault it is there for: each is made here by hand."""

from __future__ import annotations

from typing import Any

import pytest

from engine.testing.charges import Deck
from engine.testing.ledger import answered, arrival, attempted, digest
from tests.campaign.checker import StoredDelivery, StoredMessage, StoreView, Verdict, check

DECK = Deck("T", accounts=3)
NUMBERS = range(12)  # four messages of each account


class Story:
    """A run without faults, which each test spoils in one way."""

    def __init__(self) -> None:
        self.sender: list[dict[str, Any]] = []
        self.receiver: list[dict[str, Any]] = []
        messages, deliveries = [], []
        for number in NUMBERS:
            control, content = DECK.content(number)
            self.sender += [attempted(control.decode(), content, 0), answered(control.decode(), "AA")]
            self.receiver.append(self.arrives(number))
            messages.append(StoredMessage(control.decode(), "translated", digest(content)))
            deliveries.append(StoredDelivery(f"ID{number}-1", "delivered", 1, 0))
        self.messages, self.deliveries = messages, deliveries

    @staticmethod
    def arrives(number: int, identity: str = "", **changed: bytes) -> dict[str, Any]:
        _, content = DECK.content(number)
        for before, after in changed.items():
            content = content.replace(before.encode(), after)
        return arrival((identity or f"ID{number}-1").encode(), content)

    def verdict(self) -> Verdict:
        return check(DECK, self.sender, self.receiver, StoreView(tuple(self.messages), tuple(self.deliveries)))


@pytest.fixture
def story() -> Story:
    return Story()


def faults(verdict: Verdict) -> set[str]:
    return {name for name in Verdict.FAULTS if getattr(verdict, name)}


def test_a_run_without_faults_is_good(story: Story) -> None:
    verdict = story.verdict()
    assert verdict.good
    assert (verdict.attempted, verdict.acknowledged, verdict.received, verdict.unanswered) == (12, 12, 12, 0)


def test_a_lost_message_is_caught(story: Story) -> None:
    del story.receiver[5]
    del story.deliveries[5]
    verdict = story.verdict()
    assert verdict.lost == ["T00000005 was acknowledged and never received"]
    assert faults(verdict) == {"lost"}


def test_a_message_that_was_never_acknowledged_may_be_missing(story: Story) -> None:
    story.sender[2 * 5 + 1] = answered("T00000005", "lost")
    for rows in (story.receiver, story.messages, story.deliveries):
        del rows[5]
    verdict = story.verdict()
    assert verdict.good
    assert verdict.unanswered == 1


def test_an_acknowledged_message_that_is_not_in_the_store_is_caught(story: Story) -> None:
    del story.messages[5]
    assert story.verdict().lost == ["T00000005 was acknowledged and is not in the store"]


def test_a_reordering_within_an_account_is_caught(story: Story) -> None:
    story.receiver[3], story.receiver[6] = story.receiver[6], story.receiver[3]
    verdict = story.verdict()
    assert verdict.reordered == ["T00000003 came after T00000006 in account AT100000"]
    assert faults(verdict) == {"reordered"}


def test_accounts_may_overtake_one_another(story: Story) -> None:
    story.receiver.sort(key=lambda entry: entry["facts"][1])
    assert story.verdict().good


def test_a_repeat_of_an_older_message_is_not_a_reordering(story: Story) -> None:
    story.receiver.append(story.arrives(0))
    story.deliveries[0] = StoredDelivery("ID0-1", "delivered", 2, 1)
    assert story.verdict().good


def test_a_repeat_without_a_doubtful_attempt_is_caught(story: Story) -> None:
    story.receiver.append(story.arrives(4))
    verdict = story.verdict()
    assert verdict.unexplained == ["ID4-1 was received 2 times; the store has 0 doubtful attempts"]
    assert faults(verdict) == {"unexplained"}


def test_one_doubtful_attempt_explains_one_repeat_and_not_two(story: Story) -> None:
    story.receiver += [story.arrives(4), story.arrives(4)]
    story.deliveries[4] = StoredDelivery("ID4-1", "delivered", 3, 1)
    assert faults(story.verdict()) == {"unexplained"}


def test_a_message_delivered_under_two_identities_is_caught(story: Story) -> None:
    story.receiver.append(story.arrives(4, "ID99-1"))
    story.deliveries.append(StoredDelivery("ID99-1", "delivered", 1, 0))
    verdict = story.verdict()
    assert verdict.unexplained == ["T00000004 was delivered as ID4-1, ID99-1"]
    assert verdict.doubled == ["T00000004 was taken again, as ID99-1"]


def test_a_receiver_that_drops_repeats_of_an_identity_takes_an_explained_repeat_once(story: Story) -> None:
    story.receiver.append(story.arrives(4))
    story.deliveries[4] = StoredDelivery("ID4-1", "delivered", 2, 1)
    assert story.verdict().doubled == []


def test_verdicts_of_several_runs_add_up(story: Story) -> None:
    verdict = story.verdict()
    story.receiver.append(story.arrives(4))
    verdict.add(story.verdict())
    assert (verdict.attempted, verdict.received, verdict.repeated) == (24, 25, 1)
    assert faults(verdict) == {"unexplained"}


def test_an_altered_fact_is_caught(story: Story) -> None:
    amount = DECK.charge(7).amount
    story.receiver[7] = story.arrives(7, **{f"|{amount}&USD|": b"|1.00&USD|"})
    verdict = story.verdict()
    assert len(verdict.altered) == 1
    assert verdict.altered[0].startswith("T00000007 arrived as ")
    assert faults(verdict) == {"altered"}


def test_a_repeat_with_another_text_is_caught(story: Story) -> None:
    story.receiver.append(story.arrives(4, **{"Westbrook": b"Eastbrook", "Fairhaven": b"Foulhaven", "Millport": b"Moleport"}))
    story.deliveries[4] = StoredDelivery("ID4-1", "delivered", 2, 1)
    assert story.verdict().altered == ["ID4-1 was repeated with another text"]


def test_other_bytes_in_the_store_are_caught(story: Story) -> None:
    story.messages[2] = story.messages[2]._replace(sha256=digest(b"something else"))
    assert story.verdict().altered == ["T00000002 is stored with other bytes than were sent"]


def test_something_never_sent_is_caught_at_the_receiver_and_in_the_store(story: Story) -> None:
    story.receiver.append(story.arrives(40))
    story.messages.append(StoredMessage("T00000041", "translated", digest(b"")))
    assert story.verdict().ghosts == [
        "'T00000040' was received and never sent",
        "'T00000041' is in the store and was never sent",
    ]


def test_a_success_that_the_receiver_knows_nothing_of_is_caught(story: Story) -> None:
    story.deliveries.append(StoredDelivery("ID77-1", "delivered", 1, 0))
    assert story.verdict().false_success == ["ID77-1 is delivered, and the receiver never had it"]


@pytest.mark.parametrize("state", ["waiting", "sending"])
def test_a_delivery_that_has_not_ended_is_caught(story: Story, state: str) -> None:
    story.deliveries[3] = StoredDelivery("ID3-1", state, 1, 0)
    assert story.verdict().stuck == [f"delivery ID3-1 is {state}"]


def test_a_message_that_is_not_translated_is_caught(story: Story) -> None:
    story.messages[3] = story.messages[3]._replace(state="received")
    assert story.verdict().stuck == ["message T00000003 is not translated"]


def test_refusals_are_counted_and_are_no_acknowledgements(story: Story) -> None:
    story.sender[2 * 5 + 1] = answered("T00000005", "AE", "FT1-13 is required")
    verdict = story.verdict()
    assert (verdict.acknowledged, verdict.refused, verdict.unanswered) == (11, 1, 0)


def test_the_summary_counts_faults_and_shows_the_first_few(story: Story) -> None:
    story.receiver.clear()
    summary = story.verdict().summary()
    assert summary["lost"] == 12
    assert len(summary["examples"]["lost"]) == 5
