"""The mapping language: `Library` reads a site's mappings and compiles chains of them, and expressions of channel files."""

from __future__ import annotations

from engine.mapping.fileschema import mapping_schema
from engine.mapping.library import Library, MappingChain

__all__ = ["Library", "MappingChain", "mapping_schema"]
