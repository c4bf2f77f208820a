"""`wardline people` and `wardline audit`, on the files of a site."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli import cli, people
from engine.console.people import People
from engine.errors import WardlineError
from tests.unit.console.people.conftest import PASSWORD, World


def run(site: Path, *arguments: str) -> str:
    """What a command says. Raises as `wardline` tells it."""
    done = CliRunner().invoke(cli, [*arguments, "--site", str(site)], catch_exceptions=True)
    if isinstance(done.exception, WardlineError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def token_of(said: str) -> str:
    found = re.search(r"/first\?token=(\S+)", said)
    assert found is not None
    return found[1]


def test_somebody_is_let_in_from_the_command_line(world: World) -> None:
    world.now = time.time_ns() // 1000  # as the commands have it
    world.people.persons.accept(token_of(run(world.site, "people", "token")), PASSWORD, "10.0.0.1", "boss")
    said = run(world.site, "people", "add", "anna", "--display", "Anna Bell", "--grant", "operator=lab*", "--grant", "viewer")
    world.people.persons.accept(token_of(said), PASSWORD, "10.0.0.1")
    assert PASSWORD not in said
    assert world.enter("anna")
    assert "operator of lab*, viewer of *" in run(world.site, "people", "list")
    found = json.loads(run(world.site, "people", "list", "--json"))
    assert [(one["name"], one["disabled"]) for one in found] == [("anna", False), ("boss", False)]
    run(world.site, "people", "disable", "anna")
    assert world.people.persons.one("anna").disabled
    run(world.site, "people", "enable", "anna")
    world.people.persons.accept(token_of(run(world.site, "people", "reset", "anna", "--totp")), PASSWORD, "10.0.0.1")
    rows = json.loads(run(world.site, "audit", "list", "--who", "local:*", "--json"))
    assert [row["what"] for row in rows] == ["reset person", "enable person", "disable person", "add person", "offer first login"]
    assert {row["via"] for row in rows} == {"local"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(["people", "reset", "eve"], "nobody called eve"), (["people", "add", "eve", "--grant", "operatr"], "Did you mean 'operator'"),
     (["people", "add", "e e", "--grant", "viewer"], "A name is letters"), (["people", "token"], "There are people here"),
     (["audit", "verify", "--anchor", "x"], "SEQ:HASH"), (["audit", "list", "--since", "never"], "no time")],
)  # fmt: skip
def test_errors_teach(world: World, arguments: list[str], text: str) -> None:
    world.add("ann")
    with pytest.raises(WardlineError, match=text):
        run(world.site, *arguments)


def test_where_no_console_ran_nothing_is_made_by_looking(tmp_path: Path) -> None:
    for arguments in (["people", "list"], ["audit", "list"], ["audit", "verify"], ["people", "reset", "ann"]):
        with pytest.raises(WardlineError, match="No console has run"):
            run(tmp_path, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_files_of_another_user_are_left_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people.os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(WardlineError, match="run the command as that user"):
        run(world.site, "people", "token")


def test_a_trail_is_verified_and_the_first_broken_row_is_said(world: World) -> None:
    world.add("ann")
    world.people.audit.write("ann", "session 1", "search", details={"query": "x" * 300})
    said = run(world.site, "audit", "verify")
    anchor = re.search(r"The last row is (\S+)", said)
    assert anchor is not None
    assert "whole" in run(world.site, "audit", "verify", "--anchor", anchor[1])
    assert "search" in run(world.site, "audit", "list", "--since", "520w", "--what", "search")
    with world.people.database.locked(), world.people.database.transaction() as connection:
        connection.exec_driver_sql("UPDATE audit SET who = 'bob' WHERE seq = 2")
    done = CliRunner().invoke(cli, ["audit", "verify", "--site", str(world.site)])
    assert (done.exit_code, "BROKEN: row 2" in done.output) == (1, True)
    done = CliRunner().invoke(cli, ["audit", "verify", "--json", "--site", str(world.site)])
    assert json.loads(done.output)["broken"] == 2
    assert "whole" in run(world.site, "audit", "verify", "--from", "3")


def test_the_console_and_a_command_may_write_at_once(world: World) -> None:
    import threading

    other = People(world.site, lambda: world.now)
    threads = [
        threading.Thread(target=lambda one=one: [one.audit.write("ann", "session 1", "search", str(n)) for n in range(50)])
        for one in (world.people, other, world.people)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    other.close()
    assert "150 rows" in run(world.site, "audit", "verify")
