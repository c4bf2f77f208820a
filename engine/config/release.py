"""What the language has and this release does not do yet: said clearly, never ignored."""

from __future__ import annotations

from engine.config.report import Report
from engine.strictyaml import Map, Text

_CHANNEL = {
    "for_each": "Splitting a message into several",
    "collect": "Collecting messages into one",
    "with": "Fetching stored documents",
    "python": "Calling Python functions",
}
_ROUTE = {
    "with": "Fetching stored documents",
    "python": "Calling Python functions",
}


def refuse_unavailable(file: Map, report: Report) -> Map:
    """A copy of a channel file without the keys of later releases; each of them is an error."""
    plain = _without(file, _CHANNEL, report)
    if plain.get("on_park") == "hold_key":
        what = "holding later messages of the same order key behind a parked one (on_park: hold_key)"
        report.error(plain["on_park"], f"{what} is not available in this release. Write on_park: continue.")
        del plain[plain.key("on_park")]
    source = plain.get("source")
    if isinstance(source, Map) and "collect" in source:
        report.error(source.key("collect"), "collecting messages into one (collect) is not available in this release.")
        del plain[plain.key("source")]
        plain[Text.made("source")] = _without(source, {"collect": ""}, None)
    routes = plain.get("routes")
    if isinstance(routes, Map):
        plain[routes_key := plain.key("routes")] = routes.copy()
        for name, route in routes.items():
            if isinstance(route, Map):
                plain[routes_key][name] = _without(route, _ROUTE, report)
    return plain


def is_handover(target: Map, report: Report) -> bool:
    """Whether a route's `to` names a channel, which is noted."""
    if "channel" not in target:
        return False
    report.error(target.key("channel"), "handing over to another channel (to: {channel: …}) is not available in this release.")
    return True


def _without(file: Map, later: dict[str, str], report: Report | None) -> Map:
    plain = file.copy()
    for key, what in later.items():
        if key in plain:
            if report is not None:
                report.error(plain.key(key), f"{what} ({key}) is not available in this release.")
            del plain[plain.key(key)]
    return plain
