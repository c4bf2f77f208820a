"""The console as an ASGI application: a route for every door, the static files, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from engine import __version__
from engine.console import openapi
from engine.console.answers import NotFound, Refusal
from engine.console.doors import API, Door, doors
from engine.console.guard import Headers
from engine.console.home import Home
from engine.console.live import Feed
from engine.console.rendering import STATIC, Rendering
from engine.console.serving import Serving, problem
from engine.console.working import attend

COLOURS = {"production": "red", "test": "teal", "development": "violet"}
OTHERS = ("blue", "amber", "green", "pink")


def make_app(home: Home, *, secure: bool = False, login: tuple[str, ...] = ()) -> Starlette:
    """`secure`: it is served over TLS by ourselves. `login`: other ways to log in than by password."""
    facts = {
        "organization": home.organization,
        "environment": home.environment,
        "colour": colour(home.environment),
        "version": __version__,
        "login_ways": login,
    }
    rendering = Rendering(home.timezone, facts)
    serving = Serving(home, rendering)
    known = doors()
    described = orjson.dumps(openapi.describe(known))

    @asynccontextmanager
    async def life(app: Any) -> AsyncIterator[None]:
        attend(home)
        yield
        for part in home.parts.values():
            if isinstance(part, Feed):
                part.end()
            elif hasattr(part, "close"):
                part.close()
        home.close()

    async def specification(request: Request) -> Response:
        return Response(described, media_type="application/json")

    async def refused(request: Request, error: Exception) -> Response:
        refusal = _refusal(error)
        headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
        if request.url.path.startswith(API):
            return problem(refusal, headers)
        nobody = {"visit": None, "who": None, "csrf": "", "note": "", "here": "/", "path": request.url.path}
        page = rendering.render("refusal.html", refusal=refusal, status=refusal.status, **nobody)
        return HTMLResponse(page, refusal.status, headers)

    routes: list[BaseRoute] = [
        Mount("/static", _Static(directory=STATIC)),
        Route(f"{API}/openapi.json", specification, methods=["GET"]),
        *_routes(known, serving),
    ]
    handlers: Any = {HTTPException: refused, 404: refused, 405: refused}
    # Compressing what echoes input beside a secret tells it to whoever can have pages asked for and sees their length (BREACH):
    # another site cannot, since the session's cookie is SameSite=Strict and comes with nothing that it asks for.
    compressed = Middleware(GZipMiddleware, minimum_size=2000, compresslevel=5)
    return Starlette(
        routes=routes,
        middleware=[Middleware(Headers, secure=secure), compressed],
        exception_handlers=handlers,
        lifespan=life,
    )


def _routes(known: list[Door], serving: Serving) -> list[Route]:
    """Fixed paths before those with parameters: `/messages/export` is no message."""
    pairs: list[tuple[str, Door, Callable[..., Any]]] = []
    for door in known:
        if door.path:
            pairs.append((door.path, door, serving.page(door)))
        if door.api:
            pairs.append((API + door.api, door, serving.api(door)))
    found: dict[str, dict[str, Callable[..., Any]]] = {}
    for path, door, handler in pairs:
        found.setdefault(path, {})[door.method] = handler
    ordered = sorted(found, key=lambda path: (path.count("{"), path))
    return [Route(path, _by_method(found[path]), methods=list(found[path])) for path in ordered]


def _by_method(handlers: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    """One route a path, so that whoever asks by another method is told of every one there is."""

    async def serve(request: Request) -> Response:
        response: Response = await handlers["GET" if request.method == "HEAD" else request.method](request)
        return response

    return serve


def colour(environment: str) -> str:
    """The colour that an environment is always shown in: production is red, and nothing else is."""
    known = COLOURS.get(environment.lower()) or ("red" if environment.lower().startswith("prod") else "")
    return known or OTHERS[sum(environment.encode()) % len(OTHERS)]


def _refusal(error: Exception) -> Refusal:
    if isinstance(error, HTTPException) and error.status_code != 404:
        refusal = Refusal("There is no such request here.")
        refusal.status = error.status_code
        return refusal
    return NotFound("There is no page at this address.")


class _Static(StaticFiles):
    """Addresses say which content they mean, so that browsers may keep them for good."""

    def file_response(self, *about: Any, **more: Any) -> Response:
        response = super().file_response(*about, **more)
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response
