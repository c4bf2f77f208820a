"""`after`: deliveries of one message to several destinations wait for one another, in a lane that only they have."""

from __future__ import annotations

from engine.model import GATE
from engine.store.history import History
from tests.contract.store.helpers import Site, contents, number, outgoing

GATED = f"{GATE}8000 billing ledger"


async def two(site: Site, name: str = "", key: str = "account") -> None:
    """A message whose delivery to the ledger waits for the one to billing."""
    await site.record(
        outgoing(f"charge{name}", key, GATED + name, destination="billing"),
        outgoing(f"journal{name}", key, GATED + name, destination="ledger"),
    )


async def test_the_second_begins_when_the_first_has_ended_and_its_destination_is_told(site: Site) -> None:
    told: list[set[str]] = []
    site.store.on_unblocked = told.append
    await two(site)
    assert await site.due("ledger") == []
    (charge,) = await site.due("billing")
    assert await site.due("ledger") == []
    await site.deliver(charge)
    assert told == [{"ledger"}]
    (journal,) = await site.due("ledger")
    await site.deliver(journal)
    assert number(site, "SELECT COUNT(*) FROM lane") == number(site, "SELECT COUNT(*) FROM crossing") == 0
    with History(site.url) as history:
        assert history.order_keys(journal.id) == ["account"]


async def test_the_end_may_be_a_refusal(site: Site) -> None:
    await two(site)
    (charge,) = await site.due("billing")
    await site.park(charge)
    assert contents(await site.due("ledger")) == [b"journal"]


async def test_later_messages_wait_behind_in_each_lane_and_others_do_not(site: Site) -> None:
    await two(site, "1")
    await two(site, "2")
    await two(site, "3", "another account")
    first, other = await site.due("billing", window=1)
    assert contents([first, other]) == [b"charge1", b"charge3"]
    await site.deliver(other)
    assert contents(await site.due("ledger")) == [b"journal3"]
    await site.deliver(first)
    assert contents(await site.due("ledger")) == [b"journal1"]
    (second,) = await site.due("billing")
    assert contents([second]) == [b"charge2"]


async def test_a_crash_between_the_two_forgets_nothing(site: Site) -> None:
    await two(site)
    (charge,) = await site.due("billing")
    await site.reopen()
    assert await site.due("ledger") == []
    (charge,) = await site.due("billing")
    assert charge.in_doubt
    await site.deliver(charge)
    await site.reopen()
    assert contents(await site.due("ledger")) == [b"journal"]


async def test_what_is_sent_again_by_a_person_waits_for_nobody(site: Site) -> None:
    await two(site)
    (charge,) = await site.due("billing")
    await site.deliver(charge)
    (journal,) = await site.due("ledger")
    await site.deliver(journal)
    from engine.model import Verb

    await site.act(Verb.RESEND, deliveries=[journal.id])
    assert contents(await site.due("ledger")) == [b"journal"]
