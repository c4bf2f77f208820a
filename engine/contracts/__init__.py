"""What the parts promise one another. The contract carries the documentation; implementations stay nearly comment-free.

Layers: connectors, formats, mappings, the store and the pipeline know these contracts and not one another.
All coroutines here are Twisted's: `async def` awaiting Deferreds, driven by the reactor.
"""

from __future__ import annotations

from engine.contracts.connectors import Destination, Intake, Reply, Source
from engine.contracts.formats import Document, Editable, Format, Node
from engine.contracts.mappings import Entity, Expression, Facts, Mapping, Product
from engine.contracts.site import AckPolicy, Channel, DestinationSpec, DiskPolicy, Retention, RetryPolicy, Route, Site
from engine.contracts.store import Counted, Request, Store
from engine.contracts.world import Clock, Network, Port, Runtime

__all__ = [
    "AckPolicy",
    "Channel",
    "Clock",
    "Counted",
    "Destination",
    "DestinationSpec",
    "DiskPolicy",
    "Document",
    "Editable",
    "Entity",
    "Expression",
    "Facts",
    "Format",
    "Intake",
    "Mapping",
    "Network",
    "Node",
    "Port",
    "Product",
    "Reply",
    "Request",
    "Retention",
    "RetryPolicy",
    "Route",
    "Runtime",
    "Site",
    "Source",
    "Store",
]
