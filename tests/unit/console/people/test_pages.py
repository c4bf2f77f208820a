"""The pages of people, as a browser meets them."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyotp
import pytest

from engine.console.guard import COOKIE
from engine.console.people import Actor
from engine.console.people.oidc import OidcLogin
from engine.console.people.trail import Wanted, all_entries, verify
from engine.console.rights import Grant, Role
from tests.console import PASSWORD, Client, Opened, opened
from tests.unit.console.people.test_oidc import ISSUER, Faker, settings

ORIGIN = {"origin": "https://testserver"}
NEW = "another quartz bagpipe river"


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Opened]:
    with opened(tmp_path) as console:
        yield console


def trail(console: Opened, what: str = "") -> list[tuple[str, str, str, str]]:
    return [(row.who, row.what, row.object, row.outcome) for row in all_entries(console.people.database, Wanted(what=what))]


def shown(text: str, pattern: str) -> str:
    found = re.search(pattern, html.unescape(text))
    assert found is not None, text
    return found[1]


def post(browser: Any, path: str, **data: Any) -> Any:
    """Of somebody who is not logged in."""
    return browser.post(path, data=data, headers=ORIGIN)


def go_on(browser: Client, answer: Any) -> None:
    """The session has another cookie now."""
    browser._secret = shown(answer.headers["set-cookie"], f"{COOKIE}=([^;]+)")


# ── coming in ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_one_comes_in_by_the_token_and_only_once(console: Opened) -> None:
    browser = console.nobody()
    assert browser.get("/").headers["location"] == "/first"
    assert browser.get("/login").headers["location"] == "/first"
    assert "first-token" in browser.get("/first").text
    assert browser.get("/first?token=wrong").status_code == 403
    token = console.people.start()
    assert "first administrator" in browser.get(f"/first?token={token}").text
    answer = post(browser, "/first", token=token, name="Anna", display="Anna Bell", password="twelve chars", again="twelve chars")
    assert answer.status_code == 422
    assert "needs 15" in answer.text
    assert 'value="Anna"' in answer.text
    answer = post(browser, "/first", token=token, name="Anna", display="Anna Bell", password=PASSWORD, again=NEW)
    assert "another password" in answer.text
    answer = post(browser, "/first", token=token, name="Anna", display="Anna Bell", password=PASSWORD, again=PASSWORD)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert {part.strip().lower() for part in cookie.split(";")[1:]} == {"path=/", "secure", "httponly", "samesite=strict"}
    assert "Anna Bell" in browser.get("/account").text
    other = console.nobody()
    assert post(other, "/first", token=token, name="eve", password=PASSWORD, again=PASSWORD).status_code == 403
    assert other.get("/first").headers["location"] == "/login"
    assert [row[1] for row in trail(console)] == ["offer first login", "first login", "login"]


def test_logging_in_goes_where_one_wanted_to(console: Opened) -> None:
    console.let_in("ann", Grant(Role.ADMIN))
    browser = console.nobody()
    to = browser.get("/worklists/parked?mine=true").headers["location"]
    assert to == "/login?next=%2Fworklists%2Fparked%3Fmine%3Dtrue"
    page = browser.get(to).text
    answer = post(browser, "/login", name="ann", password="wrong", next=shown(page, 'name="next" value="([^"]*)"'))
    assert answer.status_code == 403
    assert "Name or password is not right" in answer.text
    assert 'value="ann"' in answer.text
    answer = post(browser, "/login", name="ann", password=PASSWORD, next="/worklists/parked?mine=true")
    assert answer.headers["location"] == "/worklists/parked?mine=true"
    assert browser.get("/login").headers["location"] == "/"


@pytest.mark.parametrize(
    "next",
    ["//evil.example.org", "/\\evil.example.org", "https://evil.example.org", "javascript:alert(1)", "/\r\nx: y", "/logout", ""],
)
def test_nobody_is_led_away_after_logging_in(console: Opened, next: str) -> None:
    console.let_in("ann", Grant(Role.ADMIN))
    assert post(console.nobody(), "/login", name="ann", password=PASSWORD, next=next).headers["location"] == "/"


def test_s09_too_many_attempts_are_told_to_wait(console: Opened) -> None:
    console.let_in("ann", Grant(Role.ADMIN))
    browser = console.nobody()
    codes = [post(browser, "/login", name="ann", password="wrong").status_code for _ in range(8)]
    assert codes == [403] * 5 + [429] * 3
    assert "wait" in post(browser, "/login", name="ann", password=PASSWORD).text


def test_s05_a_login_from_another_site_is_refused(console: Opened) -> None:
    console.let_in("ann", Grant(Role.ADMIN))
    browser = console.nobody()
    answer = browser.post("/login", data={"name": "ann", "password": PASSWORD}, headers={"origin": "https://evil.example.org"})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_s08_an_old_cookie_is_worth_nothing_after_logging_out(console: Opened) -> None:
    browser = console.as_("viewer")
    old = browser.http.cookies[COOKIE]
    browser.post("/logout")
    again = console.nobody()
    again.cookies.set(COOKIE, old, domain="testserver", path="/")
    assert again.get("/account").headers["location"].startswith("/login")


def test_what_is_typed_is_shown_again_escaped(console: Opened) -> None:
    console.let_in("ann", Grant(Role.ADMIN))
    attack = '"><script>alert(1)</script>'
    assert "<script>alert" not in post(console.nobody(), "/login", name=attack, password="x", next=attack).text
    admin = console.as_("admin")
    assert (
        "<script>alert"
        not in admin.post("/people", {"name": attack, "display": attack, "role": "viewer", "channels": attack}).text
    )


# ── one's own account ──────────────────────────────────────────────────────────────────────────────────────────────


def enrol(console: Opened, browser: Client) -> tuple[str, list[str]]:
    assert browser.post("/account/totp/begin", {"password": PASSWORD}).headers["location"] == "/account/totp"
    page = browser.get("/account/totp").text
    assert '<path d="M' in page
    secret = shown(page, "<code>([A-Z2-7]{32})</code>")
    assert browser.post("/account/totp", {"code": "12"}).status_code == 422
    answer = browser.post("/account/totp", {"code": pyotp.TOTP(secret).now()})
    assert answer.status_code == 200
    go_on(browser, answer)
    return secret, re.findall(r"<li>([A-Z2-7-]{19})</li>", answer.text)


def test_s11_a_second_factor_from_setting_it_up_to_logging_in(console: Opened) -> None:
    browser = console.as_("operator", name="ann")
    assert "not your password" in browser.post("/account/totp/begin", {"password": "wrong"}).text
    secret, codes = enrol(console, browser)
    assert len(codes) == 10
    assert "10 recovery codes" in browser.get("/account").text
    other = console.nobody()
    page = post(other, "/login", name="ann", password=PASSWORD, next="/help")
    assert "set-cookie" not in page.headers
    ticket = shown(page.text, 'name="ticket" value="([^"]+)"')
    assert (
        post(other, "/login/code", ticket=ticket, code=pyotp.TOTP(secret).now(), next="/help").status_code == 403
    )  # it was used
    answer = post(other, "/login/code", ticket=ticket, code=codes[0], next="/help")
    assert answer.headers["location"] == "/help"
    assert "9 recovery codes" in other.get("/account").text
    assert browser.post("/account/totp/forget", {"password": PASSWORD}).status_code == 303
    assert post(console.nobody(), "/login", name="ann", password=PASSWORD).status_code == 303


def test_who_must_have_a_second_factor_is_led_to_it(console: Opened) -> None:
    console.let_in("ann", Grant(Role.ADMIN))
    link = console.people.persons.add(Actor("ann", "local"), "bob", "", (Grant(Role.OPERATOR),), True)
    browser = console.nobody()
    assert post(browser, "/first", token=link, password=PASSWORD, again=PASSWORD).headers["location"] == "/account"
    assert "before you can do anything else" in browser.get("/account").text
    assert browser.get("/worklists").status_code == 403


def test_a_page_shown_with_a_new_session_goes_on_with_it(console: Opened) -> None:
    browser = console.as_("operator", name="ann")
    browser.post("/account/totp/begin", {"password": PASSWORD})
    secret = shown(browser.get("/account/totp").text, "<code>([A-Z2-7]{32})</code>")
    page = browser.post("/account/totp", {"code": pyotp.TOTP(secret).now()}).text
    csrf = shown(page, 'name="csrf" value="([^"]+)"')
    assert browser.http.post("/logout", data={"csrf": csrf}, headers=ORIGIN).status_code == 303


def test_changing_the_password(console: Opened) -> None:
    browser, other = console.as_("viewer", name="ann"), console.nobody()
    post(other, "/login", name="ann", password=PASSWORD)
    assert "needs 15" in browser.post("/account/password", {"password": PASSWORD, "new": "short", "again": "short"}).text
    assert browser.post("/account/password", {"password": PASSWORD, "new": NEW, "again": NEW}).status_code == 303
    assert "other sessions have ended" in browser.get("/account").text
    assert other.get("/account").status_code == 303
    assert ("ann", "choose password", "ann", "ok") in trail(console)


def test_sessions_are_listed_and_ended(console: Opened) -> None:
    browser, other = console.as_("viewer", name="ann"), console.nobody()
    post(other, "/login", name="ann", password=PASSWORD)
    page = browser.get("/account").text
    assert "this one" in page
    browser.post("/account/sessions/end", {"id": shown(page, 'name="id" value="([0-9a-f]+)"')})
    assert other.get("/account").status_code == 303
    post(other, "/login", name="ann", password=PASSWORD)
    browser.post("/account/sessions/end-others")
    assert other.get("/account").status_code == 303
    assert browser.get("/account").status_code == 200


def test_s13_a_token_is_made_shown_once_used_and_revoked(console: Opened) -> None:
    browser = console.as_("analyst", name="ann")
    made = browser.post(
        "/account/tokens", {"label": "night report", "rights": ["see"], "channels": "*", "days": "30", "password": PASSWORD}
    )
    secret = shown(made.text, "<code>(wl_[^<]+)</code>")
    assert secret not in browser.get("/account").text
    program = console.nobody()
    program.headers["authorization"] = f"Bearer {secret}"
    assert program.get("/api/v1/account").json()["name"] == "ann"
    assert program.post("/api/v1/glass").status_code in (404, 405)
    assert "wrong" not in browser.post("/account/tokens", {"label": "x", "rights": ["people"], "password": PASSWORD}).text
    browser.post("/account/tokens/revoke", {"prefix": secret[:11]})
    assert program.get("/api/v1/account").status_code == 401
    assert ("ann", "make token", secret[:11], "ok") in trail(console)
    assert secret.encode() not in b"".join(
        path.read_bytes() for path in (console.directory / ".wardline").iterdir() if path.is_file()
    )


def test_themes_stay(console: Opened) -> None:
    browser = console.as_("viewer")
    assert browser.post("/account/theme", {"theme": "dark"}).status_code == 303
    assert 'data-theme="dark"' in browser.get("/account").text
    assert browser.post("/account/theme", {"theme": "'"}).status_code == 422


# ── people ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_somebody_is_added_comes_in_is_changed_and_disabled(console: Opened) -> None:
    admin = console.as_("admin", name="boss")
    form = {"name": "bob", "display": "Bob Lane", "role": ["operator", "viewer", ""], "channels": ["lab*", "*", "*"]}
    page = admin.post("/people", form)
    link = shown(page.text, "<code>(https://testserver/first[^<]+)</code>")
    assert "invited" in admin.get("/people").text
    browser = console.nobody()
    assert "Welcome, Bob Lane" in browser.get(link).text
    assert (
        post(browser, "/first", token=link.partition("token=")[2], password=PASSWORD, again=PASSWORD).headers["location"] == "/"
    )
    assert console.people.persons.one("bob").grants == (Grant(Role.OPERATOR, "lab*"), Grant(Role.VIEWER, "*"))
    assert "already" in admin.post("/people", form).text
    assert admin.post("/people/bob", {"display": "Bob", "role": ["auditor", ""], "channels": ["*", ""]}).status_code == 303
    assert browser.get("/account").status_code == 303  # other rights: the session has ended
    assert console.people.persons.one("bob").grants == (Grant(Role.AUDITOR),)
    page = admin.post("/people/bob/reset")
    assert "/first?token=" in page.text
    for what in ("disable", "enable", "logout"):
        assert admin.post(f"/people/bob/{what}").status_code == 303
    assert admin.get("/people/bob").status_code == 200
    assert admin.get("/people/eve").status_code == 404
    assert admin.post("/people/bob", {"role": ["king"], "channels": ["*"]}).status_code == 422
    assert "Somebody must be left" in admin.post("/people/boss/disable").text
    told = [row for row in trail(console) if row[0] == "boss" and row[3] == "ok"]
    assert [what for _, what, object_, _ in told if object_ == "bob"] == [
        "add person", "change person", "reset person", "disable person", "enable person", "logout everywhere", "view person",
    ]  # fmt: skip
    assert ("boss", "disable person", "boss", "denied") not in trail(console, "login")


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMIN])
def test_only_admins_let_people_in(console: Opened, role: Role) -> None:
    browser = console.as_(role)
    for path in ("/people", "/tokens", "/people/ann"):
        assert browser.get(path).status_code == 403
    for path in ("/people", "/tokens", "/people/ann", "/people/ann/reset", "/people/ann/disable", "/tokens/revoke"):
        assert browser.post(path, {"name": "eve", "prefix": "x"}).status_code == 403
    assert ("denied" in {row[3] for row in trail(console, "add person")}) is True


def test_an_admin_of_some_channels_lets_nobody_in(console: Opened) -> None:
    assert console.as_("admin", channels="lab*").get("/people").status_code == 403


def test_no_token_lets_people_in(console: Opened) -> None:
    program = console.token("admin")
    assert program.get("/api/v1/people").status_code == 403
    assert program.post("/api/v1/people", json={"name": "eve", "role": ["admin"], "channels": ["*"]}).status_code == 403


def test_a_token_of_a_service(console: Opened) -> None:
    admin = console.as_("admin")
    made = admin.post("/tokens", {"label": "monitoring", "rights": ["see"], "channels": "*", "days": "365"})
    secret = shown(made.text, "<code>(wl_[^<]+)</code>")
    program = console.nobody()
    program.headers["authorization"] = f"Bearer {secret}"
    assert program.get("/api/v1/account").json()["name"] == "service monitoring"
    assert "monitoring" in admin.get("/tokens").text
    admin.post("/tokens/revoke", {"prefix": secret[:11]})
    assert program.get("/api/v1/account").status_code == 401
    assert "Say what it may" in admin.post("/tokens", {"label": "x"}).text


# ── broken glass ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_s48_a_viewer_breaks_the_glass_reads_and_mends_it(console: Opened) -> None:
    message = console.sample("charges", sorted(path.name for path in (console.directory / "samples" / "hl7v2").glob("dft*"))[0])
    from engine.ids import format_id

    path = f"/messages/{format_id(message)}/raw"
    browser = console.as_("viewer", name="vic")
    refused = browser.get(path)
    assert refused.status_code == 403
    assert "/glass?channels=charges" in refused.text
    page = browser.get("/glass?channels=charges").text
    assert re.search(r"<option selected>charges", page)
    assert "Say why" in browser.post("/glass", {"channel": "charges", "reason": "short"}).text
    answer = browser.post("/glass", {"channel": "charges", "reason": "Potassium is missing in the ER", "next": path})
    assert answer.headers["location"] == path
    go_on(browser, answer)
    assert browser.get(path).status_code == 200
    assert "Glass is broken" in browser.get("/help").text
    assert "Potassium" in console.as_("auditor").get("/glass").text
    assert "Potassium" not in console.as_("viewer").get("/glass").text
    number = shown(browser.get("/glass").text, 'name="id" value="([0-9]+)"')
    other = console.as_("viewer")
    assert other.post("/glass/end", {"id": number}).status_code == 403
    assert browser.post("/glass/end", {"id": number}).status_code == 303
    assert browser.get(path).status_code == 403
    assert [row[1:] for row in trail(console) if row[0] == "vic" and row[1] in ("break glass", "mend glass")] == [
        ("break glass", "charges", "ok"), ("mend glass", "charges", "ok"),
    ]  # fmt: skip


def test_glass_of_channels_that_one_may_not_see_stays_whole(console: Opened) -> None:
    browser = console.as_("viewer", channels="lab*")
    assert browser.post("/glass", {"channel": "charges", "reason": "I would like to know"}).status_code == 403
    assert "charges" not in browser.get("/glass").text


# ── the trail ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_s47_the_trail_is_searched_verified_and_exported(console: Opened) -> None:
    console.as_("viewer", name="vic").get("/glass")
    auditor = console.as_("auditor", name="max")
    page = auditor.get("/audit?who=vic&what=view*").text
    assert "view broken glass" in page
    assert auditor.get("/audit?since=never").status_code == 422
    found = auditor.get("/api/v1/audit?limit=2").json()
    assert len(found["rows"]) == 2
    assert found["older"] == found["rows"][-1]["seq"]
    assert auditor.get(f"/audit?before={found['older']}").status_code == 200
    lines = auditor.get("/api/v1/audit/export?who=vic").text.splitlines()
    assert {json.loads(line)["who"] for line in lines} == {"vic"}
    page = auditor.get("/audit/verify").text
    assert "The trail is whole" in page
    assert verify(console.people.database).sound
    assert [row[1] for row in trail(console) if row[0] == "max"] == [
        "choose password",
        "login",
        "view audit",
        "view audit",
        "view audit",
        "export audit",
        "verify audit",
    ]


def test_a_broken_trail_is_shown_and_said(console: Opened) -> None:
    auditor = console.as_("auditor")
    with console.people.database.locked(), console.people.database.transaction() as connection:
        connection.exec_driver_sql("UPDATE audit SET at = 'x', details = '<b>' WHERE seq = 2")
    page = auditor.get("/audit/verify").text
    assert "The trail is broken" in page
    assert "row 2 was changed" in page
    assert auditor.get("/audit").status_code == 200


@pytest.mark.parametrize("role", [Role.VIEWER, Role.ANALYST, Role.OPERATOR])
def test_the_trail_is_for_auditors(console: Opened, role: Role) -> None:
    for path in ("/audit", "/audit/verify", "/api/v1/audit/export"):
        assert console.as_(role).get(path).status_code == 403
    assert console.as_("auditor", channels="lab*").get("/audit").status_code == 403


# ── a login provider ───────────────────────────────────────────────────────────────────────────────────────────────


def test_logging_in_at_a_provider_as_a_browser_does(console: Opened) -> None:
    from urllib.parse import parse_qsl, urlsplit

    class Site:
        @property
        def now(self) -> int:
            return console.people._core.now()

    console.let_in("ann", Grant(Role.ADMIN))
    faker = Faker(Site())  # type: ignore[arg-type]
    console.people.oidc = OidcLogin(console.people._core, console.people.sessions, settings(), faker)
    browser = console.nobody()
    assert "Single sign-on" in browser.get("/login").text
    answer = browser.get("/login/oidc")
    assert answer.headers["location"].startswith(f"{ISSUER}/auth?")
    query = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
    assert query["redirect_uri"] == "https://testserver/login/oidc/back"
    faker.nonce = query["nonce"]
    back = browser.get(
        "/login/oidc/back", params={"code": "c", "state": query["state"], "session_state": "of Keycloak", "iss": ISSUER}
    )
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', html.unescape(back.text)))
    thief = console.nobody()
    assert post(thief, "/login/oidc", **fields).status_code == 403
    answer = post(browser, "/login/oidc", **fields)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    page = browser.get("/account").text
    assert "Logs in at" in page
    assert ISSUER in page
    assert "anna@login.example.org" in console.as_("admin").get("/people").text
    assert console.as_("admin").get("/people/anna@login.example.org").status_code == 200
