"""How people write quantities: `30s`, `16MiB`, `20/s`, `lab.example.org:2575`; and the types that options declare for them.

A number without its unit is refused: the reader of a channel file must never have to guess. Durations become seconds,
sizes bytes, rates events a second. All errors say what was expected and give the nearest right form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, SecretStr, WithJsonSchema
from pydantic_core import CoreSchema, core_schema

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "B": 1, "KB": 10**3, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
}  # fmt: skip
_PER = {"s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_DURATION = re.compile(_NUMBER + r"\s*(ms|s|m|h|d)")
_SIZE = re.compile(_NUMBER + r"\s*([KMG]i?B|kB|B)")
_RATE = re.compile(_NUMBER + r"\s*/\s*([smh])")
_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?")
_BARE = re.compile(_NUMBER)


def parse_duration(text: str) -> float:
    """`250ms`, `30s`, `5m`, `72h`, `7d` → seconds; `0` is nothing or never, as the option says. Raises ValueError."""
    if found := _DURATION.fullmatch(text.strip()):
        return float(found[1]) * _SECONDS[found[2]]
    return _unitless(text, "duration", "30s, 250ms, 5m, 2h or 7d", "s")


def parse_size(text: str) -> int:
    """`64KiB`, `16MiB`, `1GB`, `512B` → bytes; `0` as the option says. Raises ValueError."""
    if found := _SIZE.fullmatch(text.strip()):
        return int(float(found[1]) * _BYTES[found[2]])
    return int(_unitless(text, "size", "64KiB, 16MiB or 512B", "MiB"))


def parse_rate(text: str) -> float:
    """`20/s`, `90/m`, `500/h` → a second; `0` is no limit. Raises ValueError."""
    if found := _RATE.fullmatch(text.strip()):
        return float(found[1]) / _PER[found[2]]
    return _unitless(text, "rate", "20/s, 90/m or 500/h", "/s")


def _unitless(text: str, what: str, examples: str, unit: str) -> float:
    stripped = text.strip()
    if stripped == "0":
        return 0.0
    if _BARE.fullmatch(stripped):
        raise ValueError(f"{text!r} has no unit: write {stripped}{unit} (a {what} is written like {examples})")
    raise ValueError(f"{text!r} is no {what}: write it like {examples}")


def format_duration(seconds: float) -> str:
    """The shortest exact way to write it: 300.0 → `5m`, 1.5 → `1500ms`."""
    if not seconds:
        return "0"
    for unit in ("d", "h", "m", "s"):
        if seconds >= _SECONDS[unit] and seconds % _SECONDS[unit] == 0:
            return f"{int(seconds / _SECONDS[unit])}{unit}"
    return f"{seconds * 1000:g}ms"


def format_size(size: int) -> str:
    """The shortest exact way to write it: 16777216 → `16MiB`."""
    if not size:
        return "0"
    for unit in ("GiB", "MiB", "KiB"):
        if size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return f"{size}B"


def format_rate(per_second: float) -> str:
    """20.0 → `20/s`, 1.5 → `90/m`."""
    for unit, seconds in _PER.items():
        events = round(per_second * seconds, 6)
        if events % 1 == 0:
            return f"{int(events)}/{unit}" if events else "0"
    return f"{per_second:.6f}".rstrip("0") + "/s"


class Address(NamedTuple):
    """Where to listen or to connect: `host:port`, an IPv6 host in brackets. Port 0, for listening, is any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, Address) else parse_address(_text(value)),
            serialization=core_schema.to_string_ser_schema(),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "x-quantity": "address", "examples": ["127.0.0.1:6661", "[::1]:6661"]}


def parse_address(text: str) -> Address:
    """`127.0.0.1:6661`, `lab.example.org:2575`, `[::1]:2575`. Raises ValueError."""
    stripped = text.strip()
    if "://" in stripped:
        raise ValueError(f"{text!r}: write only host:port, without {stripped.split('://')[0]}://")
    host, colon, port = stripped.rpartition(":")
    if not colon or not host or not port:
        raise ValueError(f"{text!r} is no address: {_completed(host or stripped, port)}")
    if host.startswith("[") and host.endswith("]"):
        host = _ipv6(host[1:-1], text)
    elif ":" in host:
        raise ValueError(f"{text!r}: an IPv6 address stands in brackets: [{host}]:{port}")
    elif not _HOST.fullmatch(host):
        raise ValueError(f"{text!r}: {host!r} is neither a host name nor an address")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError(f"{text!r}: the port after the colon must be a number from 0 to 65535, not {port!r}")
    return Address(host, int(port))


def _completed(host: str, port: str) -> str:
    number = port if port.isdigit() else host if host.isdigit() else ""
    if number:
        return f"write host:port, 127.0.0.1:{number} for this machine alone or 0.0.0.0:{number} for every interface"
    return f"the port is missing; write it like {host or '127.0.0.1'}:2575"


def _ipv6(host: str, text: str) -> str:
    from ipaddress import IPv6Address

    try:
        IPv6Address(host.partition("%")[0])
    except ValueError:
        raise ValueError(f"{text!r}: {host!r} is no IPv6 address") from None
    return host


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected text, not {type(value).__name__}")
    return value


def _reads(parse: Callable[[str], Any]) -> BeforeValidator:
    """Text is parsed; a number (from Python code, or a default) is already in the base unit."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


def _a_port(address: Address) -> Address:
    if address.port == 0:
        raise ValueError(f"'{address}': port 0 is for listening; name the port of the other side")
    return address


Duration = Annotated[
    float, Field(ge=0), _reads(parse_duration),
    WithJsonSchema({"type": "string", "x-quantity": "duration", "pattern": rf"^({_DURATION.pattern}|0)$"}),
]  # fmt: skip
"""Seconds, written `30s`."""

Size = Annotated[
    int, Field(ge=0), _reads(parse_size),
    WithJsonSchema({"type": "string", "x-quantity": "size", "pattern": rf"^({_SIZE.pattern}|0)$"}),
]  # fmt: skip
"""Bytes, written `16MiB`."""

Rate = Annotated[
    float, Field(ge=0), _reads(parse_rate),
    WithJsonSchema({"type": "string", "x-quantity": "rate", "pattern": rf"^({_RATE.pattern}|0)$"}),
]  # fmt: skip
"""Events a second, written `20/s`."""

PeerAddress = Annotated[Address, AfterValidator(_a_port)]
"""An address to connect to: its port is known."""

Secret = Annotated[SecretStr, Field(json_schema_extra={"secret": True})]
"""Text that is never shown: `repr`, JSON and logs have asterisks; `get_secret_value()` where it is used. In files only a
reference is written (`secret://env/NAME`, `secret://file/path`), which configuration resolves before validation."""

_FORMATS: Mapping[str, Callable[[Any], str]] = {
    "duration": format_duration, "size": format_size, "rate": format_rate, "address": str,
}  # fmt: skip


def humane(schema: dict[str, Any]) -> None:
    """Rewrite a JSON Schema's defaults the way people write them (`10s`, not 10.0); `Options` applies it to itself."""
    for field in schema.get("properties", {}).values():
        kind = field.get("x-quantity")
        if kind and isinstance(field.get("default"), (int, float)):
            field["default"] = _FORMATS[kind](field["default"])
