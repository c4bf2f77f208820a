"""TLS where we listen: certificates that are renewed while we run, and whose a peer's certificate is."""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from engine.connectors.mllp import ServerTls
from engine.model import NO_HEADERS

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # for TLS 1.2; RFC 9325 §4.2. TLS 1.3 has only good ones
SUBJECT_HEADER = "tls-subject"
SUBJECT_SHOWN = 200  # characters

NOT_TLS = "NOT_TLS"  # a peer that speaks MLLP, HTTP or something else where TLS is expected
TLS_FAILED = "TLS_FAILED"
SUBJECT_NOT_ALLOWED = "SUBJECT_NOT_ALLOWED"

_NO_TLS_AT_ALL = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST")  # how OpenSSL calls other protocols


class Identity:
    """Our certificate and whom we trust, as the files have it; they are read again when they change."""

    def __init__(self, options: ServerTls, complain: Callable[[str], None]) -> None:
        self._options, self._complain = options, complain
        self._files = [file for file in (options.certificate, options.key, options.clients) if file]
        self._seen = self._look()
        self._subjects = frozenset(subject.casefold() for subject in options.subjects)
        self._context = self._read()

    def context(self) -> ssl.SSLContext:
        """For the next connection. Files that cannot be read leave the last that could: `complain` is told."""
        seen = self._look()
        if seen != self._seen:
            self._seen = seen
            try:
                self._context = self._read()
            except OSError as problem:
                self._complain(f"{problem}; the one read before is used on")
        return self._context

    def judge(self, certificate: Mapping[str, Any] | None) -> tuple[Mapping[str, str], str]:
        """What an arrival carries of the peer's certificate, and '' or the reason for which it may not come in."""
        names = names_of(certificate) if certificate else []
        if not names:
            return NO_HEADERS, SUBJECT_NOT_ALLOWED if self._subjects else ""
        shown = next((name for name in names if name.casefold() in self._subjects), names[0])
        headers = MappingProxyType({SUBJECT_HEADER: shown})
        if self._subjects and shown.casefold() not in self._subjects:
            return headers, f"{SUBJECT_NOT_ALLOWED}: {shown}"
        return headers, ""

    def _look(self) -> list[tuple[int, int, int]]:
        seen = []
        for file in self._files:
            try:
                found = os.stat(file)
                seen.append((found.st_mtime_ns, found.st_size, found.st_ino))
            except OSError:
                seen.append((0, 0, 0))
        return seen

    def _read(self) -> ssl.SSLContext:
        """Raises OSError naming the option, the file and what is wrong with it."""
        options = self._options
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        context.set_ciphers(CIPHERS)
        for option, file in (("certificate", options.certificate), ("key", options.key), ("clients", options.clients)):
            if file:
                _readable(option, file)
        key = options.key or options.certificate
        if os.stat(key).st_mode & stat.S_IWOTH:
            raise OSError(f"tls: everybody may write the private key's file {key}. Take that right away: chmod o-w {key}")
        try:
            # With no password OpenSSL would ask for one on the terminal.
            context.load_cert_chain(options.certificate, options.key or None, options.password.get_secret_value)
        except (ssl.SSLError, ValueError) as problem:
            raise OSError(f"tls: certificate {options.certificate} and its key {key} cannot be used: {_said(problem)}") from None
        if options.clients:
            try:
                context.load_verify_locations(options.clients)
            except ssl.SSLError as problem:
                raise OSError(f"tls: clients: {options.clients} holds no certificates: {_said(problem)}") from None
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def names_of(certificate: Mapping[str, Any]) -> list[str]:
    """The common names and alternative names of a certificate as `ssl` gives it, in one line each."""
    common = [value for part in certificate.get("subject", ()) for name, value in part if name == "commonName"]
    others = [value for _, value in certificate.get("subjectAltName", ()) if isinstance(value, str)]
    return ["".join(letter if letter.isprintable() else "?" for letter in name)[:SUBJECT_SHOWN] for name in [*common, *others]]


def handshake_refusal(problem: OSError) -> str:
    """The reason under which a failed handshake is told; '' for a peer that only went away, as probes do."""
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"{TLS_FAILED}: {problem.verify_message}"
    if isinstance(problem, ssl.SSLError):
        return NOT_TLS if problem.reason in _NO_TLS_AT_ALL else f"{TLS_FAILED}: {_said(problem)}"
    if isinstance(problem, TimeoutError):
        return f"{TLS_FAILED}: not done in time"
    return ""


def _readable(option: str, file: str) -> None:
    try:
        with open(file, "rb"):
            pass
    except OSError as problem:
        raise OSError(f"tls: {option}: {file} cannot be read: {problem.strerror}") from None


def _said(problem: Exception) -> str:
    reason = getattr(problem, "reason", None) or str(problem)
    return str(reason).replace("_", " ").lower()
