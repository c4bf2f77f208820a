"""Text → date, time, number; dates as HL7 v2 (DT, TS, DTM: v2.5.1 §2.A.21, §2.A.22, §2.A.77), X12 D8 and ISO 8601 write them.

What was sent less exactly stays less exact: a year is `2005`, a month `2005-02`, and a date never becomes midnight.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from engine.mapping.faults import Refused
from engine.mapping.operators import in_range
from engine.values import Value

_HL7 = re.compile(r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(\.\d{1,6})?)?)?)?)?)?([+-]\d{4})?", re.ASCII)
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_ISO_PART = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)", re.ASCII)
_DIGITS: Final = 30
_PATTERN = re.compile(r"(?:[^%]|%[YmdHMSyjbBpIf%])*")


@lru_cache(maxsize=64)
def zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)


@lru_cache(maxsize=8192)
def read_date(text: str) -> date | str:
    """A date; or, where no day was sent, `2005` or `2005-02` as text. Raises Refused."""
    found = _HL7.fullmatch(stripped := text.strip())
    if found is None:
        return _iso_date(stripped, text)
    year, month, day = found[1], found[2], found[3]
    if month is None:
        return _year(year, text)
    if day is None:
        return f"{_year(year, text)}-{_month(month, text)}"
    return _calendar(int(year), int(month), int(day), text)


def _iso_date(stripped: str, text: str) -> date | str:
    if _ISO_PART.fullmatch(stripped):
        return stripped
    if _ISO_DATE.match(stripped):
        if len(stripped) > 10:
            return _iso_time(stripped, text).date()
        return _calendar(int(stripped[:4]), int(stripped[5:7]), int(stripped[8:]), text)
    raise Refused("is not a date (expected YYYYMMDD or YYYY-MM-DD)", text)


def _year(year: str, text: str) -> str:
    if year == "0000":
        raise Refused("is not a date (year 0000)", text)
    return year


def _month(month: str, text: str) -> str:
    if not "01" <= month <= "12":
        raise Refused(f"is not a date (month {month})", text)
    return month


def _calendar(year: int, month: int, day: int, text: str) -> date:
    _year(f"{year:04}", text)
    _month(f"{month:02}", text)
    try:
        return date(year, month, day)
    except ValueError:
        raise Refused(f"is not a date (day {day:02} of month {month:02})", text) from None


@lru_cache(maxsize=8192)
def read_time(text: str, zone_name: str) -> datetime | date | str:
    """An instant with its offset, the site's where none was sent; a date (or less) where no time was sent."""
    found = _HL7.fullmatch(stripped := text.strip())
    if found is None:
        if len(stripped) <= 10:
            return read_date(text)
        moment = _iso_time(stripped, text)
        return moment if moment.tzinfo else moment.replace(tzinfo=zone(zone_name))
    if found[4] is None:
        return read_date(text)
    day = _calendar(int(found[1]), int(found[2]), int(found[3]), text)
    hour, minute, second = int(found[4]), int(found[5] or 0), int(found[6] or 0)
    micro = int((found[7] or ".0")[1:].ljust(6, "0"))
    if hour > 23 or minute > 59 or second > 59:
        raise Refused(f"is not a time ({found[4]}:{found[5] or '00'}:{found[6] or '00'})", text)
    offset = _offset(found[8], text) if found[8] else zone(zone_name)
    return datetime(day.year, day.month, day.day, hour, minute, second, micro, offset)


def _offset(text: str, whole: str) -> tzinfo:
    hours, minutes = int(text[1:3]), int(text[3:])
    if hours > 14 or minutes > 59:
        raise Refused(f"is not a time (offset {text})", whole)
    delta = timedelta(hours=hours, minutes=minutes)
    return timezone(-delta if text[0] == "-" else delta)


def _iso_time(stripped: str, text: str) -> datetime:
    try:
        return datetime.fromisoformat(stripped)
    except ValueError:
        raise Refused("is not a time (expected YYYYMMDDHHMM or YYYY-MM-DDTHH:MM:SS)", text) from None


def checked_pattern(pattern: str) -> str:
    """A pattern of day and time letters. Raises ValueError for anything else: the C library's extensions allow widths."""
    if len(pattern) > 64 or not _PATTERN.fullmatch(pattern):
        raise ValueError("a pattern has %d %m %Y %y %j %b %B %H %I %M %S %f %p and what stands between them, e.g. '%d/%m/%Y'.")
    return pattern


def read_pattern(text: str, pattern: str) -> datetime:
    try:
        return datetime.strptime(text.strip(), pattern)
    except ValueError:
        raise Refused(f"is not written like {pattern}", text) from None


@lru_cache(maxsize=8192)
def read_decimal(text: str) -> Decimal:
    """Digits with an optional sign and point. Raises Refused: an exponent or a thousands separator is a person's decision."""
    stripped = text.strip()
    if not _NUMBER.fullmatch(stripped):
        hint = (
            "; take the separators out first: | replace(',', '') | decimal"
            if re.fullmatch(r"[+-]?[\d,]+(\.\d+)?", stripped)
            else ""
        )
        raise Refused(f"is not a number{hint}", text)
    if len(stripped) > _DIGITS:
        raise Refused(f"has more than {_DIGITS} digits", text)
    return Decimal(stripped)


def to_decimal(value: Value) -> Decimal | int:
    if isinstance(value, str):
        return read_decimal(value)
    if isinstance(value, (Decimal, int)) and not isinstance(value, bool):
        return in_range(value)  # type: ignore[no-any-return]
    raise Refused("is not a number")


def to_int(value: Value) -> int:
    number = to_decimal(value)
    if number != int(number):
        raise Refused("is not a whole number", value)
    return int(number)
