"""HTTP: each delivery is one request to a fixed URL. Sends only."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from engine.quantities import Address, Duration, Secret
from engine.registry import Connector, End, Options

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_VALUE = re.compile(r"[\x21-\x7e]([\x20\x09\x21-\x7e]*[\x21-\x7e])?")  # RFC 9110 §5.5, without obs-text
_OURS = {
    "authorization": "write it as auth: {bearer: …} or auth: {basic: …}",
    "connection": "connections are kept open by themselves",
    "content-length": "it is computed",
    "content-type": "it follows from what the route delivers",
    "host": "it follows from url",
    "idempotency-key": "it carries the delivery's identity",
    "transfer-encoding": "requests always have a length",
}


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


class Auth(Options):
    """How we say who we are: one of these."""

    bearer: Secret = SecretStr("")
    """A token for `Authorization: Bearer`, as a reference: `secret://env/BILLING_TOKEN`."""
    basic: Basic | None = None
    """User and password."""

    @model_validator(mode="after")
    def _one(self) -> Auth:
        if bool(self.bearer.get_secret_value()) == bool(self.basic):
            raise ValueError("write one of bearer: and basic:")
        if self.basic is None and not _VALUE.fullmatch(self.bearer.get_secret_value()):
            raise ValueError("bearer: a token is one line of visible ASCII characters")
        return self


class RequestOptions(Options):
    """Deliver with HTTP requests. 2xx is success; TLS certificates are always verified; redirects are never followed."""

    url: str
    """Where each delivery goes: `https://billing.example.org/charges`."""
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    """The request method."""
    auth: Auth | None = None
    """`{bearer: secret://…}` or `{basic: {user: …, password: secret://…}}`."""
    headers: dict[str, SecretStr] = {}
    """More headers, the same on every request. Values may be `secret://` references and are never shown."""
    timeout: Duration = Field(30.0, gt=0)
    """How long a request may take from its first byte to the last of the answer; after it the outcome is unknown."""
    connect_timeout: Duration = Field(10.0, gt=0)
    """How long to try to connect, TLS handshake included."""
    connections: int = Field(4, ge=1)
    """Connections kept at once, each with one request in flight: so many order keys are delivered in parallel."""
    ca: str = ""
    """A PEM file with the certificate authorities to trust instead of the system's."""

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
