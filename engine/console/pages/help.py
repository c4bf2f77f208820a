"""What keys do, and whether the console is there."""

from __future__ import annotations

from engine import __version__
from engine.console.doors import Scope, door
from engine.console.models import Nothing, Told
from engine.console.visit import Visit


class Help(Told):
    release: str
    organization: str
    environment: str
    timezone: str


@door("GET", "/help", None, Scope.OWN, "", page="help.html", api="/about")
def help_page(visit: Visit, asked: Nothing) -> Help:
    """What runs here, and how to get about in it."""
    home = visit.home
    return Help(release=__version__, organization=home.organization, environment=home.environment, timezone=home.timezone)


class Health(Told):
    live: bool


@door("GET", "/health", None, Scope.PUBLIC, "", api="/health")
def health(visit: Visit, asked: Nothing) -> Health:
    """Whether the console answers. It says nothing of the engine: that is `/ready` of the engine's own monitor."""
    return Health(live=True)
