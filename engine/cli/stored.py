"""What `search` and `show` share: a site's store, opened for reading while the engine may run, and its times in words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from engine.errors import ConfigurationError, StoreError, StoreTooNew, WardlineError

if TYPE_CHECKING:
    from engine.config.files import EngineFile
    from engine.store.history import History
    from engine.textindex import TextIndex

SQLITE = "sqlite:///"


@dataclass(frozen=True, slots=True)
class Stored:
    """A site's store, and how the site reads times."""

    history: History
    timezone: str
    url: str
    _opened: ExitStack

    def texts(self) -> TextIndex:
        """The index of texts, closed with the store. Raises NoIndex, StoreError."""
        from engine.textindex import open_index

        index = open_index(self.url)
        self._opened.callback(index.close)
        return index

    def local(self, instant: int, milliseconds: bool = False) -> str:
        """An instant in the site's time zone: `2026-11-21 10:30:00`."""
        moment = datetime.fromtimestamp(instant / 1_000_000, ZoneInfo(self.timezone))
        return moment.strftime("%Y-%m-%d %H:%M:%S") + (f".{moment.microsecond // 1000:03d}" if milliseconds else "")


def utc(instant: int) -> str | None:
    """For scripts: `2026-11-21T10:30:00.000000Z`; None for an instant that is not."""
    if not instant:
        return None
    return datetime.fromtimestamp(instant / 1_000_000, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@contextmanager
def stored(site: Path) -> Iterator[Stored]:
    """The store that `conf/engine.yaml` names; no other file of the site is needed.

    Raises ConfigurationError, StoreError, StoreTooNew.
    """
    from engine.store.history import History

    settings = engine_settings(site)
    url = absolute(settings.store, site)
    try:
        history = History(url)
    except StoreTooNew:
        raise
    except Exception as error:  # of the driver's too; the URL may hold a password
        raise StoreError(str(error).strip().replace(url, _shown(settings.store)) + ": has the engine run here?") from None
    with history, ExitStack() as opened:
        yield Stored(history, settings.timezone, url, opened)


def engine_settings(site: Path) -> EngineFile:
    """What `conf/engine.yaml` says. Raises ConfigurationError."""
    from engine.config.engine import read_engine
    from engine.config.environment import Environment
    from engine.config.report import Report

    report = Report(site)
    settings, _ = read_engine(report, Environment(os.environ))
    if settings is None or report.failed:
        raise ConfigurationError(report.sorted())
    return settings


def index_names(site: Path) -> set[str] | None:
    """The business keys that the site's channels index; None where a channel cannot be read, and so nobody knows."""
    from engine.strictyaml import Map, load_file

    names: set[str] = set()
    for path in sorted((site / "channels").glob("*.yaml")):
        try:
            index = load_file(path).get("index")
        except (WardlineError, OSError):
            return None
        if isinstance(index, Map):
            names.update(map(str, index))
    return names


def absolute(url: str, site: Path) -> str:
    """A relative file is the site's, wherever the command runs."""
    return f"{SQLITE}{(site / url.removeprefix(SQLITE)).resolve()}" if url.startswith(SQLITE) else url


def _shown(url: str) -> str:
    """Without user and password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
