"""Trying a site's destinations: each is asked to check its endpoint; nothing is delivered and nothing is bound."""

from __future__ import annotations

from typing import Any

from engine.contracts import Destination, DestinationSpec, Site

LIMIT = 60.0  # seconds for one destination, beyond its own time-outs


def try_destinations(site: Site) -> dict[str, str]:
    """What is wrong with each destination, '' where it answers. Runs the reactor until all have been asked."""
    from engine import reactor as engine_reactor

    reactor: Any = engine_reactor.install()
    from twisted.internet.defer import ensureDeferred

    from engine.app import make_runtime
    from engine.events import silent
    from engine.net import LoopNetwork

    runtime = make_runtime(reactor, LoopNetwork(reactor), silent)
    faults: dict[str, str] = {}

    async def try_all() -> None:
        for spec in site.destinations:
            faults[spec.name] = await _try(spec, runtime, reactor)

    def begin() -> None:
        ensureDeferred(try_all()).addBoth(ended)

    def ended(result: Any) -> None:
        reactor.stop()
        failures.extend([result] if result is not None else [])

    failures: list[Any] = []
    reactor.callWhenRunning(begin)
    reactor.run()
    for failure in failures:
        failure.raiseException()
    return faults


async def _try(spec: DestinationSpec, runtime: Any, reactor: Any) -> str:
    from twisted.internet.defer import Deferred, TimeoutError, ensureDeferred

    from engine.registry import build_destination

    built: Destination = build_destination(spec.connector, spec.options, runtime, spec.name)
    try:
        check: Deferred[str] = ensureDeferred(built.check())
        return await check.addTimeout(LIMIT, reactor)
    except TimeoutError:
        return f"no answer within {LIMIT:g}s"
    except OSError as error:
        return error.strerror or type(error).__name__
    finally:
        await built.stop()
