"""The repository is a working site: its channels, mappings, samples and documentation do what they say."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from engine import registry
from engine.canonical import ENTITIES
from engine.config import read_site
from engine.contracts import Channel, Facts, Product, Site
from engine.errors import ContentError, UnknownCode
from engine.mapping import Library
from engine.mapping.cases import Case
from engine.model import Message
from engine.pipeline.translate import translate
from engine.strictyaml import Map, load_file
from engine.testing import mappings as runner

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "samples" / "hl7v2"
ENVIRON = {"BILLING_TOKEN": "a token"}
FACTS = Facts(
    message_id="0ABCDEFGHJ",
    received_at=1_772_582_400_000_000,  # 2026-03-04T00:00:00Z
    channel="charges",
    route="billing",
    organization="General Hospital",
    environment="test",
    timezone="America/New_York",
    format="hl7v2",
)


@cache
def library() -> Library:
    return Library.load(ROOT, registry.formats(), registry.entities())


@cache
def site() -> Site:
    reading = read_site(ROOT, ENVIRON)
    assert reading.site is not None, "\n".join(map(str, reading.problems))
    return reading.site


def channel(name: str) -> Channel:
    return next(channel for channel in site().channels if channel.name == name)


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.hl7").read_bytes()


def mapped(content: bytes, *names: str) -> list[Product]:
    hl7 = library().formats["hl7v2"]
    return library().chain(names, "hl7v2").apply(hl7.parse(content), FACTS._replace(heading=hl7.heading(content)))


def payloads(content: bytes, *names: str) -> list[dict[str, Any]]:
    return [json.loads(product.content)["payload"] for product in mapped(content, *names)]


def translated(name: str, content: bytes) -> Any:
    here = channel(name)
    message = Message(4096, name, content, here.format.heading(content), "peer:1", FACTS.received_at)
    return translate(here, message, FACTS._replace(channel=name), "version")


# ── the files ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_file_is_without_fault_or_warning() -> None:
    assert [str(problem) for problem in read_site(ROOT, ENVIRON).problems] == []


def test_every_channel_tells_people_what_it_is() -> None:
    for here in site().channels:
        assert here.about
        assert here.owner
        assert here.index
        assert here.order_by
        assert here.skip
        assert here.deliver_within


def test_addresses_can_be_set_from_outside_and_no_secret_stands_in_a_file() -> None:
    text = (ROOT / "conf" / "destinations.yaml").read_text("utf-8")
    addresses = re.findall(r"(?:url|connect|path): (\S+)", text)
    assert addresses
    assert all(re.match(r'"?\$\{[A-Z_]+:-', address) for address in addresses)
    assert "bearer: secret://env/BILLING_TOKEN" in text


@pytest.mark.parametrize("name", library().names)
def test_every_mapping_has_tests_and_they_pass(name: str) -> None:
    results = runner.run(library(), ROOT, [name])
    assert len(results) >= 3
    assert [
        f"{result.test}: {result.error} {'; '.join(map(str, result.differences))}" for result in results if not result.passed
    ] == []


def channel_cases(name: str) -> list[runner.ChannelCase]:
    cases = []
    lines: Any = load_file(ROOT / "channels" / f"{name}.yaml", f"channels/{name}.yaml")
    for entry in lines["tests"]:
        expect = entry.get("expect")
        case = Case(str(entry["given"]), entry["given"], ROOT / entry["given"], None, entry.get("parks"), None, entry)
        routes = expect if isinstance(expect, Map) else None
        cases.append(runner.ChannelCase(case, routes, entry.get("filtered"), entry.get("rejected")))
    return cases


@pytest.mark.parametrize("name", ["adt", "charges", "results"])
def test_every_channel_has_tests_and_they_pass(name: str) -> None:
    results = runner.run_channel(channel(name), channel_cases(name), FACTS)
    assert len(results) >= 3
    assert [
        f"{result.test}: {result.error} {'; '.join(map(str, result.differences))}" for result in results if not result.passed
    ] == []


def test_a_channel_test_can_fail() -> None:
    case = channel_cases("charges")[0]
    other = Map({"billing": Map({"transaction_id": "no such"})})
    (result,) = runner.run_channel(channel("charges"), [runner.ChannelCase(case.case, other)], FACTS)
    assert not result.passed


def test_every_sample_is_used_by_a_test() -> None:
    """But for the few that unit tests or the pages use."""
    files = [*ROOT.glob("mappings/*.yaml"), *ROOT.glob("channels/*.yaml"), Path(__file__)]
    said = "\n".join(path.read_text("utf-8") for path in files)
    assert [path.stem for path in SAMPLES.glob("*.hl7") if path.stem not in said] == []


# ── what is delivered ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("message", "file"),
    [
        ("dft_p03_two_charges", "charges"),
        ("dft_p03_credit", "charges_credit"),
        ("dft_p03_two_currencies", "charges_two_currencies"),
        ("dft_p03_unknown_department", "charges_unknown_department"),
    ],
)
def test_the_canonical_samples_are_what_the_mapping_delivers(message: str, file: str) -> None:
    delivered = [json.loads(product.content) for product in mapped(sample(message), "dft-to-charge")]
    assert delivered == json.loads((ROOT / "samples" / "canonical" / f"{file}.json").read_text("utf-8"))


def test_a_charge_has_what_billing_needs() -> None:
    (first, _) = payloads(sample("dft_p03_two_charges"), "dft-to-charge")
    assert len(first) >= 20
    assert first.keys() <= ENTITIES["charge/v1"].json_schema()["properties"].keys()


def test_the_credit_goes_out_as_a_reversal() -> None:
    (product,) = mapped(sample("dft_p03_credit"), "dft-to-charge")
    assert product.action == "reverse"
    assert json.loads(product.content)["action"] == "reverse"


@pytest.mark.parametrize("name", ["dft_p03_two_charges", "dft_p03_no_transaction_id", "dft_p11_surgery"])
def test_a_charge_sent_again_under_a_new_control_id_keeps_its_idempotency_key(name: str) -> None:
    content = sample(name)
    again = re.sub(rb"(?<=\|)(EHR|R4|OR)\d+(?=\|P\|)", b"ANOTHER1", content, count=1)
    assert again != content
    keys = [product.idempotency_key for product in mapped(content, "dft-to-charge")]
    assert [product.idempotency_key for product in mapped(again, "dft-to-charge")] == keys
    assert len(set(keys)) == len(keys)


def test_old_and_new_versions_of_the_standard_give_the_same_fields() -> None:
    content = sample("dft_p03_credit_negative")
    for version in (b"2.3", b"2.5.1", b"2.8"):
        (charge,) = payloads(content.replace(b"|2.3.1", b"|" + version), "dft-to-charge")
        assert (charge["transaction_id"], charge["extended_amount"]["amount"]) == ("T-902", "-85.00")


def test_an_explicit_null_says_delete_and_absence_says_nothing() -> None:
    (patient,) = payloads(sample("adt_a08_nulls"), "adt-to-patient")
    assert patient["marital"] is None
    assert patient["telecom"] is None
    (discharge,) = payloads(sample("adt_a03_discharge"), "adt-to-patient")
    assert "religion" not in discharge


def test_an_older_update_can_be_told_from_a_newer_one() -> None:
    late, newer = sample("adt_a08_late"), sample("adt_a03_discharge")
    times = [payloads(content, "adt-to-encounter")[0]["occurred_at"] for content in (late, newer)]
    assert times == ["2026-03-04T09:00:00-05:00", "2026-03-06T14:15:00-05:00"]
    keys = [mapped(content, "adt-to-encounter")[0].idempotency_key for content in (late, newer)]
    assert keys[0] != keys[1]


def test_two_merges_of_one_message_stand_in_every_lane_they_touch() -> None:
    outcome = translated("adt", sample("adt_a40_two_merges"))
    assert [out.destination for out in outcome.outgoings] == ["mpi", "mpi"]
    assert outcome.outgoings[0].order_keys == ("100301", "100288", "100302", "100303", "100289")
    assert {out.action for out in outcome.outgoings} == {"merge"}


def test_a_message_that_fails_on_one_route_goes_out_on_none() -> None:
    outcome = translated("charges", sample("dft_p03_unknown_department"))
    assert (outcome.state, outcome.park_reason, outcome.outgoings) == ("parked", "unknown_code", ())
    assert "department=SLP-1, revenue_code=0920" in outcome.reason
    assert ("account", "ACC-9001") in outcome.keys  # found all the same


def test_what_the_results_channel_sends_has_our_own_identity() -> None:
    outcome = translated("results", sample("oru_r01_chemistry"))
    lis, warehouse = outcome.outgoings
    assert f"|{lis.identity}|P|".encode() in lis.content
    assert lis.identity != warehouse.identity
    assert b"OBX|4|ST|GLU" not in lis.content


def test_a_journal_that_does_not_balance_parks_under_the_name_of_its_check(tmp_path: Path) -> None:
    for name in ("mappings", "samples"):
        shutil.copytree(ROOT / name, tmp_path / name)
    path = tmp_path / "mappings" / "charge-to-journal.yaml"
    text = path.read_text("utf-8")
    wrong = text.replace(
        "side: ='C' if amount > 0 else 'D'\n        amount: =amount | abs", "side: ='C'\n        amount: =amount + 1"
    )
    assert wrong != text
    path.write_text(wrong, "utf-8")
    broken = Library.load(tmp_path, registry.formats(), registry.entities())
    hl7 = broken.formats["hl7v2"]
    with pytest.raises(ContentError, match=r"charge-to-journal.*(debits are|debits equal credits)"):
        broken.chain(["dft-to-charge", "charge-to-journal"], "hl7v2").apply(hl7.parse(sample("dft_p03_two_charges")), FACTS)


def test_an_unknown_type_of_charge_names_table_and_value() -> None:
    with pytest.raises(UnknownCode) as caught:
        mapped(sample("dft_p03_unknown_type"), "dft-to-charge")
    assert (caught.value.table, caught.value.value) == ("charge-type", "ZZ")


# ── the examples that the design and the pages show ────────────────────────────────────────────────────────────────

SHORT_CHARGE = """\
mapping: dft-to-charge
from: hl7v2
to: charge/v1
for_each: FT1
action: =FT1-6 | code('charge-action')
let:
  sign: =-1 if FT1-6 == 'CR' else 1
