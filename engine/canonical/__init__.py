"""The canonical model: what a charge, a patient or a journal is, whoever sent it and whoever receives it.

`ENTITIES` finds an entity's schema by `name/version`; looking one up imports its module and nothing else.
A version is a promise: fields are added to it and never renamed, retyped or made required; anything else is `v2` beside it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Final

from engine.contracts import Entity

_MODULES: Final[Mapping[str, str]] = {
    "charge/v1": "engine.canonical.charge",
    "encounter/v1": "engine.canonical.encounter",
    "journal/v1": "engine.canonical.journal",
    "patient/v1": "engine.canonical.patient",
}


class _Entities(Mapping[str, Entity]):
    """Entities by `name/version`, each imported when it is first asked for."""

    def __getitem__(self, key: str) -> Entity:
        entity: Entity = importlib.import_module(_MODULES[key]).ENTITY
        return entity

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


ENTITIES: Final[Mapping[str, Entity]] = _Entities()
