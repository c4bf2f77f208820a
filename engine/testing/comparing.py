"""A comparison from its beginning: the configuration is read, the store opened for reading, the translators started."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import orjson

from engine.config import read_site
from engine.contracts import Site
from engine.errors import ConfigurationError
from engine.store.history import History
from engine.store.search import Query
from engine.testing.compare import Comparison, JudgedWork, compare
from engine.testing.translating import Translator, at_once

TOLD: Final = 0.02  # of the time span: so much further it is before a job tells again how far it is


PARTS: Final = ("conf", "channels", "mappings")


def configuration(directory: Path, site: Path) -> Site:
    """The site in `directory`, which need not run on this machine. What it does not have (samples that its tests name, where it
    is a version that was kept) is `site`'s. Raises ConfigurationError."""
    with TemporaryDirectory(prefix="wardline-compare-") as place:
        for base, without in ((directory, ()), (site, PARTS)):
            for path in base.iterdir():
                if path.name not in without and not (link := Path(place, path.name)).is_symlink():
                    link.symlink_to(path.resolve())
        return _read(Path(place))


def _read(directory: Path) -> Site:
    reading = read_site(directory, elsewhere=True)
    if reading.site is None:
        raise ConfigurationError([problem for problem in reading.problems if problem.severity == "error"])
    return reading.site


def compared(store: str, site: Site, query: Query, told: Callable[[Comparison], None] = lambda comparison: None) -> Comparison:
    """What the store (its URL) has of `query`, by `site`. To be called before there are threads. Raises StoreError."""
    with ExitStack() as stack:
        work = JudgedWork(site)
        translators = [stack.enter_context(Translator(work)) for _ in range(at_once())]
        history = stack.enter_context(History(store))
        return compare(history, site, translators, query, told)


def _visible(about: dict[str, Any]) -> tuple[str, ...] | None:
    return None if about["visible"] is None else tuple(about["visible"])


def job(say: Callable[[bytes], None], store: str, directory: str, own: str, about: dict[str, Any]) -> None:
    """As `compared`, for a process of its own: says how far it is, and at last what it found. `about`: channel, since, until and
    visible of a Query."""
    query = Query(channel=tuple(about["channel"]), since=about["since"], until=about["until"], visible=_visible(about))
    try:
        site = configuration(Path(directory), Path(own))
    except ConfigurationError as error:
        say(orjson.dumps({"failed": f"This configuration has errors: {error}"}))
        return
    last = 0.0

    def told(comparison: Comparison) -> None:
        nonlocal last
        done = (query.until - comparison.reached) / max(1, query.until - query.since)
        if done >= last + TOLD:
            last = done
            say(orjson.dumps({"done": min(done, 1.0), **comparison.data()}))

    comparison = compared(store, site, query, told)
    say(orjson.dumps({"done": 1.0, "finished": True, "version": site.version, **comparison.data()}))
