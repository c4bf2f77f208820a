"""The console as an attacker meets it: a person of low role, another site in an admin's browser, a stranger on the network.

What `test_matrix.py` (who gets through which door), `test_every_page.py` and `people/` do not look at already.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from engine.console import guard, patience, reading, serving
from engine.console.doors import API, doors
from engine.console.guard import COOKIE
from engine.console.people.trail import Wanted, entries
from tests.campaign.api import filled, unhurried
from tests.console import PASSWORD, Client, Opened

TRAVERSALS = [
    f"{before}{step * depth}{target}"
    for before in ("", "channels/", "/", "%2f")
    for step in ("../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..%5c", "....//", "..%c0%af", "%252e%252e%252f", "..;/")
    for depth in (1, 3, 8)
    for target in ("etc/passwd", ".wardline/console.db")
]


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Opened]:
    with filled(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """For what changes nothing."""
    with filled(tmp_path_factory.mktemp("security")) as made, unhurried():
        yield made


def rows(console: Opened, what: str) -> list[Any]:
    return entries(console.people.database, Wanted(what=what), limit=1000)


# ── other people's channels, and what bodies hold ──────────────────────────────────────────────────────────────────


def test_the_workbench_shows_no_mapping_of_a_channel_that_one_may_not_see(shared: Opened) -> None:
    analyst = shared.token("analyst", channels="adt")
    bench = analyst.get(f"{API}/workbench", params={"file": "mappings/dft-to-charge.yaml"}).json()
    assert "mappings/dft-to-charge.yaml" not in bench["files"]
    assert "dft-to-charge" not in str(bench["chains"])
    assert "FT1" not in bench["text"]
    for path in ("try", "test"):
        answer = analyst.post(f"{API}/workbench/{path}", json={"chain": "dft-to-charge", "content": ""})
        assert answer.status_code == 422
        given = {"chain": "adt-to-patient", "file": "mappings/dft-to-charge.yaml", "text": "x: 1"}
        assert analyst.post(f"{API}/workbench/{path}", json=given).status_code == 422
    assert "FT1" in shared.token("analyst").get(f"{API}/workbench", params={"file": "mappings/dft-to-charge.yaml"}).json()["text"]


def test_what_is_made_of_bodies_is_for_those_who_may_read_them(console: Opened) -> None:
    """Order keys, idempotency keys and the values in somebody's search: each may be a patient's number."""
    operator, viewer = console.token("operator"), console.token("viewer")
    found = operator.get(f"{API}/messages", params={"q": "channel:charges state:translated"}).json()["messages"]
    assert found
    number = found[0]["id"]
    read, seen = (one.get(f"{API}/messages/{number}").json()["deliveries"][0] for one in (operator, viewer))
    assert read["order_keys"]
    assert (seen["order_keys"], seen["idempotency_key"]) == ([], "")
    value = next(key["value"] for key in found[0]["keys"] if key["name"] == "account")
    plan = operator.get(f"{API}/plans/new", params={"verb": "replay", "q": f"account:{value}"}).json()
    theirs = viewer.get(f"{API}/plans/{plan['name']}").json()
    assert (plan["q"], theirs["q"]) == (f"account:{value}", "")
    operator.post(f"{API}/plans/{plan['name']}", json={"sure": True})
    assert viewer.get(f"{API}/jobs/{plan['name']}").json()["asked"] == ""
    assert console.token("operator").get(f"{API}/jobs/{plan['name']}").json()["asked"] == f"account:{value}"
    assert value not in viewer.get(f"{API}/messages", params={"q": "channel:charges"}).text
    assert value not in viewer.get(f"{API}/messages/export", params={"q": "channel:charges"}).text


def test_a_destination_is_listed_for_those_who_see_all_that_deliver_to_it(shared: Opened) -> None:
    users = {name: sorted(channels) for name, channels in shared.home.site().users.items()}
    one = shared.token("viewer", channels="adt").get(f"{API}/destinations", params={"everything": "true"}).json()
    assert {line["name"] for line in one} == {name for name, channels in users.items() if channels == ["adt"]}
    everybody = shared.token("viewer").get(f"{API}/destinations", params={"everything": "true"}).json()
    assert {line["name"] for line in everybody} == {name for name, channels in users.items() if channels}


def test_nobody_is_told_of_destinations_that_their_channels_do_not_know(shared: Opened) -> None:
    viewer = shared.as_("viewer", channels="results")
    offered = viewer.get(f"{API}/messages/complete", params={"begun": "destination:"}).json()
    assert [one["text"] for one in offered] == ["destination:lis", "destination:warehouse"]
    assert "billing-api" not in viewer.get("/messages").text
    everything = shared.as_("viewer").get(f"{API}/messages/complete", params={"begun": "-destination:lis,bill"}).json()
    assert [one["text"] for one in everything] == ["-destination:lis,billing-api"]


def test_s17_no_path_leads_out(shared: Opened) -> None:
    """Every spelling at two of the addresses that take a name."""
    client = shared.as_("admin")
    pages = ("/site/files/", "/static/", "/worklists/codes/", "/jobs/", "/plans/")
    queries = ("site/file?name=", "site/diff?before=", "workbench?sample=", "workbench?file=mappings/")
    wrong = []
    for number, text in enumerate(TRAVERSALS):
        page = client.get(f"{pages[number % 5]}{text}")
        asked = client.get(f"{API}/{queries[number // 5 % 4]}{text}")
        if page.status_code in (200, 500) or asked.status_code >= 500:
            wrong.append(f"{page.url} {page.status_code}, {asked.url} {asked.status_code}")
        wrong += [f"{one.url} leads out" for one in (page, asked) if b"root:" in one.content or b"SQLite format" in one.content]
    assert wrong == []


@pytest.mark.parametrize(
    "payload", ["'", "' OR '1'='1", "%' OR 1=1 --", "\\' UNION SELECT 1 --", "a') OR ('1'='1", "_%", "[^a]*"]
)
def test_s15_what_is_searched_for_is_a_value(shared: Opened, payload: str) -> None:
    client = shared.token("admin")
    quoted = payload.replace('"', '""')
    for key in ("control", "type", "mrn", "account", "visit"):
        answer = client.get(f"{API}/messages", params={"q": f'{key}:"{quoted}"'})
        assert (answer.status_code, answer.json().get("messages")) == (200, []), answer.text
    for key in ("who", "what", "object", "outcome"):
        assert client.get(f"{API}/audit", params={key: payload}).json()["rows"] == []


def test_s51_what_one_may_not_see_is_as_if_it_were_not(shared: Opened) -> None:
    theirs = shared.token("viewer", channels="results")
    hidden = shared.token("admin").get(f"{API}/messages", params={"q": "channel:adt"}).json()["messages"][0]["id"]
    for path in ("", "/siblings", "/raw", "/diff", "/stages/in", "/copies/new"):
        real, none = (theirs.get(f"{API}/messages/{number}{path}") for number in (hidden, "ZZZZZZZZZZ"))
        assert (real.status_code, none.status_code) == (404, 404), path
    assert theirs.get(f"{API}/channels/adt").json() == theirs.get(f"{API}/channels/nothing").json()


# ── the audit trail ────────────────────────────────────────────────────────────────────────────────────────────────


def test_strangers_do_not_fill_the_trail(console: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither from another site's page nor by asking too often."""
    before = console.people.audit.head().seq
    nobody = console.nobody()
    monkeypatch.setattr(guard, "BURST", 30.0)
    monkeypatch.setattr(guard, "PER_SECOND", 0.0)
    found = [nobody.post("/login", data={}, headers={"origin": "https://evil.example"}).status_code for _ in range(40)]
    assert found == [403] * 30 + [429] * 10
    assert console.people.audit.head().seq == before


