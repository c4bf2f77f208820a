"""TLS where we connect: whom we trust, and who we say we are."""

from __future__ import annotations

import os
import re
import ssl

from pydantic import Field, SecretStr, model_validator

from engine.quantities import Secret
from engine.registry import Options

# Alerts of RFC 8446 §6.2 that no repetition cures.
_ABOUT_US = re.compile(r"ALERT_(\w+_)?CERTIFICATE|ALERT_UNKNOWN_CA|ALERT_ACCESS_DENIED")


class ClientTls(Options):
    """TLS where we connect, version 1.2 or later; the peer's certificate is always verified. Files are read again, without a
    restart, when they change."""

    ca: str = ""
    """A PEM file with the certificate authorities to trust instead of the system's."""
    certificate: str = ""
    """A PEM file with our own certificate, and those between it and its authority, where the peer asks for it (mutual TLS)."""
    key: str = ""
    """A PEM file with its private key, where that is not in the certificate's file."""
    password: Secret = SecretStr("")
    """What the key is encrypted with, as a reference: `secret://env/CLIENT_KEY_PASSWORD`."""
    server_name: str = Field("", pattern=r"^([A-Za-z0-9_.:-]{1,253})?$")
    """The name in the peer's certificate, where we connect by another one, such as an address."""

    @model_validator(mode="after")
    def _whose(self) -> ClientTls:
        if (self.key or self.password.get_secret_value()) and not self.certificate:
            raise ValueError("certificate is missing: name the PEM file with our certificate, to which the key belongs")
        return self


class Unusable(OSError):
    """A file of ours that TLS needs cannot be used. The text names the option and the file."""


class Credentials:
    """A context for each new connection, as the files have it."""

    def __init__(self, options: ClientTls) -> None:
        self._options = options
        self._files = [file for file in (options.ca, options.certificate, options.key) if file]
        self._seen: list[tuple[int, int, int]] = []
        self._context: ssl.SSLContext | None = None

    @property
    def server_name(self) -> str:
        return self._options.server_name

    def context(self) -> ssl.SSLContext:
        """Raises Unusable. Made at the first use: reading the system's authorities takes a while."""
        seen = [_look(file) for file in self._files]
        if self._context is None or seen != self._seen:
            self._context = self._read()
            self._seen = seen
        return self._context

    def _read(self) -> ssl.SSLContext:
        options = self._options
        for option, file in (("ca", options.ca), ("certificate", options.certificate), ("key", options.key)):
            _readable(option, file)
        try:
            context = ssl.create_default_context(cafile=options.ca or None)
        except ssl.SSLError:
            raise Unusable(f"tls: ca: {options.ca} holds no certificates in PEM form") from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if options.certificate:
            key = options.key or options.certificate
            try:  # with no password OpenSSL would ask for one on the terminal
                context.load_cert_chain(options.certificate, options.key or None, options.password.get_secret_value)
            except (ssl.SSLError, ValueError) as problem:
                said = (getattr(problem, "reason", None) or str(problem)).replace("_", " ").lower()
                raise Unusable(f"tls: certificate {options.certificate} and key {key} cannot be used: {said}") from None
        return context


def about_our_certificate(problem: str) -> bool:
    """Whether the text of an error is the peer's alert that it does not take our certificate, or the lack of one."""
    return _ABOUT_US.search(problem) is not None


def _look(file: str) -> tuple[int, int, int]:
    try:
        found = os.stat(file)
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_size, found.st_ino


def _readable(option: str, file: str) -> None:
    try:
        if file:
            with open(file, "rb"):
                pass
    except OSError as problem:
        raise Unusable(f"tls: {option}: {file} cannot be read: {problem.strerror}") from None
