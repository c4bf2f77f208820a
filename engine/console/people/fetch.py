"""Asking an OpenID Connect provider: certificates verified, no redirects, bounded in time and size."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import urlencode

import orjson

from engine.console.answers import Away

TIMEOUT: Final = 10.0  # seconds, from the first byte to the last
LARGEST: Final = 1 << 20  # bytes of an answer

Fetch = Callable[..., Any]
"""`fetch(url, headers={}, form=None)`: the JSON object that is answered, by GET, or by POST where there is a `form`.

Raises Away, with nothing in its text that the other end said.
"""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *about: Any) -> None:
        return None  # which leaves the 3xx as an error


def fetch(url: str, headers: Mapping[str, str] | None = None, form: Mapping[str, str] | None = None) -> dict[str, Any]:
    """See `Fetch`."""
    if not url.startswith(("https://", "http://")):
        raise Away("The login provider names an address that is no web address.")
    data = urlencode(form).encode() if form is not None else None
    request = urllib.request.Request(url, data, {"accept": "application/json", **(headers or {})})  # noqa: S310 - looked at
    opener = urllib.request.build_opener(_NoRedirect)
    deadline = time.monotonic() + TIMEOUT
    try:
        with opener.open(request, timeout=TIMEOUT) as answer:
            parts, size = [], 0
            while chunk := answer.read1(1 << 16):
                size += len(chunk)
                if size > LARGEST or time.monotonic() > deadline:
                    raise Away("The login provider's answer is too long, or takes too long.")
                parts.append(chunk)
        found = orjson.loads(b"".join(parts))
    except urllib.error.HTTPError as error:
        error.close()
        raise Away(f"The login provider answered with status {error.code}.") from None
    except (OSError, HTTPException) as error:
        raise Away(f"The login provider cannot be reached ({type(error).__name__}).") from None
    except ValueError:
        raise Away("The login provider's answer is no JSON.") from None
    if not isinstance(found, dict):
        raise Away("The login provider's answer is not what was expected.")
    return found
