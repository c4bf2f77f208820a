"""Tests run on the engine's own reactor: an `async def` test is a Twisted coroutine (it awaits Deferreds).

An error that nobody handled (in a Deferred, in a timer, in a protocol) fails the test that caused it.
"""

from __future__ import annotations

import gc
import inspect
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import reactor as engine_reactor
from tests.support import NEEDS, Missing, postgresql_database, require, skip_without

reactor = engine_reactor.install()
LIMIT = 60.0  # seconds for one coroutine test: a hung one fails with its name instead of hanging the run

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

# ── running ────────────────────────────────────────────────────────────────────────────────────────────────────────


def pytest_sessionstart(session: pytest.Session) -> None:
    from twisted.logger import globalLogBeginner

    reactor.startRunning(installSignalHandlers=False)
    globalLogBeginner.beginLoggingTo([_note_failures], redirectStandardIO=False)


def pytest_unconfigure(config: pytest.Config) -> None:
    """The reactor never stops in a test run; without this its threads, once used, keep the process from ending."""
    if (pool := getattr(reactor, "threadpool", None)) is not None:
        pool.stop()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    from twisted.internet.defer import ensureDeferred

    loop = engine_reactor.loop_of(reactor)
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    done = ensureDeferred(pyfuncitem.obj(**arguments)).addTimeout(LIMIT, reactor)
    loop.run_until_complete(done.asFuture(loop))
    return True


# ── errors that nobody handled ─────────────────────────────────────────────────────────────────────────────────────

_failures: list[Any] = []


def _note_failures(event: dict[str, Any]) -> None:
    if (failure := event.get("log_failure")) is not None:
        _failures.append(failure)


@pytest.fixture(autouse=True)
def unhandled_errors() -> Iterator[list[Any]]:
    """Twisted failures that were logged because nobody handled them; a test that expects some takes them out."""
    _failures.clear()
    yield _failures
    gc.collect(1)  # a Deferred tells of its error when it is collected; the test's own objects are young
    if _failures:
        text = "\n".join(failure.getTraceback() for failure in _failures)
        _failures.clear()
        pytest.fail(f"errors that nobody handled:\n{text}", pytrace=False)


# ── what the machine has ───────────────────────────────────────────────────────────────────────────────────────────


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for name in marker.args:
            require(name)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say loudly what this run did not test, and how to get it."""
    missing: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", ()):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        if reason.startswith(NEEDS):
            missing[reason] += 1
    if missing:
        terminalreporter.section("NOT TESTED ON THIS MACHINE", red=True, bold=True)
        for reason, count in sorted(missing.items()):
            terminalreporter.line(f"{count} test{'s' if count > 1 else ''}: {reason}")


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """The URL of an empty PostgreSQL database of this run."""
    try:
        with postgresql_database() as url:
            yield url
    except Missing as missing:
        skip_without("postgresql", str(missing))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real messages, where the checkout beside this one has them."""
    if not SHARED.is_dir():
        pytest.skip(f"{NEEDS}the shared message collection (it is not part of this repository)")
    return SHARED


@pytest.fixture
def spin() -> Any:
    """Run a Deferred or coroutine to its end on the real reactor, from a plain test."""
    from twisted.internet.defer import ensureDeferred

    def run(awaitable: Any, limit: float = LIMIT) -> Any:
        loop = engine_reactor.loop_of(reactor)
        deferred = awaitable if hasattr(awaitable, "addTimeout") else ensureDeferred(awaitable)
        return loop.run_until_complete(deferred.addTimeout(limit, reactor).asFuture(loop))

    return run
