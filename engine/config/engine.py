"""`conf/`: the engine's settings and the named destinations of this environment."""

from __future__ import annotations

import difflib
from pathlib import Path

from engine.config.destinations import named_destinations
from engine.config.environment import SECRET, Environment, NotHere
from engine.config.files import EngineFile
from engine.config.options import validate
from engine.config.report import Report
from engine.contracts import DestinationSpec
from engine.errors import Problem
from engine.strictyaml import Map, Text

ENGINE = "conf/engine.yaml"
DESTINATIONS = "conf/destinations.yaml"


class Hidden(str):
    """Text that holds a secret: it works as text and is never shown by `repr`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def read_engine(report: Report, environment: Environment) -> tuple[EngineFile | None, Map]:
    """The settings (None: their problems have been noted), and the file for places."""
    path = report.directory / ENGINE
    if not path.is_file():
        text = "is missing: this directory is no site. 'wardline init DIR' makes one."
        report.take([Problem(ENGINE, 0, 0, text if not path.parent.is_dir() else "is missing.")])
        return None, Map()
    report.remember(path)
    file = report.load(path)
    if file is None:
        return None, Map()
    settings = validate(EngineFile, _resolved(file, report, environment), report, environment)
    if settings is not None and str(file.get("store", "")).startswith(SECRET):
        settings = settings.model_copy(update={"store": Hidden(settings.store)})
    return settings, file


def _resolved(file: Map, report: Report, environment: Environment) -> Map:
    """The store may stand as a reference, since its URL may hold a password."""
    store = file.get("store")
    if not isinstance(store, Text):
        return file
    resolved = file.copy()
    if store.startswith(SECRET):
        try:
            value = environment.secret(store)
        except ValueError as error:
            tell = report.warning if environment.elsewhere and isinstance(error, NotHere) else report.error
            tell(store, str(error))
            value = "sqlite:///unknown"
        report.hide(value)
        resolved[file.key("store")] = Text.made(value, store.mark)
    elif "@" in store and ":" in store.partition("://")[2].rpartition("@")[0]:
        report.error(store, "a password does not stand in a file. Write store: secret://env/NAME, for the whole URL.")
        resolved[file.key("store")] = Text.made("sqlite:///unknown", store.mark)
    return resolved


def read_destinations(report: Report, environment: Environment) -> tuple[dict[Text, DestinationSpec | None], bool]:
    """The named destinations, and whether their names are known (a file that is no YAML hides them)."""
    path = report.directory / DESTINATIONS
    if not path.is_file():
        return {}, True
    report.remember(path)
    file = report.load(path)
    return named_destinations(file, report, environment) if file is not None else ({}, False)


def strays(report: Report) -> None:
    """Files that look as if they were read, and are not."""
    for folder, expected in (("conf", ["engine.yaml", "destinations.yaml"]), ("channels", [])):
        for path in sorted((report.directory / folder).glob("*")):
            if path.suffix == ".yml":
                report.take([_stray(report, path, "is not read: its name must end in .yaml.")])
            elif folder == "conf" and path.suffix == ".yaml" and path.name not in expected:
                near = difflib.get_close_matches(path.name, expected, 1)
                meant = f" Is it {near[0]}?" if near else " conf/ holds engine.yaml and destinations.yaml."
                report.take([_stray(report, path, f"is not read.{meant}")])


def _stray(report: Report, path: Path, text: str) -> Problem:
    return Problem(report.name(path), 0, 0, text, "warning")
