"""Logging in at an OpenID Connect provider: the authorization code flow with PKCE, state and nonce.

Nothing is kept here while somebody is at the provider. A random seed goes into the browser's cookie; state, nonce and PKCE's
verifier are made from it, so that what comes back fits this browser or nothing. The provider is asked for its discovery
document and keys at most once an hour, and sooner only for a key that is not known yet.
"""

from __future__ import annotations

import hmac
import re
import threading
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple
from urllib.parse import quote_plus, urlencode, urlsplit

from sqlalchemy import select, update

from engine.config.files import Oidc
from engine.console.answers import Away
from engine.console.people import schema
from engine.console.people.audit import Actor, Recording
from engine.console.people.core import HOUR, MINUTE, SECOND, Core, NotLetIn, dump_grants, load_grants
from engine.console.people.fetch import Fetch, fetch
from engine.console.people.persons import fit_display, make, spoken
from engine.console.people.sessions import Sessions
from engine.console.rights import Grant, Role

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures that only the provider can make; never `none`, never a shared secret."""

SKEW: Final = 60  # seconds by which clocks may differ
KEEP: Final = HOUR
AGAIN: Final = MINUTE  # between two looks for a new key
_SEED: Final = re.compile(r"oidc-[A-Za-z0-9_-]{43}")


class Begun(NamedTuple):
    url: str  # where the browser goes
    cookie: str  # what it is to bring back


class OidcLogin:
    def __init__(self, core: Core, sessions: Sessions, settings: Oidc, ask: Fetch = fetch) -> None:
        self._core, self._sessions, self._settings = core, sessions, settings
        self._provider = Provider(settings, ask, core.now)

    @property
    def label(self) -> str:
        """What the button says."""
        return self._settings.label

    def begin(self, redirect_uri: str) -> Begun:
        """Raises Away."""
        cookie = f"oidc-{self._core.secret()}"
        return Begun(self._provider.authorization(cookie, redirect_uri), cookie)

    def finish(self, answered: Mapping[str, str], cookie: str, redirect_uri: str, peer: str, agent: str = "") -> str:
        """A session's cookie, for what the provider sent the browser back with (`code`, `state`, `iss`, or `error`).

        Raises NotLetIn, Away.
        """
        try:
            claims = self._claims(answered, cookie, redirect_uri)
            grants = self._grants(claims)
        except NotLetIn as error:
            self._core.audit.write("", peer, "login", "", "denied", {"by": "oidc", "why": str(error)})
            raise
        except Away as error:
            self._core.audit.write("", peer, "login", "", "failed", {"by": "oidc", "why": str(error)})
            raise
        name = self._name(claims)
        with self._core.audit.recording() as recording:
            person, disabled, name = self._person(recording, claims, name, grants)
            if disabled:
                recording.note(Actor(name, peer), "login", name, "denied", {"by": "oidc", "why": "disabled"})
            else:
                cookie, identity = self._sessions.open(recording.connection, person, recording.at, peer, agent)
                recording.note(Actor(name, f"session {identity}"), "login", name, details={"by": "oidc", "from": peer})
        if disabled:
            raise NotLetIn("You are known here, and not let in any more: ask whoever looks after this console.")
        return cookie

    def _claims(self, answered: Mapping[str, str], cookie: str, redirect_uri: str) -> dict[str, Any]:
        if not _SEED.fullmatch(cookie) or not hmac.compare_digest(_made("state", cookie), answered.get("state", "")):
            raise NotLetIn("This login was not begun in this browser, or too long ago: begin again.")
        if "iss" in answered and answered["iss"] != self._settings.issuer:
            raise NotLetIn("This answer is from another provider than the one that was asked.")
        if "error" in answered or not answered.get("code"):
            raise NotLetIn("The provider has not let you in.")
        return self._provider.claims(answered["code"], cookie, redirect_uri)

    def _grants(self, claims: Mapping[str, Any]) -> tuple[Grant, ...]:
        """What the settings give for what the provider says somebody is. Raises NotLetIn for nothing at all."""
        value = claims.get(self._settings.claim)
        values = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        found: dict[Grant, None] = {}
        for one in values:
            for role, channels in self._settings.grants.get(one, {}).items() if isinstance(one, str) else ():
                for pattern in [channels] if isinstance(channels, str) else channels:
                    found[Grant(Role(role), pattern)] = None
        if not found:
            text = f"You are known at {self._settings.label}, and have no rights here: no '{self._settings.claim}' of yours is in"
            raise NotLetIn(f"{text} grants: of conf/engine.yaml.")
        return tuple(found)

    def _name(self, claims: Mapping[str, Any]) -> str:
        """`anna@login.example.org`: who somebody is there. Names of our own have no @, so nobody is taken for somebody else."""
        said = claims.get("preferred_username") or claims.get("email") or claims["sub"]
        local = re.sub(r"[^a-z0-9._-]", "-", str(said).partition("@")[0].casefold())[:40] or "-"
        return f"{local}@{urlsplit(self._settings.issuer).hostname}"

    def _person(
        self, recording: Recording, claims: Mapping[str, Any], name: str, grants: tuple[Grant, ...]
    ) -> tuple[int, bool, str]:
        """The row of issuer and subject, made or brought up to date: its id, whether it is disabled, its name."""
        table, issuer, subject = schema.person, self._settings.issuer, claims["sub"]
        row = recording.connection.execute(select(table).where(table.c.issuer == issuer, table.c.subject == subject)).first()
        display = fit_display("".join(filter(str.isprintable, str(claims.get("name") or "")))[:100], name)
        by = Actor("wardline", issuer)
        if row is None:
            if recording.connection.execute(select(table.c.id).where(table.c.name == name)).first():
                name = f"{name.partition('@')[0]}-{sha256(subject.encode()).hexdigest()[:8]}@{name.partition('@')[2]}"
            more = {"issuer": issuer, "subject": subject, "seen_at": recording.at}
            person = make(recording.connection, recording.at, by, name, display, grants, **more)
            recording.note(by, "add person", name, details={"grants": spoken(grants)})
            return person, False, name
        if not row.disabled:
            if (before := load_grants(row.grants)) != grants:
                details = {"grants": spoken(grants), "before": spoken(before)}
                recording.note(by, "change person", row.name, details=details)
                recording.connection.execute(schema.session.delete().where(schema.session.c.person == row.id))
            values = {"grants": dump_grants(grants), "display": display, "seen_at": recording.at}
            recording.connection.execute(update(table).where(table.c.id == row.id).values(values))
        return row.id, bool(row.disabled), row.name


class Provider:
    """One provider, as its discovery document describes it."""

    def __init__(self, settings: Oidc, ask: Fetch, now: Callable[[], int]) -> None:
        self._settings, self._ask, self._now = settings, ask, now
        self._lock = threading.Lock()
        self._found: dict[str, Any] = {}
        self._keys: Any = None
        self._found_at = self._keys_at = 0

    def authorization(self, cookie: str, redirect_uri: str) -> str:
        """Where the browser is sent. Raises Away."""
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": self._settings.scope,
            "state": _made("state", cookie),
            "nonce": _made("nonce", cookie),
            "code_challenge": urlsafe_b64encode(sha256(_made("verifier", cookie).encode()).digest()).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        endpoint = self._discovered("authorization_endpoint")
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    def claims(self, code: str, cookie: str, redirect_uri: str) -> dict[str, Any]:
        """What the provider says of whoever brought `code`: of the ID token, verified, and of userinfo where the claim that
        gives rights is not in it. Raises NotLetIn, Away."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": _made("verifier", cookie),
        }
        methods = self._discovery().get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        name, secret = self._settings.client_id, self._settings.client_secret.get_secret_value()
        headers = {}
        if "client_secret_basic" in methods:
            credentials = f"{quote_plus(name)}:{quote_plus(secret)}".encode()  # RFC 6749 §2.3.1
            headers["authorization"] = f"Basic {b64encode(credentials).decode()}"
        else:
            form |= {"client_id": name, "client_secret": secret}
        given = self._ask(self._discovered("token_endpoint"), headers, form)
        if not isinstance(given.get("id_token"), str):
            raise NotLetIn("The provider gave no ID token: is 'openid' in scope: of conf/engine.yaml?")
        claims = self._verified(given["id_token"], _made("nonce", cookie))
        endpoint = self._discovery().get("userinfo_endpoint")
        if self._settings.claim not in claims and isinstance(endpoint, str) and isinstance(given.get("access_token"), str):
            more = self._ask(self._secure(endpoint), {"authorization": f"Bearer {given['access_token']}"})
            if more.get("sub") == claims["sub"]:  # OpenID Connect Core §5.3.2
                claims = more | claims
        return claims

    def _verified(self, token: str, nonce: str) -> dict[str, Any]:
        from joserfc import jwt
        from joserfc.errors import InvalidKeyIdError, JoseError

        try:
            try:
                read = jwt.decode(token, self._key_set(), algorithms=list(ALGORITHMS))
            except InvalidKeyIdError:  # the provider may have a new key
                read = jwt.decode(token, self._key_set(again=True), algorithms=list(ALGORITHMS))
            jwt.JWTClaimsRegistry(
                now=self._now() // SECOND,
                leeway=SKEW,
                iss={"essential": True, "value": self._settings.issuer},
                aud={"essential": True, "value": self._settings.client_id},
                sub={"essential": True},
                exp={"essential": True},
                iat={"essential": True},
                nonce={"essential": True, "value": nonce},
            ).validate(read.claims)
        except (JoseError, ValueError, TypeError) as error:
            raise NotLetIn(f"The provider's ID token is not good ({type(error).__name__}).") from None
        claims: dict[str, Any] = read.claims
        party = claims.get("azp", self._settings.client_id)
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if party != self._settings.client_id or (several and "azp" not in claims):
            raise NotLetIn("The provider's ID token is for somebody else.")
        return claims

    def _key_set(self, *, again: bool = False) -> Any:
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        with self._lock:
            age = self._now() - self._keys_at
            if self._keys is None or age > KEEP or (again and age > AGAIN):
                found = self._ask(self._secure(str(self._discovery_locked().get("jwks_uri"))))
                try:
                    self._keys = KeySet.import_key_set({"keys": list(found["keys"])})
                except (JoseError, KeyError, TypeError, ValueError):
                    raise Away("The login provider's keys cannot be read.") from None
                self._keys_at = self._now()
            return self._keys

    def _discovered(self, name: str) -> str:
        return self._secure(str(self._discovery().get(name)))

    def _discovery(self) -> dict[str, Any]:
        with self._lock:
            return self._discovery_locked()

    def _discovery_locked(self) -> dict[str, Any]:
        if not self._found or self._now() - self._found_at > KEEP:
            found = self._ask(f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration")
            if found.get("issuer") != self._settings.issuer:
                raise Away("The provider calls itself otherwise than issuer: of conf/engine.yaml: write it exactly as it does.")
            self._found, self._found_at = found, self._now()
        return self._found

    def _secure(self, url: str) -> str:
        """An address of the provider's, where it is as safe as the issuer's own. Raises Away."""
        if url.startswith("https://") or (url.startswith("http://") and self._settings.issuer.startswith("http://")):
            return url
        raise Away("The login provider names an address that is not https.")


def _made(what: str, cookie: str) -> str:
    """Something for one purpose, of the browser's seed; who knows one knows neither the seed nor another."""
    return urlsafe_b64encode(hmac.digest(cookie.encode(), what.encode(), "sha256")).decode().rstrip("=")
