"""What people and machines see of a running engine. Everything derives from events, and authors of parts write none of it."""

from engine.observe.bus import Bus
from engine.observe.logs import Logs
from engine.observe.metrics import Metrics
from engine.observe.monitor import Monitor

__all__ = ["Bus", "Logs", "Metrics", "Monitor"]
