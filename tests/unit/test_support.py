"""The tests' own ground: nothing is skipped silently, and what is made is removed."""

from __future__ import annotations

import gc
from typing import Any

import psycopg
import pytest
from twisted.internet.defer import Deferred, fail

from tests.support import postgresql_database, require, skip_without


def test_a_missing_server_skips_and_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"needs node \(not found\)\. To get it: apt-get install nodejs"):
        skip_without("node")


@pytest.mark.parametrize("value", ["true", "1", "yes"])
def test_under_ci_a_missing_server_fails(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CI", value)
    with pytest.raises(pytest.fail.Exception, match="needs a-program-nobody-has"):
        require("a-program-nobody-has")


@pytest.mark.parametrize("value", ["", "false", "0"])
def test_ci_can_be_said_off(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CI", value)
    with pytest.raises(pytest.skip.Exception):
        require("a-program-nobody-has")


def test_what_is_there_is_no_reason_to_skip() -> None:
    require("sh")


@pytest.mark.needs("postgresql")
def test_a_database_is_fresh_and_goes_again() -> None:
    with postgresql_database() as one, postgresql_database() as two:
        assert one != two
        with psycopg.connect(one) as connection:
            connection.execute("CREATE TABLE t (n int)")
        with psycopg.connect(two) as connection:
            assert connection.execute("SELECT to_regclass('t')").fetchone() == (None,)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(one)


def test_an_error_nobody_handles_is_noticed(unhandled_errors: list[Any]) -> None:
    forgotten: Deferred[None] = fail(ValueError("nobody looks at me"))
    del forgotten
    gc.collect()
    assert [failure.type for failure in unhandled_errors] == [ValueError]
    unhandled_errors.clear()