set:
  transaction_id: =first(FT1-2, joined('|', MSH-10, FT1-1))
  service_date: =FT1-4 | date
  procedure: =first(FT1-25, PR1-3) | coded
  modifiers: =FT1-26[*]
  quantity: =FT1-10 | decimal | default(1)
  extended_amount:
    amount: =first(FT1-11 | decimal, (FT1-10 | decimal) * (FT1-12 | decimal)) * sign
    currency: =FT1-11.1.2 | default('USD')
  department: =FT1-13.1 | required
  patient:
    mrn: =first(PID-3[.5='MR'].1, PID-3.1) | required
    name: =PID-5 | name
tests:
  - given: samples/hl7v2/dft_p03_two_charges.hl7
    expect: [{transaction_id: "4711"}, {transaction_id: "4712"}]
"""
SHORT_JOURNAL = """\
mapping: charge-to-journal
from: charge/v1[*]
to: journal/v1
for_each: charge
by: =charge.extended_amount.currency
set:
  ledger: GENERAL
  currency: =charge.extended_amount.currency
  lines:
    for_each: charge
    let:
      amount: =charge.extended_amount.amount
      gl: =code('gl', department=charge.department, revenue_code=charge.revenue_code)
    set:
      - {account: "120000", side: "='D' if amount > 0 else 'C'", amount: =amount | abs}
      - {account: =gl.account, cost_centre: =gl.cost_centre, side: "='C' if amount > 0 else 'D'", amount: =amount | abs}
