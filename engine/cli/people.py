"""`wardline people`: who may use the console; letting people in, also when nobody can log in any more."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.terminal import json_option, print_json, print_table, site_option
from engine.errors import EXIT_FAILED, EXIT_USAGE, WardlineError

if TYPE_CHECKING:
    from engine.console.people import Actor, People, Person
    from engine.console.rights import Grant


class NotHere(WardlineError):
    """No console has run on this site."""

    exit_code = EXIT_FAILED


class NotYours(WardlineError):
    """The console's files are another user's, who alone may change them."""

    exit_code = EXIT_FAILED


class NoGrant(WardlineError):
    """What somebody is to be allowed is not written as it should be."""

    exit_code = EXIT_USAGE


@click.group("people")
def command() -> None:
    """See who may use the console, and let people in.

    This works on the site's files, whether or not the console runs, as the user who owns them. Everything is noted in the
    audit trail under that user's name. Nobody ever gets a password: a link, good once and for a day, lets them choose one.
    """


@command.command("list")
@site_option
@json_option
def list_(site: Path, as_json: bool) -> None:
    """List everybody, and what they may."""
    from engine.cli.stored import utc
    from engine.console.people.persons import spoken

    with opened(site, existing=True) as people:
        found = people.persons.all()
    if as_json:
        print_json(
            [
                {
                    "name": one.name, "display": one.display, "grants": spoken(one.grants), "disabled": one.disabled,
                    "password": one.password, "second_factor": one.totp, "issuer": one.issuer, "last_login": utc(one.seen_at),
                }
                for one in found
            ]
        )  # fmt: skip
    elif found:
        print_table(
            ("name", "called", "state", "second factor", "last login", "may"),
            [
                (one.name, one.display, _state(one), "yes" if one.totp else "no", utc(one.seen_at) or "never",
                 ", ".join(spoken(one.grants)))
                for one in found
            ],
        )  # fmt: skip
    else:
        click.echo("There is nobody yet. `wardline people token` tells how the first one comes in.")


@command.command("add")
@click.argument("name")
@click.option("--display", default="", help="What the person is called.")
@click.option(
    "--grant", "grants", multiple=True, required=True, metavar="ROLE[=CHANNELS]",
    help="What they may: viewer, analyst, operator, auditor or admin, on which channels. Without channels, on all.",
)  # fmt: skip
@click.option("--totp", is_flag=True, help="They must set up a second factor before anything else.")
@site_option
def add(name: str, display: str, grants: tuple[str, ...], totp: bool, site: Path) -> None:
    """Add somebody, and print the link by which they choose a password.

    \b
      wardline people add anna --grant operator='lab*' --grant viewer
    """
    with opened(site) as people:
        token = people.persons.add(_me(), name, display, tuple(map(_grant, grants)), totp)
    click.echo(_link(site, token))


@command.command("reset")
@click.argument("name")
@click.option("--totp", is_flag=True, help="Forget the second factor, too.")
@site_option
def reset(name: str, totp: bool, site: Path) -> None:
    """Print a link by which somebody chooses a new password. The old one works until they do."""
    with opened(site, existing=True) as people:
        token = people.persons.reset(_me(), name, totp=totp)
    click.echo(_link(site, token))


@command.command("disable")
@click.argument("name")
@site_option
def disable(name: str, site: Path) -> None:
    """Let somebody in no more: sessions and tokens end at once."""
    with opened(site, existing=True) as people:
        people.persons.disable(_me(), name)
    click.echo(f"{name} is not let in any more")


@command.command("enable")
@click.argument("name")
@site_option
def enable(name: str, site: Path) -> None:
    """Let somebody in again."""
    with opened(site, existing=True) as people:
        people.persons.disable(_me(), name, False)
    click.echo(f"{name} may log in again")


@command.command("token")
@site_option
def token(site: Path) -> None:
    """Print the link by which the first person comes in, who may do everything. One of before is good no more."""
    with opened(site) as people:
        made = people.persons.offer_first(_me())
    if not made:
        raise NotHere("There are people here already: `wardline people reset NAME` lets one of them in again.")
    click.echo(_link(site, made))


@contextmanager
def opened(site: Path, *, existing: bool = False) -> Iterator[People]:
    """The site's people; `existing`: only where a console has run. Raises NotHere, NotYours, StoreError."""
    import time

    from engine.console.people import People
    from engine.console.people.database import DIRECTORY, FILE

    path = site / DIRECTORY / FILE
    if existing and not path.exists():
        raise NotHere(f"No console has run on {site}, and nobody was added: there is no {DIRECTORY}/{FILE}.")
    for place in (path.parent, path):
        with suppress(FileNotFoundError):
            if (owner := place.stat().st_uid) != os.geteuid():  # what we made there, the console could not read
                raise NotYours(f"{place} belongs to {_user(owner)}: run the command as that user.")
    people = People(site, lambda: time.time_ns() // 1000)
    try:
        yield people
    finally:
        people.close()


def _me() -> Actor:
    from engine.cli.asking import who
    from engine.console.people import Actor

    return Actor(f"local:{who()}", "local")


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _grant(text: str) -> Grant:
    from engine.console.rights import Grant, Role
    from engine.text import did_you_mean, listed

    role, _, channels = text.partition("=")
    if role not in set(Role):
        raise NoGrant(f"There is no role '{role[:40]}'.{did_you_mean(role, Role)} Roles are {listed(Role)}.")
    return Grant(Role(role), channels or "*")


def _link(site: Path, token: str) -> str:
    from engine.cli.stored import engine_settings

    try:
        console = engine_settings(site).console
    except WardlineError:  # people can be let in while the site's files are wrong
        console = None
    base = f"{'https' if console.tls else 'http'}://{console.listen}" if console else "(the console's address)"
    return f"{base}/first?token={token}"


def _state(one: Person) -> str:
    if one.disabled:
        return "disabled"
    if one.issuer:
        return "by provider"
    return "may log in" if one.password else "invited"
