"""Decimals and money: exact from text to text, never through a float.

Amounts take the scale of their currency (ISO 4217): `10` USD is `10.00`, `10` JPY stays `10`. Digits that were sent are
never rounded away: `10.005` USD stays `10.005`.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal
from typing import Final, LiteralString

from pydantic_core import PydanticCustomError

MAX_DIGITS: Final = 34  # as IEEE 754 decimal128: more than any ledger holds, and a bound on what hostile content costs

_WIDE: Final = Context(prec=2 * MAX_DIGITS, traps=[])
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]{1,20}(?:\.[0-9]{1,14})?|\.[0-9]{1,14})")
_ONE: Final = Decimal(1)

_OTHER_SCALES: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_CENTS: Final = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC CUP "
    "CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES "
    "KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK "
    "NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB "
    "TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG"
)
UNITS: Final = {code: Decimal(1).scaleb(-2) for code in _CENTS.split()} | {
    code: Decimal(1).scaleb(-scale) for scale, codes in _OTHER_SCALES.items() for code in codes.split()
}
"""The smallest unit of each currency in use: `USD` → `0.01`. Fund, bond and metal codes are not money we post."""


def fault(text: LiteralString, **context: str | int) -> PydanticCustomError:
    """What a validator raises: `text` is what people read, with `{names}` filled from `context`."""
    return PydanticCustomError("content", text, context)


def decimal(value: object) -> Decimal:
    """A finite decimal from a Decimal, an int or plain decimal text. A float has lost its digits already: refused."""
    if type(value) is Decimal:
        text = str(value)
        if len(text) <= MAX_DIGITS and value and "E" not in text and "N" not in text and "I" not in text:
            return value  # the common case: digits and at most a point
        return _plain(value)
    if isinstance(value, str):
        if not _NUMBER.fullmatch(text := value.strip()):
            raise fault("expected a decimal number such as 12.50")
        number = Decimal(text)
        return number if number else abs(number)
    if type(value) is int:
        return _plain(Decimal(value))
    if isinstance(value, float):
        raise fault("expected a decimal number; a float has lost digits already")
    raise fault("expected a decimal number")


def _plain(number: Decimal) -> Decimal:
    """Without exponent or minus zero, so that it prints as digits; refused beyond `MAX_DIGITS`."""
    if not number.is_finite():
        raise fault("expected a finite number")
    _, figures, exponent = number.as_tuple()
    if not number:
        return abs(number) if -MAX_DIGITS <= int(exponent) <= 0 else Decimal(0)
    if len(figures) > MAX_DIGITS or not -MAX_DIGITS <= int(exponent) <= MAX_DIGITS - len(figures):
        raise fault("expected a number of at most 34 digits")
    return number.quantize(_ONE, context=_WIDE) if int(exponent) > 0 else number


def at_scale(amount: Decimal, unit: Decimal) -> Decimal:
    """`amount` with at least the digits of `unit`; more only where they say something."""
    if amount and amount.same_quantum(unit):
        return amount  # the common case
    scaled = amount.quantize(unit, context=_WIDE)
    if scaled == amount:
        return scaled if scaled else abs(scaled)
    return amount.normalize(_WIDE)


def unit_of(currency: str) -> Decimal:
    """The smallest unit of a currency; PydanticCustomError where ISO 4217 does not know it."""
    try:
        return UNITS[currency]
    except KeyError:
        raise fault("expected an ISO 4217 currency code in use, such as USD or EUR") from None


def digits(number: Decimal) -> str:
    """As JSON carries it: plain digits, never an exponent."""
    text = str(number)
    return text if "E" not in text else f"{number:f}"
