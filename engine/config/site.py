"""A site, read whole: every file, every problem, and what came of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.config import lint
from engine.config.cases import ChannelTest
from engine.config.channels import ChannelReader, ChannelReading, retained
from engine.config.engine import read_destinations, read_engine, strays
from engine.config.environment import Environment
from engine.config.files import EngineFile
from engine.config.language import Language
from engine.config.loops import circles
from engine.config.report import Report
from engine.contracts import DestinationSpec, DiskPolicy, Site
from engine.errors import ConfigurationError, Problem


@dataclass(frozen=True, slots=True)
class SiteReading:
    """What reading a site gave: the site where nothing is wrong with it, all problems and warnings in order of file and
    line, and how much there was."""

    site: Site | None
    problems: tuple[Problem, ...]
    counts: Mapping[str, int]  # channels, destinations, mappings, code tables
    tests: Mapping[str, tuple[ChannelTest, ...]]  # of channel files, by the channel's name
    files: tuple[str, ...] = ()  # names of all that were read, from the directory


def load_site(directory: Path, environ: Mapping[str, str] = os.environ) -> Site:
    """The site in `directory`, compiled; its warnings are `Site.problems`.

    Raises ConfigurationError with every error of every file, in order of file and line.
    """
    reading = read_site(directory, environ)
    if reading.site is None:
        raise ConfigurationError([problem for problem in reading.problems if problem.severity == "error"])
    return reading.site


def read_site(directory: Path, environ: Mapping[str, str] = os.environ, *, elsewhere: bool = False) -> SiteReading:
    """As `load_site`, but telling errors and warnings together instead of raising.

    `elsewhere`: the site does not run on this machine, so that a secret which is not here is only a warning.
    """
    report = Report(directory.resolve())
    environment = Environment(environ, elsewhere=elsewhere)
    strays(report)
    settings, engine_file = read_engine(report, environment)
    named, listed = read_destinations(report, environment)
    language = Language(report)
    reader = ChannelReader(report, environment, language, [str(name) for name in named] if listed else None)
    paths = _channel_files(report)
    readings = [reading for path in paths if (reading := _channel(path, reader, report))]
    lint.addresses(readings, engine_file, report)
    lint.ports(readings, report)
    lint.channels_named_twice(readings, report)
    if listed and len(readings) == len(paths):  # what could not be read may use anything
        lint.unused(named, readings, language.mappings, report)
    for reading in readings:
        lint.searchable(reading, report)
    inline = [spec for reading in readings for spec in reading.inline]
    counts = {
        "channels": len(paths),
        "destinations": len(named) + len(inline),
        "mappings": len(language.mappings),
        "code tables": language.tables,
    }
    destinations = [*(spec for spec in named.values() if spec), *inline]
    circles(readings, destinations, report)
    site = _site(report, settings, readings, destinations) if settings and not report.failed else None
    tests = {reading.name: tuple(reading.tests) for reading in readings if reading.tests}
    return SiteReading(site, tuple(report.sorted()), counts, tests, tuple(sorted(report.files)))


def _channel_files(report: Report) -> list[Path]:
    found = sorted((report.directory / "channels").glob("*.yaml"))
    if not found:
        report.take([Problem("channels", 0, 0, "holds no channel file (NAME.yaml): nothing would be received.", "warning")])
    return found


def _channel(path: Path, reader: ChannelReader, report: Report) -> ChannelReading | None:
    report.remember(path)
    file = report.load(path)
    return reader.read(file, path.stem) if file is not None else None


def _site(report: Report, settings: EngineFile, readings: list[ChannelReading], destinations: list[DestinationSpec]) -> Site:
    return Site(
        directory=str(report.directory),
        organization=settings.organization,
        environment=settings.environment,
        timezone=settings.timezone,
        store=settings.store,
        monitor=str(settings.monitor.listen) if settings.monitor else "",
        channels=tuple(reading.channel for reading in readings if reading.channel),
        destinations=tuple(destinations),
        version=report.version(),
        problems=tuple(report.sorted()),
        files=tuple(sorted(report.files)),
        console=str(settings.console.listen) if settings.console else "",
        watch=settings.watch,
        retention=retained(settings.retention),
        disk=DiskPolicy(settings.disk.stop_below, settings.disk.warn_below, settings.disk.ballast),
    )
