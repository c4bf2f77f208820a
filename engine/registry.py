"""Name → what it is, for connectors, formats and canonical entities.

A connector is one folder under `engine/connectors/`; its `__init__` declares `CONNECTOR`. A format is one module or folder
under `engine/formats/` with `FORMAT`; `engine/canonical/__init__` has `ENTITIES`. Nothing else is edited to add one.
Other distributions add theirs through the entry point groups `wardline.connectors` and `wardline.formats`.
Declarations are cheap to import; implementations are named as `module:Class` and loaded when first built.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from pydantic import BaseModel, ConfigDict

from engine.contracts import Destination, Entity, Format, Runtime, Source
from engine.quantities import humane


class Options(BaseModel):
    """Base of every options declaration: unknown keys are refused, values are frozen, docstrings are the reference page.

    A field's description is its reference text; `json_schema_extra={"secret": True}` marks one that only takes a
    `secret://` reference.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, json_schema_extra=humane)


@dataclass(frozen=True, slots=True)
class End:
    """One end of a connector: its options and where its class is (`engine.connectors.mllp.source:MllpSource`)."""

    options: type[Options]
    implementation: str

    def load(self) -> Any:
        module, _, name = self.implementation.partition(":")
        return getattr(importlib.import_module(module), name)


@dataclass(frozen=True, slots=True)
class Connector:
    name: str
    about: str  # one sentence
    source: End | None = None
    destination: End | None = None


@dataclass(frozen=True, slots=True)
class SiteFile:
    """What an option names by its file's name: `FOLDER/NAME.yaml` of the site, as `declaration` (`module:Class`) has it."""

    folder: str
    declaration: str

    def load(self) -> type[Options]:
        module, _, name = self.declaration.partition(":")
        declared: type[Options] = getattr(importlib.import_module(module), name)
        return declared


@dataclass(frozen=True, slots=True)
class FormatKind:
    name: str
    about: str
    options: type[Options]
    implementation: str
    content_type: str
    files: Mapping[str, SiteFile] = field(default_factory=dict)  # by the option that names one

    def build(self, options: Options | None = None, **files: Options) -> Format:
        """`files`: what the files that options name hold, by the option."""
        module, _, name = self.implementation.partition(":")
        built: Format = getattr(importlib.import_module(module), name)(options or self.options(), **files)
        return built


def _discover(package: str, attribute: str, group: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if declared := getattr(importlib.import_module(f"{package}.{module.name}"), attribute, None):
            found[declared.name] = declared
    for entry in entry_points(group=group):
        declared = entry.load()
        found[declared.name] = declared
    return dict(sorted(found.items()))


@cache
def connectors() -> Mapping[str, Connector]:
    return _discover("engine.connectors", "CONNECTOR", "wardline.connectors")


@cache
def formats() -> Mapping[str, FormatKind]:
    return _discover("engine.formats", "FORMAT", "wardline.formats")


@cache
def entities() -> Mapping[str, Entity]:
    """By `name/version`: `charge/v1`."""
    found: Mapping[str, Entity] = importlib.import_module("engine.canonical").ENTITIES
    return found


def build_source(connector: str, options: Options, runtime: Runtime, name: str) -> Source:
    end = connectors()[connector].source
    assert end is not None, f"{connector} is no source: configuration should have refused it"
    built: Source = end.load()(options, runtime, name)
    return built


def build_destination(connector: str, options: Options, runtime: Runtime, name: str) -> Destination:
    end = connectors()[connector].destination
    assert end is not None, f"{connector} is no destination: configuration should have refused it"
    built: Destination = end.load()(options, runtime, name)
    return built
