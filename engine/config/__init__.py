"""Files → `contracts.Site`: strict YAML with places, environment and secrets, lint."""

from engine.config.cases import ChannelTest
from engine.config.site import SiteReading, load_site, read_site

__all__ = ["ChannelTest", "SiteReading", "load_site", "read_site"]
