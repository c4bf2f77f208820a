"""Imported where processes are forked from: loads and builds once what each of them would build for itself."""

from __future__ import annotations

from engine import registry
from engine.testing import comparing, trial

FORMATS = {name: kind.build() for name, kind in registry.formats().items()}
SCHEMAS = {name: entity.json_schema() for name, entity in registry.entities().items()}
WORK = (trial, comparing)
