"""Connections (a connector's key with its options) and destinations, named or inline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.config.environment import Environment
from engine.config.files import DestinationFile, named
from engine.config.options import known_keys, validate
from engine.config.report import Report
from engine.contracts import DestinationSpec, RetryPolicy
from engine.registry import Connector, Options, connectors
from engine.strictyaml import Map, Text
from engine.text import did_you_mean, listed

_QUEUE_KEYS = known_keys(DestinationFile)


@dataclass(frozen=True, slots=True)
class Connection:
    """One end of a connector as a file has it: its name, where it stands, its validated options."""

    connector: Text
    options: Options
    given: Any  # the options as written, for places


def connection(value: Any, end: str, report: Report, environment: Environment, beside: Sequence[str] = ()) -> Connection | None:
    """The connector named by the one key of `value`, `end` being `source` or `destination`.

    `beside` are the keys that may stand next to it. None when the problems have been noted.
    """
    known = {name: declared for name, declared in connectors().items() if getattr(declared, end)}
    if not isinstance(value, Map):
        report.error(value, f"expected a connector's key with its options below it: {listed(known, 'or')}.")
        return None
    named = [key for key in value if key not in beside]
    found = [key for key in named if key in known]
    wrong = [key for key in named if key not in known]
    for key in wrong:
        report.error(key, _unknown(key, end, known, beside))
    if len(found) > 1:
        report.error(found[1], f"a second connector: {found[0]} stands on line {found[0].line}. Choose one.")
    elif not named:
        report.error(value, f"a connector is missing: {listed(known, 'or')}, with its options below it.")
    if len(found) != 1:
        return None
    declared: Connector = known[found[0]]
    given = value[found[0]]
    options = validate(getattr(declared, end).options, given, report, environment)
    return None if options is None or wrong else Connection(found[0], options, given)


def _unknown(key: Text, end: str, known: dict[str, Connector], beside: Sequence[str]) -> str:
    if key in connectors():
        return f"{key} cannot be a {end}. Those that can: {listed(known)}."
    near = did_you_mean(key, [*known, *beside])
    others = f" (beside it: {', '.join(beside)})" if beside else ""
    expected = f" Expected {listed(known, 'or')}{others}."
    return f"there is no connector '{key}'.{near or expected}"


def destination(name: str, value: Any, report: Report, environment: Environment) -> DestinationSpec | None:
    """A destination's connector and queue. None when the problems have been noted."""
    connected = connection(value, "destination", report, environment, _QUEUE_KEYS)
    if not isinstance(value, Map):
        return None
    queue = value.copy()
    for key in [key for key in queue if key not in _QUEUE_KEYS]:
        del queue[key]
    settings = validate(DestinationFile, queue, report)
    if connected is None or settings is None:
        return None
    retry = RetryPolicy(**settings.retry.model_dump())
    return DestinationSpec(name, str(connected.connector), connected.options, retry, settings.rate, settings.window)


def named_destinations(file: Map, report: Report, environment: Environment) -> tuple[dict[Text, DestinationSpec | None], bool]:
    """The destinations of `conf/destinations.yaml` by their names (None: known by name, but wrong), and whether the list
    itself could be read."""
    for key in file:
        if key != "destinations":
            near = did_you_mean(key, ["destinations"])
            report.error(key, f"unknown key '{key}'.{near or ' The file has one key, destinations, with their names below it.'}")
    listing = file.get("destinations", Map())
    if listing == "":
        return {}, True
    if not isinstance(listing, Map):
        report.error(listing, "expected names of destinations, each with its connector below it.")
        return {}, False
    specs: dict[Text, DestinationSpec | None] = {}
    for name, value in listing.items():
        try:
            named(name)
        except ValueError as error:
            report.error(name, f"{error}.")
        specs[name] = destination(str(name), value, report, environment)
    return specs, True
