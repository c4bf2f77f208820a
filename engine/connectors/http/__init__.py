"""HTTP: each delivery is one request to a fixed URL. Sends only."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from engine.answers import Action
from engine.quantities import Address, Duration, Secret
from engine.registry import Connector, End, Options
from engine.tlsclient import ClientTls

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_VALUE = re.compile(r"[\x21-\x7e]([\x20\x09\x21-\x7e]*[\x21-\x7e])?")  # RFC 9110 §5.5, without obs-text
_OURS = {
    "authorization": "write it as auth: {bearer: …}, auth: {basic: …} or auth: {oauth2: …}",
    "connection": "connections are kept open by themselves",
    "content-length": "it is computed",
    "content-type": "it follows from what the route delivers",
    "host": "it follows from url",
    "idempotency-key": "it carries the delivery's identity",
    "transfer-encoding": "requests always have a length",
}
_ANSWER = re.compile(r"[345]([0-9]{2}|xx)")
_NEVER_DELIVERED = frozenset({401, 403, 407, 408, 425, 429})  # of 4xx, those that say it has not been looked at


class Target(NamedTuple):
    """A URL taken apart."""

    secure: bool
    address: Address
    host: str  # the Host header
    path: str  # with its query


def parse_url(url: str) -> Target:
    """Raises ValueError, saying what a URL here may not have."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as problem:
        raise ValueError(f"{url!r} is no URL: {problem}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no URL of a web service: write it like https://billing.example.org/charges")
    if "@" in parts.netloc:
        raise ValueError("user and password do not belong into the URL: write auth: {basic: {user: …, password: secret://…}}")
    if parts.fragment:
        raise ValueError(f"{url!r}: what follows # is never sent; leave it out")
    if not re.fullmatch(r"[\x21-\x7e]+", url):
        raise ValueError(f"{url!r}: spaces and letters beyond ASCII must be percent-encoded in a URL")
    address = Address(parts.hostname, port or (443 if parts.scheme == "https" else 80))
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme == "https", address, parts.netloc, path)


class Basic(Options):
    """User and password, RFC 7617."""

    user: str = Field(pattern=r"^[^:\x00-\x1f\x7f]+$")
    """The user; it cannot hold a colon."""
    password: Secret
    """The password, as a reference: `secret://env/BILLING_PASSWORD`."""


class OAuth2(Options):
    """A token that we fetch from an authorization server with our own credentials (RFC 6749 §4.4), keep as long as it is
    good, and fetch again when it is not."""

    token_url: str
    """Where tokens are given out: `https://login.example.org/oauth2/token`."""
    client_id: str = Field(pattern=r"^[\x20-\x7e]+$")
    """Our name there."""
    client_secret: Secret
    """Our secret there, as a reference: `secret://env/BILLING_CLIENT_SECRET`."""
    scope: str = Field("", pattern=r"^[\x20-\x7e]*$")
    """What the token is to allow, with spaces between."""
    audience: str = Field("", pattern=r"^[\x20-\x7e]*$")
    """For whom the token is, where the authorization server asks for it."""
    credentials: Literal["header", "body"] = "header"
    """Where name and secret go: into the header `Authorization`, as the standard has it, or into the body."""

    @field_validator("token_url")
    @classmethod
    def _url(cls, url: str) -> str:
        parse_url(url)
        return url


class Auth(Options):
    """How we say who we are: one of these."""

    bearer: Secret = SecretStr("")
    """A token for `Authorization: Bearer`, as a reference: `secret://env/BILLING_TOKEN`."""
    basic: Basic | None = None
    """User and password."""
    oauth2: OAuth2 | None = None
    """Tokens from an authorization server, for our own credentials."""

    @model_validator(mode="after")
    def _one(self) -> Auth:
        if sum(map(bool, (self.bearer.get_secret_value(), self.basic, self.oauth2))) != 1:
            raise ValueError("write one of bearer:, basic: and oauth2:")
        if self.bearer.get_secret_value() and not _VALUE.fullmatch(self.bearer.get_secret_value()):
            raise ValueError("bearer: a token is one line of visible ASCII characters")
        return self


class RequestOptions(Options):
    """Deliver with HTTP requests. 2xx is success; TLS certificates are always verified; redirects are never followed."""

    url: str
    """Where each delivery goes: `https://billing.example.org/charges`."""
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    """The request method."""
    auth: Auth | None = None
    """`{bearer: secret://…}`, `{basic: {user: …, password: secret://…}}` or
    `{oauth2: {token_url: …, client_id: …, client_secret: secret://…}}`."""
    headers: dict[str, SecretStr] = {}
    """More headers, the same on every request. Values may be `secret://` references and are never shown."""
    timeout: Duration = Field(30.0, gt=0)
    """How long a request may take from its first byte to the last of the answer; after it the outcome is unknown."""
    connect_timeout: Duration = Field(10.0, gt=0)
    """How long to try to connect, TLS handshake included."""
    connections: int = Field(4, ge=1)
    """Connections kept at once, each with one request in flight: so many order keys are delivered in parallel."""
    tls: ClientTls | None = None
    """For https: `ca: FILE` for an authority of your own, and `certificate: FILE, key: FILE` for mutual TLS."""
    answers: dict[str, Action] = {}
    """What answers are to mean: `park`, `retry`, `hold` or `delivered`, by status or class of statuses:
    `{409: delivered, 404: park, 5xx: retry}`. 2xx is always success, and what says nothing of the delivery never is."""

    @field_validator("answers")
    @classmethod
    def _answers(cls, answers: dict[str, Action]) -> dict[str, Action]:
        for answer, action in answers.items():
            if not _ANSWER.fullmatch(answer):
                raise ValueError(f"'{answer}' is no status that can be given another meaning: write one like 409, or 5xx for all")
            if action == "delivered" and (answer[0] != "4" or answer == "4xx" or int(answer) in _NEVER_DELIVERED):
                raise ValueError(f"{answer} cannot count as delivered: name one status that says the receiver has it, like 409")
        return answers

    @model_validator(mode="after")
    def _secure(self) -> RequestOptions:
        urls = [self.url] + ([self.auth.oauth2.token_url] if self.auth and self.auth.oauth2 else [])
        if self.tls is not None and not any(parse_url(url).secure for url in urls):
            raise ValueError("tls: is for https, and the URL begins with http")
        return self

    @field_validator("url")
    @classmethod
    def _url(cls, url: str) -> str:
        parse_url(url)
        return url

    @field_validator("headers")
    @classmethod
    def _headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            if not _TOKEN.fullmatch(name):
                raise ValueError(f"{name!r} cannot be the name of a header")
            if why := _OURS.get(name.lower()):
                raise ValueError(f"{name} cannot be set here: {why}")
            if not _VALUE.fullmatch(value.get_secret_value()):
                raise ValueError(f"{name}: a header's value is one line of visible ASCII characters")
        return headers


CONNECTOR = Connector(
    name="http",
    about="HTTP and HTTPS requests with kept connections, one for each delivery.",
    destination=End(RequestOptions, "engine.connectors.http.destination:HttpDestination"),
)
