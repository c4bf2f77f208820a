"""Charge messages by the thousand: DFT^P03 of about 1.9 KB, each with its own control id, account, patient and charge.

A message is a pure function of the run's prefix and its number, so that whoever knows both can say what a receiver must
have got. People and places are invented. Building one costs under a microsecond: the text around the few places that
differ is made once for each of a few hundred patients.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

_FAMILIES = ("Abernathy", "Brockhurst", "Castellane", "Dunmore", "Eastlake", "Farnsworth", "Greyfell", "Hollister", "Ingleby")
_GIVEN = ("Ada", "Bram", "Cosima", "Dorian", "Elspeth", "Florian", "Greta", "Hector", "Imogen", "Jasper", "Katinka")
_STREETS = ("12 Harbour Row", "7 Mill Lane", "230 Orchard Avenue", "41 Quarry Hill", "98 Lantern Street")
_TOWNS = (("Westbrook", "ME", "04092"), ("Fairhaven", "VT", "05743"), ("Millport", "AL", "35576"), ("Eastvale", "CA", "92880"))
_PROCEDURES = (
    ("71046", "Radiologic examination chest two views", "RAD", "142.50"),
    ("85025", "Complete blood count automated with differential", "LAB", "38.25"),
    ("80053", "Comprehensive metabolic panel", "LAB", "61.00"),
    ("93005", "Electrocardiogram tracing only", "CAR", "95.75"),
    ("99284", "Emergency department visit high severity", "EMR", "612.00"),
    ("97110", "Therapeutic exercises each fifteen minutes", "PHY", "54.10"),
    ("J1885", "Injection ketorolac tromethamine per 15 mg", "PHA", "12.30"),
)
PATIENTS = 1980  # so many different ones: families, given names, streets and towns turn with different periods

_PERSON = (
    "|P|2.5.1|||||USA|UNICODE UTF-8\rEVN|P03|20260301120100-0500\r"
    "PID|1||{mrn}^^^WLGH^MR~{ssn}^^^SSA^SS||{family}^{given}^Q^^^^L||{born}|{sex}||2106-3^White^HL70005|"
    "{street}^^{town}^{state}^{zip}^USA^H||^PRN^PH^^1^207^555{phone}|^WPN^PH^^1^207^5550100|en^English^ISO639|"
    "M^Married^HL70002|CHR^Christian^HL70006|"
)
_VISIT = (
    "||||N^Not Hispanic^HL70189\rPD1||||8806^Okafor^Ngozi^^^Dr^MD^^NPI^L^^^NPI\r"
    "PV1|1|O|{department}^ROOM4^BED2^WLGH^^^^MAIN|R|PRE{order}||1740283779^Lindqvist^Maren^^^Dr^MD^^NPI^L^^^NPI|"
    "1528061247^Tabor^Silas^^^Dr^MD^^NPI^L^^^NPI|1912950023^Oyelaran^Femi^^^Dr^MD^^NPI^L^^^NPI|MED||||1|||"
    "1740283779^Lindqvist^Maren^^^Dr^MD^^NPI^L^^^NPI|OP|V{visit}^^^WLGH^VN|COM||||||||||||||||01|||MAIN||A|||"
    "20260301081500-0500|20260301113000-0500\rPV2||SEM^Semi-private^HL70023|R07.9^Chest pain unspecified^I10\r"
)
_CHARGE = (
    "||20260301093000-0500|20260301120000-0500|CG|CDM{code}^{name}^99CDM|||{quantity}|{amount}&USD|{price}&USD|"
    "{department}^{department} department^99WL|COM1^Evergreen Mutual^99INS|0.00&USD|{department}^ROOM4^BED2^WLGH^^^^MAIN|"
    "F|OP|R07.9^Chest pain^I10~I10^Essential hypertension^I10|1740283779^Lindqvist^Maren^^^Dr^MD^^NPI^L^^^NPI|"
    "1528061247^Tabor^Silas^^^Dr^MD^^NPI^L^^^NPI|41.20&USD|ORD{order}^EHR|5519^Haddad^Rana^^^^RN|{code}^{name}^C4|"
    "25^Significant separate service^CPTM\r"
)
_REST = (
    "DG1|1||R07.9^Chest pain unspecified^I10||20260301090000-0500|W|||||||||1\r"
    "GT1|1|G{order}^^^WLGH^AN|{family}^{given}^Q||{street}^^{town}^{state}^{zip}^USA^H|^PRN^PH^^1^207^555{phone}||{born}|{sex}||"
    "SEL\r"
    "IN1|1|EVG01^Evergreen gold plan^99PLAN|EVG^^^NAIC|Evergreen Mutual Assurance|PO Box 881^^Concord^NH^03301^USA|||GRP7741|"
    "Harbour Works|||20260101|20261231||COM|{family}^{given}^Q|SEL|{born}|{street}^^{town}^{state}^{zip}^USA^H|"
    "||||||||||||||||POL{order}\r"
)


class Charge(NamedTuple):
    """One message, and what a receiver of the charge must find in it."""

    number: int
    control_id: str  # MSH-10, and FT1-2: the transaction's id
    account: str  # PID-18.1
    mrn: str  # PID-3.1
    procedure: str  # FT1-25.1
    quantity: str  # FT1-10
    amount: str  # FT1-11.1
    content: bytes

    def facts(self) -> tuple[str, ...]:
        """What must arrive unchanged, whatever shape it arrives in."""
        return (self.control_id, self.account, self.mrn, self.procedure, self.quantity, self.amount)


class _Patient(NamedTuple):
    mrn: str
    before: bytes  # from MSH-11 to the account number
    after: bytes  # from PID-19 to PV2
    rest: bytes  # behind the FT1


class _Service(NamedTuple):
    procedure: str
    quantity: str
    amount: str
    text: bytes  # from FT1-3


def _patient(n: int) -> _Patient:
    town, state, post = _TOWNS[n % len(_TOWNS)]
    mrn = f"W{100000 + n * 37}"
    words = {
        "mrn": mrn, "ssn": f"{900000000 + n}", "family": _FAMILIES[n % len(_FAMILIES)], "given": _GIVEN[n % len(_GIVEN)],
        "born": f"{date(1931, 4, 2) + timedelta(days=n * 17):%Y%m%d}", "sex": "FM"[n % 2], "street": _STREETS[n % len(_STREETS)],
        "town": town, "state": state, "zip": post, "phone": f"{1000 + n:04d}", "visit": f"{700000 + n}", "order": f"{40000 + n}",
        "department": _PROCEDURES[n % len(_PROCEDURES)][2],
    }  # fmt: skip
    before, after, rest = (text.format_map(words).encode() for text in (_PERSON, _VISIT, _REST))
    return _Patient(mrn, before, after, rest)


def _service(n: int) -> _Service:
    code, name, department, price = _PROCEDURES[n % len(_PROCEDURES)]
    quantity = n % 5 + 1
    amount = f"{quantity * Decimal(price):.2f}"
    words = {
        "department": department, "code": code, "name": name, "quantity": quantity, "amount": amount, "price": price,
        "order": f"{50000 + n}",
    }  # fmt: skip
    return _Service(code, str(quantity), amount, _CHARGE.format_map(words).encode())


class Deck:
    """Messages by number. Message n is of account n modulo `accounts`, and the n // accounts-th of that account."""

    def __init__(self, prefix: str, accounts: int = 1000) -> None:
        """`prefix` makes the control ids of a run its own; up to 9 letters, as MSH-10 has 20 in HL7 v2.5.1."""
        self.prefix = prefix
        self.accounts = [f"A{prefix}{100000 + n}" for n in range(accounts)]
        self._patients = [_patient(n % PATIENTS) for n in range(accounts)]
        self._services = [_service(n) for n in range(len(_PROCEDURES) * 5)]
        self._persons = [  # from MSH-11 to FT1-2
            b"".join((patient.before, account.encode(), b"^^^WLGH^AN", patient.after, b"FT1|1|"))
            for patient, account in zip(self._patients, self.accounts, strict=True)
        ]
        self._head = b"MSH|^~\\&|EHR|WLGH|BILLING|WLGH|20260301120100-0500||DFT^P03^DFT_P03|"
        self._prefix = prefix.encode()

    def content(self, number: int) -> tuple[bytes, bytes]:
        """Control id and content of message `number`."""
        control = self._prefix + b"%08d" % number
        turn = number % len(self._persons)
        service = self._services[number % len(self._services)].text
        return control, b"".join((self._head, control, self._persons[turn], control, service, self._patients[turn].rest))

    def charge(self, number: int) -> Charge:
        control, content = self.content(number)
        turn = number % len(self.accounts)
        procedure, quantity, amount, _ = self._services[number % len(self._services)]
        return Charge(
            number, control.decode(), self.accounts[turn], self._patients[turn].mrn, procedure, quantity, amount, content
        )

    def turns(self, part: int, parts: int) -> Iterator[int]:
        """The numbers that sender `part` of `parts` sends, without end: an account's messages all come from one sender, in
        their order, as long as there are at least as many accounts as senders."""
        accounts = len(self.accounts)
        if accounts < parts:
            yield from itertools.count(part, parts)
        own = range(part, accounts, parts)
        for round_start in itertools.count(0, accounts):
            for turn in own:
                yield round_start + turn

    def number(self, control_id: str) -> int:
        """The number of the message with this control id. Raises ValueError where it is not of this deck."""
        if not control_id.startswith(self.prefix):
            raise ValueError(f"{control_id!r} is not of the run {self.prefix!r}")
        return int(control_id[len(self.prefix) :])

    def account(self, control_id: str) -> str:
        return self.accounts[self.number(control_id) % len(self.accounts)]

    def sequence(self, control_id: str) -> int:
        """Its place among the messages of its account."""
        return self.number(control_id) // len(self.accounts)


def facts_of(content: bytes) -> list[str]:
    """What a receiver reads from a charge as it arrived: the same as `Charge.facts`, or less where something is missing."""
    segments = {segment[:3]: segment.split(b"|") for segment in reversed(content.split(b"\r"))}

    def first(segment: bytes, field: int) -> str:
        fields = segments.get(segment, [])
        return fields[field].partition(b"^")[0].partition(b"&")[0].decode("latin-1") if field < len(fields) else ""

    return [first(segment, field) for segment, field in _FACTS]


_FACTS = ((b"FT1", 2), (b"PID", 18), (b"PID", 3), (b"FT1", 25), (b"FT1", 10), (b"FT1", 11))