check:
  debits equal credits: =(journal.lines[side='D'].amount | sum) == (journal.lines[side='C'].amount | sum)
"""


def test_the_short_forms_of_the_mappings_work_as_written(tmp_path: Path) -> None:
    for name in ("mappings/codes", "samples"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "mappings" / "dft-to-charge.yaml").write_text(SHORT_CHARGE, "utf-8")
    (tmp_path / "mappings" / "charge-to-journal.yaml").write_text(SHORT_JOURNAL, "utf-8")
    short = Library.load(tmp_path, registry.formats(), registry.entities())
    assert [str(problem) for problem in short.problems] == []
    assert [result.passed for result in runner.run(short, tmp_path)] == [True]
    hl7 = short.formats["hl7v2"]
    for name in ("dft_p03_two_charges", "dft_p03_credit", "dft_p03_pharmacy", "dft_p11_surgery"):
        (journal,) = short.chain(["dft-to-charge", "charge-to-journal"], "hl7v2").apply(hl7.parse(sample(name)), FACTS)
        payload = json.loads(journal.content)["payload"]
        assert payload["total_dr"] == payload["total_cr"]


def snippets() -> Iterator[Any]:
    for path in sorted((ROOT / "docs").rglob("*.md")):
        for number, text in enumerate(re.findall(r"```yaml\n(.*?)```", path.read_text("utf-8"), re.DOTALL), 1):
            yield pytest.param(text, id=f"{path.relative_to(ROOT)}-{number}")


@pytest.mark.parametrize("text", list(snippets()))
def test_the_yaml_in_the_pages_is_read_by_our_reader(text: str, tmp_path: Path) -> None:
    path = tmp_path / "snippet.yaml"
    lines = text.splitlines()
    indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    path.write_text("\n".join(line[indent:] for line in lines) + "\n", "utf-8")
    load_file(path, "snippet.yaml")
