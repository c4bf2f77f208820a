"""The envelope: one fact has one idempotency key however often and by whatever road it is told."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.canonical import ENTITIES
from engine.canonical.entity import _as_json, plain
from engine.contracts import Facts
from engine.errors import ContentError
from tests.unit.canonical.examples import FACTS, FULL, SMALLEST, smallest


def sealed(entity: str, payload: dict[str, Any] | None = None, action: str = "", facts: Facts = FACTS, **changes: Any) -> Any:
    checked = ENTITIES[entity].validate(payload or smallest(entity, **changes))
    return ENTITIES[entity].envelope(checked, action, facts)


def key(entity: str, **arguments: Any) -> str:
    made: str = sealed(entity, **arguments)["idempotency_key"]
    return made


def resent(facts: Facts = FACTS) -> Facts:
    """The same fact in another message: new control id, new message id, later."""
    return facts._replace(
        message_id="0ABCDEFGHK",
        received_at=facts.received_at + 1,
        heading=facts.heading._replace(control_id="MSG0002"),
    )


def test_the_envelope_says_where_everything_came_from() -> None:
    made = sealed("charge/v1")
    assert made | {"payload": ..., "idempotency_key": ...} == {
        "schema": "canonical/charge/v1",
        "action": "create",
        "idempotency_key": ...,
        "ordering_key": "patient:100200",
        "effective_at": "2026-01-31",
        "classification": "phi",
        "provenance": {
            "message_id": "0ABCDEFGHJ",
            "channel": "charges",
            "route": "billing",
            "source_system": "EHR|GENERAL",
            "source_type": "hl7v2",
            "source_version": "2.5.1",
            "source_control_id": "MSG0001",
            "event_type": "DFT^P03",
            "received_at": "2026-01-01T00:00:00.123Z",
            "organization": "General Hospital",
            "environment": "test",
        },
        "payload": ...,
    }
    assert len(made["idempotency_key"]) == 64


def test_provenance_leaves_out_what_is_unknown() -> None:
    assert sealed("charge/v1", facts=Facts())["provenance"] == {
        "message_id": "0000000000",
        "received_at": "1970-01-01T00:00:00.000Z",
    }


@pytest.mark.parametrize(
    ("entity", "action", "classification"),
    [
        ("charge/v1", "create", "phi"),
        ("encounter/v1", "upsert", "phi"),
        ("journal/v1", "create", "financial"),
        ("patient/v1", "upsert", "phi"),
    ],
)
def test_each_entity_has_its_usual_action_and_class(entity: str, action: str, classification: str) -> None:
    made = sealed(entity)
    assert (made["action"], made["classification"]) == (action, classification)
    assert sealed(entity, action="cancel")["action"] == "cancel"


def test_an_unknown_action_is_refused() -> None:
    with pytest.raises(ContentError, match=r"^charge\.action: 'CG' is no action; expected one of create, update,"):
        sealed("charge/v1", action="CG")


def test_a_charge_told_again_under_another_control_id_is_the_same_fact() -> None:
    assert key("charge/v1") == key("charge/v1", facts=resent())
    assert key("charge/v1", description="better words") == key("charge/v1")


def test_what_makes_a_charge_another_fact() -> None:
    other_sender = FACTS._replace(heading=FACTS.heading._replace(sender="EHR|CLINIC"))
    keys = {
        key("charge/v1"),
        key("charge/v1", transaction_id="4712"),
        key("charge/v1", type="CR"),
        key("charge/v1", action="reverse"),
        key("charge/v1", facts=other_sender),
        key("charge/v1", facts=FACTS._replace(organization="Other")),
    }
    assert len(keys) == 6


def test_parts_of_a_key_cannot_run_into_one_another() -> None:
    left = FACTS._replace(organization="A|B", heading=FACTS.heading._replace(sender="C"))
    right = FACTS._replace(organization="A", heading=FACTS.heading._replace(sender="B|C"))
    assert key("charge/v1", facts=left) != key("charge/v1", facts=right)


@pytest.mark.parametrize(
    ("changes", "lane"),
    [
        ({"account_number": "ACC-9", "encounter": {"visit_number": "V-88"}}, "account:ACC-9"),
        ({"encounter": {"visit_number": "V-88"}}, "visit:V-88"),
        ({"encounter": None, "account_number": None}, "patient:100200"),
    ],
)
def test_charges_are_ordered_by_account_then_visit_then_patient(changes: dict[str, Any], lane: str) -> None:
    assert sealed("charge/v1", **changes)["ordering_key"] == lane


def test_a_patient_is_a_new_fact_when_the_source_says_it_changed() -> None:
    first = key("patient/v1", updated_at="2026-01-01T10:00:00Z")
    assert first == key("patient/v1", updated_at="2026-01-01T10:00:00Z", facts=resent())
    assert first != key("patient/v1", updated_at="2026-01-01T10:00:01Z")
    assert sealed("patient/v1")["ordering_key"] == "patient:100200"


def test_a_patient_without_a_time_is_told_by_content_and_message() -> None:
    """A value that went back to what it was before is still news; the very same message told again is not."""
    assert key("patient/v1") == key("patient/v1")
    assert key("patient/v1") != key("patient/v1", facts=resent())
    assert key("patient/v1") != key("patient/v1", sex="female")


def test_the_assigning_authority_is_part_of_a_patient() -> None:
    elsewhere = [{"value": "100200", "system": "CLINIC"}]
    when = "2026-01-01"
    assert key("patient/v1", updated_at=when) != key("patient/v1", updated_at=when, identifiers=elsewhere)


def test_two_merges_into_one_record_are_two_facts_whatever_their_order_within() -> None:
    def merge(*old: str) -> str:
        merged = [{"value": value} for value in old]
        return key("patient/v1", payload={"id": "1", "merged": merged, "updated_at": "2026-01-01"}, action="merge")

    assert merge("2") != merge("3")
    assert merge("2", "3") == merge("3", "2")


def test_an_encounter_is_told_by_visit_event_and_time() -> None:
    discharge = FACTS._replace(heading=FACTS.heading._replace(kind="ADT^A03"))
    at = "2026-01-31T10:00:00Z"
    assert key("encounter/v1", occurred_at=at) == key("encounter/v1", occurred_at=at, facts=resent())
    assert key("encounter/v1", occurred_at=at) != key("encounter/v1", occurred_at=at, facts=discharge)
    assert key("encounter/v1") != key("encounter/v1", facts=resent())
    made = sealed("encounter/v1", occurred_at=at)
    assert (made["ordering_key"], made["effective_at"]) == ("visit:V-88", "2026-01-31T10:00:00+00:00")


def test_a_journal_is_told_by_its_source_documents() -> None:
    assert key("journal/v1", id="4711") == key("journal/v1", id="4711", facts=resent())
    assert key("journal/v1", id="4711") != key("journal/v1", id="4712")
    assert key("journal/v1", id="4711") != key("journal/v1", id="4711", company="200")
    assert key("journal/v1", id="4711") != key("journal/v1", id="4711", currency="EUR")
    assert key("journal/v1") != key("journal/v1", facts=resent())


def test_journals_are_ordered_by_company_and_period() -> None:
    made = sealed("journal/v1", company="100", accounting_date="2026-02-28")
    assert (made["ordering_key"], made["effective_at"]) == ("ledger:GENERAL|100|2026-02", "2026-02-28")
    assert sealed("journal/v1", period="P13")["ordering_key"] == "ledger:GENERAL||P13"


def test_without_a_time_of_its_own_a_fact_counts_from_its_arrival() -> None:
    assert sealed("encounter/v1")["effective_at"] == "2026-01-01T00:00:00.123Z"


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_content_breaks_the_key(organization: str, control: str) -> None:
    facts = FACTS._replace(
        organization=organization.encode("utf-8", "ignore").decode(),
        heading=FACTS.heading._replace(control_id=control.encode("utf-8", "ignore").decode()),
    )
    assert len(key("patient/v1", facts=facts)) == 64


def test_plain_refuses_what_no_schema_gives() -> None:
    with pytest.raises(TypeError, match="holds no object"):
        plain({"x": object()})


@pytest.mark.parametrize("entity", sorted(FULL))
def test_what_is_delivered_is_the_envelope_byte_for_byte(entity: str) -> None:
    for payload in (FULL[entity], SMALLEST[entity]):
        checked = ENTITIES[entity].validate(payload)
        made = ENTITIES[entity].envelope(checked, "", FACTS)
        assert ENTITIES[entity].delivered(checked, "", FACTS) == (orjson.dumps(made), made["action"], made["idempotency_key"])


@given(st.datetimes(timezones=st.timezones()), st.dates(), st.decimals(allow_nan=False, allow_infinity=False, places=3))
def test_dates_and_numbers_are_written_alike_in_both(moment: datetime, day: date, number: Decimal) -> None:
    payload = {"at": moment, "day": day, "more": [{"n": number, "plain": moment.replace(tzinfo=None)}]}
    assert orjson.dumps(payload, _as_json, orjson.OPT_PASSTHROUGH_DATETIME) == orjson.dumps(plain(payload))
    with pytest.raises(TypeError, match="holds no object"):
        _as_json(object())


@given(st.integers(0, 4_000_000_000_000_000))
def test_instants_are_cut_to_milliseconds(microseconds: int) -> None:
    exact = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)
    assert sealed("charge/v1", facts=Facts(received_at=microseconds))["provenance"]["received_at"] == (
        exact.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