def test_whoever_asks_too_often_is_noted_once(console: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BURST", 3.0)
    monkeypatch.setattr(guard, "PER_SECOND", 0.0)
    program = console.token("viewer")
    found = [program.get(f"{API}/channels").status_code for _ in range(20)]
    assert found == [200] * 3 + [429] * 17
    assert [row.outcome for row in rows(console, "list channels")] == ["denied", "ok", "ok", "ok"]


def test_what_was_not_done_is_not_noted_as_done(console: Opened) -> None:
    (table,) = {one["table"] for one in console.token("admin").get(f"{API}/codes").json()["codes"]}
    admin = console.as_("admin")
    for send in (
        lambda: admin.post(f"/worklists/codes/{table}", {"value": "X", "column": ["nonsense"], "cell": ["1"]}),
        lambda: console.token("admin").post(f"{API}/codes/{table}", json={"value": "X", "column": ["nonsense"], "cell": ["1"]}),
    ):
        before = len(rows(console, "add a code"))
        assert send().status_code == 422
        fresh = rows(console, "add a code")[: len(rows(console, "add a code")) - before]
        assert [row.outcome for row in fresh] == ["failed", "begun"]


# ── sessions ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_s08_logging_in_again_ends_the_session_that_the_browser_had(console: Opened) -> None:
    client: Client = console.as_("viewer", name="vera")
    old = client.http.cookies[COOKIE]
    answer = client.post("/login", {"name": "vera", "password": PASSWORD})
    assert answer.status_code == 303
    assert console.people.session(old) is None
    cookie = answer.headers["set-cookie"]
    assert all(flag in cookie for flag in ("HttpOnly", "Secure", "SameSite=strict", "Path=/"))
    assert "domain" not in cookie.lower()


def test_s52_a_stream_ends_with_its_session(console: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "HEARTBEAT", 0.0)
    secret = console.let_in("vera", *_viewer())
    who = console.people.session(secret)
    assert who is not None
    sent: list[bytes] = []

    async def stream() -> None:
        begun = anyio.Event()

        async def send(message: dict[str, Any]) -> None:
            sent.append(message.get("body", b""))
            begun.set()

        async def log_out() -> None:
            await begun.wait()
            await anyio.to_thread.run_sync(lambda: console.people.sessions.logout(who))

        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(log_out)
                await console.app(_scope("/dashboard/live", secret), _never, send)
                group.cancel_scope.cancel()

    anyio.run(stream)
    assert sent


def _viewer() -> Any:
    from engine.console.rights import Grant, Role

    return (Grant(Role.VIEWER),)


# ── how much of one attacker goes on ───────────────────────────────────────────────────────────────────────────────


def _scope(path: str, secret: str, query: str = "") -> dict[str, Any]:
    headers = [(b"host", b"testserver"), (b"cookie", f"{COOKIE}={secret}".encode())]
    return {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": "GET", "scheme": "https",
        "path": path, "raw_path": path.encode(), "query_string": query.encode(), "headers": headers, "root_path": "",
        "client": ("10.0.0.1", 5), "server": ("testserver", 443), "state": {},
    }  # fmt: skip


async def _never() -> dict[str, Any]:
    await anyio.sleep_forever()
    raise AssertionError


def test_s53_a_download_is_under_way_until_its_last_byte_has_left(console: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens exports and does not read them takes what is theirs, and no more; whoever goes away leaves nothing behind."""
    monkeypatch.setattr(guard, "IN_FLIGHT", 3)
    secret = console.let_in("vera", *_viewer())
    statuses: list[int] = []

    async def gone(message: dict[str, Any]) -> None:
        raise OSError("the browser has gone")

    def slow(reads: anyio.Event, arrived: list[anyio.Event]) -> Callable[[dict[str, Any]], Awaitable[None]]:
        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
                arrived.pop().set()
            await reads.wait()

        return send

    async def attack() -> None:
        for _ in range(10):
            with anyio.move_on_after(30), pytest.raises(Exception):  # noqa: B017, PT011 - whatever the framework says
                await console.app(_scope("/messages/export", secret), _never, gone)
        reads = anyio.Event()
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                for _ in range(4):
                    arrived = anyio.Event()
                    group.start_soon(console.app, _scope("/messages/export", secret), _never, slow(reads, [arrived]))
                    await arrived.wait()
                reads.set()
            arrived = anyio.Event()
            await console.app(_scope("/messages/export", secret), _never, slow(reads, [arrived]))

    anyio.run(attack)
    assert statuses == [200, 200, 200, 429, 200]


def test_who_knocks_does_not_take_the_threads_of_those_who_are_in(console: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each login takes its time and memory for the password, right or wrong."""
    go, statuses = threading.Event(), list[int]()
    right = type(console.people._core.passwords).right

    def waiting(self: Any, kept: str | None, password: str) -> bool:
        go.wait(60)
        return right(self, kept, password)

    secret = console.let_in("vera", *_viewer())
    monkeypatch.setattr(type(console.people._core.passwords), "right", waiting)

    async def knock(number: int) -> None:
        body = f"name=n{number}&password=x".encode()
        scope = _scope("/login", "") | {"method": "POST", "client": (f"10.0.0.{number}", 5)}
        scope["headers"] = [(b"host", b"testserver"), (b"content-type", b"application/x-www-form-urlencoded")]
        said = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            return said.pop() if said else await _never()

        await console.app(scope, receive, answer)

    async def answer(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def attack() -> None:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                for number in range(serving.THREADS * 2):
                    group.start_soon(knock, number)
                await anyio.wait_all_tasks_blocked()
                await console.app(_scope(f"{API}/channels", secret), _never, answer)
                assert statuses == [200]
                go.set()

    anyio.run(attack)
    assert statuses[1:] == [403] * serving.THREADS * 2


def test_plans_that_nobody_agrees_to_have_a_bound(console: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.operations import jobs

    monkeypatch.setattr(jobs, "MOST", 3)
    program = console.token("operator")
    found = program.get(f"{API}/messages", params={"q": "state:translated"}).json()["messages"]
    answers = [program.get(f"{API}/plans/new", params={"verb": "replay", "id": one["id"]}) for one in found]
    assert len({answer.json().get("name") for answer in answers[:3]} - {""}) == 3
    assert [answer.status_code for answer in answers[3:5]] == [400, 400]
    assert console.token("operator").get(f"{API}/plans/new", params={"verb": "replay", "id": found[3]["id"]}).status_code == 200


def test_s62_a_row_is_added_once_by_many_at_once(console: Opened) -> None:
    program = console.token("admin")
    code = program.get(f"{API}/codes").json()["codes"][0]
    page = program.get(f"{API}/codes/{code['table']}", params={"value": code["value"]}).json()
    cells = [column["cell"] or "X" if not column["optional"] else "" for column in page["columns"]]
    row = {"value": code["value"], "column": [one["name"] for one in page["columns"]], "cell": cells, "print": page["print"]}
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: program.post(f"{API}/codes/{code['table']}", json=row).status_code, range(6)))
    assert sorted(answers) == [201, *[409] * 5]


def test_a_body_that_does_not_come_is_not_waited_for(console: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "WITHIN", 0.01)
    found: list[int] = []

    async def send(message: dict[str, Any]) -> None:
        found.append(message.get("status", 0))

    async def post() -> None:
        scope = _scope("/login", "") | {"method": "POST"}
        with anyio.fail_after(30):
            await console.app(scope, _never, send)

    anyio.run(post)
    assert found[0] == 408


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server of the console's kind, that waits for a head a tenth of a second."""
    import uvicorn

    async def answer(request: Any) -> Any:
        return PlainTextResponse("here")

    monkeypatch.setattr(patience, "HEAD", 0.1)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        Starlette(routes=[Route("/", answer)]),
        http=patience.Patience,
        ws="none",
        log_config=None,
        h11_max_incomplete_event_size=4096,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: server.run([listener]), daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(30)


def _heard(connection: socket.socket) -> bytes:
    connection.settimeout(30)
    found = b""
    while some := connection.recv(4096):
        found += some
    return found


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /again"])
def test_s29_a_connection_that_says_nothing_more_is_closed(port: int, said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(said)
        assert _heard(connection).endswith(b"here" if b"again" in said else b"")


def test_s30_a_head_without_end_is_refused(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nx: " + b"a" * 8192)
        assert _heard(connection).startswith(b"HTTP/1.1 400")


# ── what a browser does with a file ────────────────────────────────────────────────────────────────────────────────


def test_s04_a_file_is_for_keeping_and_does_nothing_if_it_is_opened(shared: Opened) -> None:
    client = shared.as_("admin")
    number = client.get(f"{API}/messages").json()["messages"][0]["id"]
    for path in (f"/messages/{number}/raw", "/messages/export", "/audit/export"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-disposition"].startswith("attachment; filename=")
        assert "sandbox" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "html" not in answer.headers["content-type"]


def test_s02_s03_s06_every_answer_of_every_door_has_its_headers(shared: Opened) -> None:
    client = shared.nobody()
    for door in doors():
        for path in {door.path, door.api and API + door.api} - {""}:
            answer = client.request(door.method, path.replace("{", "").replace("}", "").replace(":path", ""))
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["referrer-policy"] == "same-origin"
            assert answer.headers["cross-origin-opener-policy"] == "same-origin"
            assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/login", "/first", "/health", f"{API}/channels", f"{API}/messages/x", "/messages/form"])
def test_s43_strangers_learn_neither_paths_nor_release(console: Opened, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine import __version__
    from engine.errors import StoreError

    def broken(*about: Any, **more: Any) -> Any:
        raise StoreError(f"{console.directory}/.wardline/console.db cannot be read")

    monkeypatch.setattr(type(console.people.persons), "headless", property(broken))
    monkeypatch.setattr(type(console.people.persons), "empty", property(broken))
    text = console.nobody().get(path).text
    assert str(console.directory) not in text
    assert __version__ not in text
