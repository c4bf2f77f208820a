"""One request through one door: who asks, whether they may, what they say, the handler, the audit row, the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterable
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import quote

import anyio
import anyio.to_thread
from pydantic import BaseModel, TypeAdapter
from starlette.concurrency import iterate_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from engine.console import guard
from engine.console.answers import (
    Away,
    Denied,
    Done,
    Download,
    Invalid,
    Live,
    NotFound,
    Refusal,
    Shown,
    TooMuch,
    Unknown,
    refused,
)
from engine.console.doors import API, Door, Scope
from engine.console.home import Home
from engine.console.models import Nothing
from engine.console.reading import JSON, Given, asked, body_of, fields_of, kind_of, query_of
from engine.console.rendering import Rendering
from engine.console.rights import Right
from engine.console.visit import Visit
from engine.errors import StoreError, WardlineError

_ACTING: Final = (Right.STEER, Right.ACT, Right.EDIT)
THREADS: Final = 16  # handlers at work at once
STRANGERS: Final = 4  # of doors that take no login, apart: whoever knocks does not take the threads of those who are in
STREAMS: Final = 20  # live streams of one person at once
HEARTBEAT: Final = 15.0  # seconds: so often a live stream says that it is there, and looks whether its person still is
LOGIN: Final = "/login"
FIRST: Final = "/first"
HERE: Final = ("localhost", "127.0.0.1", "[::1]")

Result = TypeVar("Result")


class Serving:
    """Answers every door of one console."""

    def __init__(self, home: Home, rendering: Rendering) -> None:
        self.home, self.rendering = home, rendering
        self._threads, self._strangers = anyio.CapacityLimiter(THREADS), anyio.CapacityLimiter(STRANGERS)
        self._turnstile = guard.Turnstile(anyio.current_time)

    def page(self, door: Door) -> Callable[[Request], Any]:
        return partial(self._serve, door, False)

    def api(self, door: Door) -> Callable[[Request], Any]:
        return partial(self._serve, door, True)

    # ── the way of a request ───────────────────────────────────────────────────────────────────────────────────────

    async def _serve(self, door: Door, api: bool, request: Request) -> Response:
        visit = Visit(self.home, None, _peer(request))
        visit.agent, visit.origin = request.headers.get("user-agent", ""), _origin(request)
        try:
            return await self._through(door, api, request, visit)
        except Refusal as refusal:
            return await self._refused(door, api, request, visit, refusal)
        except ClientDisconnect:
            visit.end()
            return Response(status_code=400)  # which nobody reads
        except StoreError as error:
            away = Away(str(error) if visit.known else "The console cannot let anybody in at the moment.")
            return await self._refused(door, api, request, visit, away, broken=True)
        except WardlineError as error:  # what the engine or a file said no with
            return await self._refused(door, api, request, visit, Refusal(str(error)))
        except Exception as error:
            self.home.fault(door=f"{door.method} {door.path or door.api}", fault=_where(error))
            fault = Refusal("Something went wrong in the console; its log says where.")
            fault.status, fault.title = 500, "This is our fault"
            return await self._refused(door, api, request, visit, fault, broken=True)

    async def _through(self, door: Door, api: bool, request: Request, visit: Visit) -> Response:
        path = dict(request.path_params)
        live = "text/event-stream" in request.headers.get("accept", "")
        who, visit.cookie = await self._in_thread(partial(guard.identify, self.home, request, touch=not live))
        visit._who = who
        key = who.name if who else visit.peer
        self._turnstile.enter(key)
        with ExitStack() as stack:
            stack.callback(self._turnstile.leave, key)
            guard.check_origin(request)
            await self._in_thread(partial(guard.admit, door, visit, path))
            if path and not visit.noted.object:
                visit.note(str(next(iter(path.values()))))
            changes = request.method == "POST"
            fields = fields_of(request, await body_of(request, door.body)) if changes else query_of(request)
            guard.check_csrf(request, who, fields)
            given = Given.JSON if changes and kind_of(request) == JSON else Given.TEXT if api else Given.FORM
            model = asked(door, fields, path, given) if door.asked is not Nothing or fields or path else Nothing()
            answer = await self._watched(door, request, visit, partial(self._handled, door, visit, model))
            if isinstance(answer, Download):
                return self._download(answer, visit, stack.pop_all())
            if isinstance(answer, Live):
                return self._live(request, answer, visit, f"live {key}")
            return await self._answered(door, api, request, visit, answer)

    def _handled(self, door: Door, visit: Visit, model: Any) -> Any:
        """In a thread. The audit row is on disk before anything of the answer leaves; of what acts on the engine or the site
        another one is before it begins, so that nothing happens that the trail does not know of."""
        if door.method == "POST" and door.right in _ACTING and door.verb:
            self._note(door, visit, "begun")
            visit.noted.begun = True
        answer = door.handler(visit, model)
        again = isinstance(answer, Shown) and answer.status >= 400  # a form with its problems: nothing was done
        if not (visit.noted.written and again):
            self._note(door, visit, "failed" if again else "ok")
        return answer

    def _note(self, door: Door, visit: Visit, outcome: str) -> None:
        if door.verb and not (visit.noted.written and outcome == "ok"):
            who = visit.who.name if visit.known else ""
            via = f"{visit.who.via} {visit.who.id}".strip() if visit.known else visit.peer
            self.home.people.audit.write(who, via, door.verb, visit.noted.object, outcome, visit.noted.details)

    async def _watched(self, door: Door, request: Request, visit: Visit, work: Callable[[], Result]) -> Result:
        """`work` in a thread; when its browser goes away, what it asks of the store is given up."""
        found: list[Result] = []

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            visit.interrupt()

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            try:
                found.append(await self._in_thread(work, self._strangers if door.scope is Scope.PUBLIC else None))
            except Exception as error:
                failed: Exception | None = error
            else:
                failed = None
            group.cancel_scope.cancel()
        if failed is not None:
            raise failed
        return found[0]

    async def _in_thread(self, work: Callable[[], Result], limiter: anyio.CapacityLimiter | None = None) -> Result:
        return await anyio.to_thread.run_sync(work, limiter=limiter or self._threads)

    # ── answers ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _answered(self, door: Door, api: bool, request: Request, visit: Visit, answer: Any) -> Response:
        try:
            if isinstance(answer, Done):
                return self._done(api, request, visit, answer)
            if api and isinstance(answer, Shown) and answer.status >= 400:  # a form with its problems
                return problem(refused(answer.status, getattr(answer.model, "problems", [])))
            if api:
                return Response(await self._in_thread(partial(_json, door, answer)), door.status, media_type="application/json")
            return await self._in_thread(partial(self._page, door, request, visit, answer))
        finally:
            visit.end()

    def _page(self, door: Door, request: Request, visit: Visit, answer: Any) -> HTMLResponse:
        shown = answer if isinstance(answer, Shown) else Shown(answer)
        if shown.session:  # what the page holds is of the session as it goes on
            visit._who = self.home.people.session(shown.session)
        part = door.fragment if "hx-request" in request.headers and "hx-boosted" not in request.headers else ""
        template = shown.template or part or door.page
        context = self._context(request, visit) | {"it": shown.model}
        return _with_session(HTMLResponse(self.rendering.render(template, **context), shown.status), shown.session)

    def _context(self, request: Request, visit: Visit) -> dict[str, Any]:
        who = visit.who if visit.known else None
        note = self.home.take_note(who.id) if who and who.id and "hx-request" not in request.headers else ""
        query = request.url.query
        here = request.url.path + (f"?{query}" if query else "")
        return {"visit": visit, "who": who, "csrf": who.csrf if who else "", "note": note, "here": here, "path": request.url.path}

    def _done(self, api: bool, request: Request, visit: Visit, done: Done) -> Response:
        if api:
            model = done.model.model_dump(mode="json", by_alias=True) if isinstance(done.model, BaseModel) else done.model
            content = TypeAdapter(Any).dump_json({"note": done.note, "location": done.to, "result": model})
            return Response(content, done.status, {"location": quote(done.to, safe="/?&=%")}, "application/json")
        if done.note and visit.known:
            self.home.leave_note(visit.who.id, done.note)
        if "hx-request" in request.headers:
            return _with_session(Response(status_code=204, headers={"hx-redirect": done.to}), done.session)
        return _with_session(RedirectResponse(done.to, 303), done.session)

    def _download(self, file: Download, visit: Visit, stack: ExitStack) -> Response:
        """It counts as under way until its last byte has left: `stack` is what ends then."""
        chunks = _iterator(file.chunks)
        stack.callback(visit.end)
        stack.callback(chunks.close)
        name = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "_" for letter in file.name)
        name = name.lstrip(".") or "file"
        policy = "default-src 'none'; frame-ancestors 'none'; sandbox"
        headers = {"content-disposition": f'attachment; filename="{name}"', "content-security-policy": policy}
        return _Streaming(stack, iterate_in_threadpool(chunks), 200, headers, file.content_type)

    def _live(self, request: Request, live: Live, visit: Visit, key: str) -> Response:
        stack = ExitStack()
        self._turnstile.stay(key, STREAMS)
        stack.callback(self._turnstile.leave, key)

        async def events() -> AsyncIterator[str]:
            live.feed.watch()
            number, heard = 0, anyio.current_time()
            try:
                while not live.feed.ended:
                    number, snapshot = await live.feed.after(number, HEARTBEAT)
                    if anyio.current_time() - heard > HEARTBEAT:
                        heard = anyio.current_time()
                        who, _ = await self._in_thread(partial(guard.identify, self.home, request, touch=False))
                        if who is None or not visit.known or who.grants != visit.who.grants:
                            return
                        yield ": here\n\n"
                    if snapshot is None:
                        continue
                    data = await self._in_thread(partial(live.render, snapshot, visit))
                    if data is not None:
                        yield "".join(f"data: {line}\n" for line in data.splitlines()) + "\n"
            finally:
                live.feed.leave()
                visit.end()

        visit.end()  # a stream that lives for hours keeps no reader; `render` leases one where it must
        return _Streaming(stack, events(), 200, {"x-accel-buffering": "no"}, "text/event-stream")

    # ── refusals ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _refused(
        self, door: Door, api: bool, request: Request, visit: Visit, refusal: Refusal, *, broken: bool = False
    ) -> Response:
        visit.end(broken=broken)
        if visit.noted.begun or (visit.known and _noteworthy(refusal)):  # strangers would fill the trail
            details = {"right": refusal.right, "channel": refusal.channel} if isinstance(refusal, Denied) else {}
            visit.note(**{name: value for name, value in details.items() if value})
            outcome = "failed" if refusal.status >= 500 or visit.noted.begun else "denied"
            with suppress(Exception):  # the refusal stands, whether or not it can be noted
                await self._in_thread(partial(self._note, door, visit, outcome))
        headers = {"retry-after": str(refusal.after)} if isinstance(refusal, TooMuch) else {}
        if api:
            return problem(refusal, headers)
        if isinstance(refusal, Unknown):
            return await self._to_login(request)
        context = self._context(request, visit) | {"refusal": refusal, "status": refusal.status}
        template = "_refusal.html" if "hx-request" in request.headers else "refusal.html"
        return HTMLResponse(self.rendering.render(template, **context), refusal.status, headers)

    async def _to_login(self, request: Request) -> Response:
        first = await self._in_thread(lambda: self.home.people.empty)
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        to = FIRST if first else f"{LOGIN}?next={quote(here, safe='')}" if request.method == "GET" and here != "/" else LOGIN
        if "hx-request" in request.headers:
            return Response(status_code=204, headers={"hx-redirect": LOGIN})
        if "text/event-stream" in request.headers.get("accept", ""):
            return Response(status_code=204)  # the browser asks no more
        return RedirectResponse(to, 303)


def problem(refusal: Refusal, headers: dict[str, str] | None = None) -> Response:
    """RFC 9457."""
    facts: dict[str, Any] = {"type": "about:blank", "title": refusal.title, "status": refusal.status, "detail": str(refusal)}
    if isinstance(refusal, Invalid):
        facts["problems"] = [{"field": name, "problem": text} for name, text in refusal.problems]
    if isinstance(refusal, Unknown):
        headers = {**(headers or {}), "www-authenticate": "Bearer"}
    return Response(TypeAdapter(Any).dump_json(facts), refusal.status, headers, "application/problem+json")


def _json(door: Door, answer: Any) -> bytes:
    model = answer.model if isinstance(answer, Shown) else answer
    if isinstance(model, BaseModel):
        return model.model_dump_json(by_alias=True).encode()
    return TypeAdapter(door.answer).dump_json(model, by_alias=True)


def _iterator(chunks: Iterable[bytes]) -> Generator[bytes]:
    yield from chunks


class _Streaming(StreamingResponse):
    """Ends `stack` when it has ended, however it did, and be it before the first byte."""

    def __init__(self, stack: ExitStack, *about: Any) -> None:
        super().__init__(*about)
        self._stack = stack

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        with self._stack:
            await super().__call__(scope, receive, send)


def _noteworthy(refusal: Refusal) -> bool:
    if isinstance(refusal, TooMuch) and refusal.again:
        return False
    return isinstance(refusal, Denied | NotFound | TooMuch) or refusal.status >= 500


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""


def _with_session(response: Result, secret: str | None) -> Result:
    """See `Done.session`."""
    assert isinstance(response, Response)
    if secret:
        response.set_cookie(guard.COOKIE, secret, path="/", secure=True, httponly=True, samesite="strict")
    elif secret == "":
        response.delete_cookie(guard.COOKIE, path="/", secure=True, httponly=True, samesite="strict")
    return response


def _origin(request: Request) -> str:
    """Where browsers find us. Beyond this machine it is always https, if need be by a proxy's doing (`Console` sees to it)."""
    host = request.headers.get("host", "")
    here = host.rpartition(":")[0] in HERE or host in HERE
    return f"{request.url.scheme if here else 'https'}://{host}"


def _where(error: BaseException) -> str:
    """The kind of a fault and where it happened; its text may quote anything."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return f"{type(error).__name__} at {frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else type(error).__name__


__all__ = ["API", "FIRST", "LOGIN", "Serving", "problem"]
