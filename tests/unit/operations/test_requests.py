"""Asking an engine on another host through PostgreSQL: a real server, a real store, the real asker in a thread of its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import psycopg
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from engine.errors import EXIT_BUSY, StoreBusy
from engine.operations import requests
from engine.operations.control import Answered, NotRunning, Unanswerable
from engine.operations.requests import Requests, Taking
from engine.testing.world import until
from tests.contract.store.helpers import Site

_schemas = count(1)


class Verbs:
    def __init__(self) -> None:
        self.never: Deferred[str] = Deferred()
        self.said: list[str] = []

    def all(self) -> dict[str, Any]:
        return {"say": self.say, "refuse": self.refuse, "break": self.broken, "wait": self.wait}

    async def say(self, word: str, who: str = "") -> str:
        self.said.append(word)
        return f"{word} {who}"

    async def refuse(self) -> str:
        raise StoreBusy("not now")

    async def broken(self) -> str:
        raise KeyError("what nobody may read")

    async def wait(self) -> str:
        return await self.never


class Engine:
    def __init__(self, url: str) -> None:
        self.site, self.verbs = Site(url, threaded=True), Verbs()
        self.site.open()
        self.taking = Taking(lambda: self.site.store, self.verbs.all())

    async def ask(self, verb: str, **arguments: Any) -> Any:
        """As somebody on another host, while the engine looks."""

        def asking() -> Any:
            with Requests(self.site.url) as caller:
                return caller(verb, **arguments)

        answer = deferToThread(asking)
        while not answer.called:
            await self.taking.step()
            await until_a_moment_has_passed()
        return await answer


async def until_a_moment_has_passed() -> None:
    from tests.conftest import reactor

    passed: Deferred[None] = Deferred()
    reactor.callLater(0.01, passed.callback, None)
    await passed


@pytest.fixture
def engine(request: pytest.FixtureRequest, spin: Any) -> Iterator[Engine]:
    server = request.getfixturevalue("postgresql_url")
    schema = f"asked_{next(_schemas)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
    made = Engine(f"{server}{'&' if '?' in server else '?'}options=-csearch_path%3D{schema}")
    yield made
    spin(made.site.close())
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning")
        connection.execute(f"DROP SCHEMA {schema} CASCADE")


async def test_what_is_asked_is_done_once_and_answered(engine: Engine) -> None:
    assert await engine.ask("say", word="hello", who="ann") == "hello ann"
    assert engine.verbs.said == ["hello"]


async def test_no_is_an_answer_with_its_exit_code(engine: Engine) -> None:
    with pytest.raises(Answered, match="not now") as no:
        await engine.ask("refuse")
    assert no.value.exit_code == EXIT_BUSY
    with pytest.raises(Answered, match="knows no verb"):
        await engine.ask("sing")
    with pytest.raises(Answered, match="missing a required argument: 'word'"):
        await engine.ask("say", song="x")


async def test_a_fault_says_nothing_of_what_it_was(engine: Engine, unhandled_errors: list[Any]) -> None:
    with pytest.raises(Answered) as no:
        await engine.ask("break")
    assert "nobody may read" not in str(no.value)
    assert [failure.type for failure in unhandled_errors] == [KeyError]
    unhandled_errors.clear()


async def test_what_nobody_takes_is_withdrawn(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "PATIENCE", 0.2)

    def asking() -> Any:
        with Requests(engine.site.url) as caller:
            return caller("say", word="late")

    with pytest.raises(NotRunning, match="no engine took this"):
        await deferToThread(asking)
    await engine.taking.step()
    assert engine.verbs.said == []
    assert await engine.site.store.requests() == []


async def test_what_an_engine_did_not_answer_is_known_by_nobody(engine: Engine) -> None:
    def asking() -> Any:
        with Requests(engine.site.url) as caller:
            return caller("wait")

    answer = deferToThread(asking)
    while not engine.taking._under_way:
        await engine.taking.step()
        await until_a_moment_has_passed()
    await engine.site.reopen()
    engine.taking = Taking(lambda: engine.site.store, engine.verbs.all())
    await engine.taking.step()
    with pytest.raises(Answered, match="nobody knows whether it was done"):
        await answer
    engine.verbs.never.callback("too late")  # the first engine's answer changes nothing


async def test_a_slow_request_does_not_hold_others_up(engine: Engine) -> None:
    def asking() -> Any:
        with Requests(engine.site.url) as caller:
            return caller("wait")

    slow = deferToThread(asking)
    while not engine.taking._under_way:
        await engine.taking.step()
        await until_a_moment_has_passed()
    assert await engine.ask("say", word="quick") == "quick "
    engine.verbs.never.callback("done")
    await until("it is answered", lambda: slow.called)
    assert await slow == "done"


def test_what_is_too_long_is_not_asked(engine: Engine) -> None:
    with Requests(engine.site.url) as caller, pytest.raises(Unanswerable, match="MiB"):
        caller("say", word="x" * (9 << 20))


def test_a_database_that_is_away_is_no_engine() -> None:
    with pytest.raises(NotRunning, match="cannot be asked"):
        Requests("postgresql://postgres@127.0.0.1:1/none")
