"""How people write quantities."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.quantities import (
    Address,
    format_duration,
    format_rate,
    format_size,
    parse_address,
    parse_duration,
    parse_rate,
    parse_size,
)

GOOD: list[tuple[Callable[[str], object], str, object]] = [
    (parse_duration, "250ms", 0.25), (parse_duration, "30s", 30.0), (parse_duration, "5m", 300.0), (parse_duration, "72h", 259200.0),
    (parse_duration, "7d", 604800.0), (parse_duration, "1.5 s", 1.5), (parse_duration, "0", 0.0), (parse_duration, " 30s ", 30.0),
    (parse_size, "512B", 512), (parse_size, "64KiB", 65536), (parse_size, "16 MiB", 2**24), (parse_size, "1.5GB", 1_500_000_000),
    (parse_size, "1kB", 1000), (parse_size, "0", 0),
    (parse_rate, "20/s", 20.0), (parse_rate, "90/m", 1.5), (parse_rate, "7200/h", 2.0), (parse_rate, "0", 0.0),
    (parse_address, "127.0.0.1:6661", Address("127.0.0.1", 6661)), (parse_address, "lab.example.org:0", Address("lab.example.org", 0)),
    (parse_address, "[::1]:65535", Address("::1", 65535)), (parse_address, "my_host-1:22", Address("my_host-1", 22)),
]  # fmt: skip


@pytest.mark.parametrize(("parse", "text", "value"), GOOD)
def test_good(parse: Callable[[str], object], text: str, value: object) -> None:
    assert parse(text) == value


BAD: list[tuple[Callable[[str], object], str, str]] = [
    (parse_duration, "30", "'30' has no unit: write 30s"), (parse_duration, "1m30s", "write it like 30s"), (parse_duration, "", "no duration"),
    (parse_duration, "-5s", "no duration"), (parse_duration, "٣s", "no duration"), (parse_duration, "1e3s", "no duration"),
    (parse_size, "16", "write 16MiB"), (parse_size, "16M", "no size"), (parse_size, "16 mib", "no size"),
    (parse_rate, "20", "write 20/s"), (parse_rate, "20/d", "no rate"),
    (parse_address, "6661", "0.0.0.0:6661"), (parse_address, ":6661", "127.0.0.1:6661"), (parse_address, "lab", "lab:2575"),
    (parse_address, "lab:", "the port is missing; write it like lab:2575"), (parse_address, "lab:x", "must be a number from 0 to 65535"),
    (parse_address, "lab:65536", "must be a number from 0 to 65535"), (parse_address, "fe80::1:2575", "[fe80::1]:2575"),
    (parse_address, "[lab]:1", "no IPv6 address"), (parse_address, "http://lab:80", "without http://"), (parse_address, "a b:1", "neither"),
    (parse_address, "-lab:1", "neither"), (parse_address, "l..b:1", "neither"),
]  # fmt: skip


@pytest.mark.parametrize(("parse", "text", "said"), BAD)
def test_bad(parse: Callable[[str], object], text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse(text)


@given(st.integers(0, 10**9))
def test_what_is_written_is_read_again(number: int) -> None:
    assert parse_size(format_size(number)) == number
    assert parse_duration(format_duration(number)) == number
    assert parse_rate(format_rate(number / 60)) == pytest.approx(number / 60)


def test_the_shortest_form_is_written() -> None:
    assert [format_duration(seconds) for seconds in (0, 0.25, 1.5, 30, 90, 300, 86400)] == [
        "0", "250ms", "1500ms", "30s", "90s", "5m", "1d",
    ]  # fmt: skip
    assert [format_size(size) for size in (0, 5, 65536, 2**24)] == ["0", "5B", "64KiB", "16MiB"]
    assert [format_rate(rate) for rate in (0.0, 20.0, 1.5)] == ["0", "20/s", "90/m"]


def test_an_address_is_written_as_it_is_read() -> None:
    for text in ("127.0.0.1:1", "[::1]:2"):
        assert str(parse_address(text)) == text
