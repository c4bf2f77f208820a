"""`wardline codes`: what there is, where it is used, what waits, and a row more, which is in the file whole or not at all."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from engine.cli import cli
from engine.mapping import tablefile
from engine.model import MessageState, ParkReason, Translation
from tests.contract.store.helpers import Site
from tests.unit.config.sites import make

SEX = "mappings/codes/sex.csv"
GL = "department,revenue_code,account\nRAD-1,0320,400100\n*,0450,400700\n"
MAPPING = """\
mapping: journal
from: hl7v2
to: json
set:
  a: =code('gl', department=PID-3.1, revenue_code=PID-4.1)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return make(tmp_path / "site", {"mappings/codes/gl.csv": GL, "mappings/journal.yaml": MAPPING})


def run(place: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["codes", "--site", str(place), *arguments])


def said(result: Result) -> str:
    """What a person reads, of an error too."""
    return result.output + (str(result.exception) if result.exception and not isinstance(result.exception, SystemExit) else "")


async def park(place: Path, *unknown: tuple[str, str, str]) -> None:
    """A store in which messages wait, one for each code."""
    (place / "data").mkdir(exist_ok=True)
    site = Site(f"sqlite:///{place}/data/wardline.db", threaded=False)
    store = site.open()
    for number, code in enumerate(unknown):
        taken = await site.take(b"MSH|%d" % number)
        await store.translated([
            Translation(taken.message_id, "adt", MessageState.PARKED, "no row", ParkReason.UNKNOWN_CODE, unknown=(code,), config="v1")
        ])  # fmt: skip
    await site.close()


# ── looking ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_table_with_its_rows_and_uses(place: Path) -> None:
    lines = [line.split() for line in run(place).output.splitlines()]
    assert lines[0] == ["table", "rows", "waiting", "columns", "used", "in"]
    assert lines[1] == ["gl", "2", "?", "department,", "revenue_code,", "account", "mappings/journal.yaml:5"]
    assert lines[2][:3] == ["sex", "6", "?"]
    assert lines[2][-1].startswith("mappings/adt-to-patient.yaml:")


async def test_what_waits_is_shown_with_its_place(place: Path) -> None:
    evil = "department=EVIL\x1b[2J, revenue_code=1"
    await park(
        place, ("gl", "department=RAD-9, revenue_code=0320", "FT1[1]-13.1"), ("gl", evil, "FT1[2]-13.1"), ("sex", "N", "PID-8")
    )
    listing = {line.split()[0]: line.split()[2] for line in run(place).output.splitlines()}
    assert (listing["gl"], listing["sex"]) == ("2", "1")
    shown = run(place, "gl").output
    assert "2     RAD-1       0320          400100" in shown
    assert "2 rows, used in mappings/journal.yaml:5" in shown
    assert "department=RAD-9, revenue_code=0320 1 1 FT1[1]-13.1" in " ".join(shown.split())
    assert "\x1b" not in shown
    assert "department=EVIL\\x1b[2J" in shown
    facts = json.loads(run(place, "gl", "--json").output)
    assert facts["used_in"] == ["mappings/journal.yaml:5"]
    assert facts["content"][1] == {"department": "*", "revenue_code": "0450", "account": "400700"}
    assert {row["value"]: row["waiting"] for row in facts["unknown"]} == {evil: 1, "department=RAD-9, revenue_code=0320": 1}


def test_a_table_that_is_not_there_and_one_that_is_wrong(place: Path) -> None:
    assert "there is no code table 'gll'. Did you mean 'gl'?" in said(run(place, "gll"))
    (place / "mappings/codes/gl.csv").write_text("a,b\n1\n")
    assert "mappings/codes/gl.csv:2:1  has 1 cell" in said(run(place))
    assert "mappings/codes/gl.csv:2:1  has 1 cell" in said(run(place, "gl"))


# ── adding ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_row_is_added_and_what_waits_for_it_is_told(place: Path) -> None:
    await park(
        place, *[("gl", "department=RAD-9, revenue_code=0320", "FT1-13")] * 3, ("gl", "department=RAD-9, revenue_code=1", "x")
    )
    done = run(place, "add", "gl", "department=RAD-9", "revenue_code=0320", "account=400300")
    assert done.output == (
        "mappings/codes/gl.csv:4  RAD-9,0320,400300\n3 messages wait for it. Have the engine take it up: wardline reload\n"
    )
    assert (place / "mappings/codes/gl.csv").read_text() == GL + "RAD-9,0320,400300\n"
    done = run(place, "add", "gl", "department=RAD-9", "revenue_code=*", "account=1")
    assert "4 messages wait for it." in done.output


def test_without_a_store_a_row_is_added_all_the_same(place: Path) -> None:
    done = run(place, "add", "sex", "code=Z", "sex=")
    assert done.output == f"{SEX}:8  Z,\n"
    assert done.exit_code == 0


@pytest.mark.parametrize(("cells", "text"), [
    (["department=RAD-1", "revenue_code=0320", "account=1"], "line 2 of mappings/codes/gl.csv answers for department=RAD-1, revenue_code=0320"),
    (["department=X", "revenue_code=0450", "account=1"], "line 3 of mappings/codes/gl.csv answers for department=X, revenue_code=0450"),
    (["department=X", "account=1"], "revenue_code of codes/gl.csv must be given, if only as revenue_code= for nothing."),
    (["departmnt=X"], "codes/gl.csv has no column 'departmnt'. Did you mean 'department'?"),
    (["department"], "'department' is not COLUMN=VALUE."),
    (["department=X", "department=Y"], "a column is given twice."),
    (["department=X\n", "revenue_code=1", "account=1"], "a cell is one line"),
])  # fmt: skip
def test_what_does_not_fit_changes_nothing(place: Path, cells: list[str], text: str) -> None:
    done = run(place, "add", "gl", *cells)
    assert done.exit_code != 0
    assert text in said(done)
    assert (place / "mappings/codes/gl.csv").read_text() == GL
    assert sorted(os.listdir(place / "mappings/codes")) == ["gl.csv", "sex.csv"]


def test_rights_and_links_stay(place: Path) -> None:
    table = place / "mappings/codes/gl.csv"
    elsewhere = place / "elsewhere.csv"
    table.rename(elsewhere)
    table.symlink_to(elsewhere)
    elsewhere.chmod(0o640)
    assert run(place, "add", "gl", "department=A", "revenue_code=B", "account=1").exit_code == 0
    assert table.is_symlink()
    assert elsewhere.read_text().endswith("\nA,B,1\n")
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o640


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_disk_that_fails_leaves_the_file_as_it_was(place: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tablefile.os, step, full)
    done = run(place, "add", "gl", "department=A", "revenue_code=B", "account=1")
    assert done.exit_code != 0
    assert "cannot be written: No space left on device. It is as it was." in said(done)
    monkeypatch.undo()
    assert (place / "mappings/codes/gl.csv").read_text() == GL
    assert sorted(os.listdir(place / "mappings/codes")) == ["gl.csv", "sex.csv"]


def test_an_edit_meanwhile_is_not_lost(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = place / "mappings/codes/gl.csv"
    make_temporary = tablefile.tempfile.mkstemp

    def while_somebody_edits(**where: Any) -> Any:
        table.write_text(GL + "X,1,2\n")
        return make_temporary(**where)

    monkeypatch.setattr(tablefile.tempfile, "mkstemp", while_somebody_edits)
    done = run(place, "add", "gl", "department=A", "revenue_code=B", "account=1")
    assert "was changed by somebody else just now" in said(done)
    assert table.read_text() == GL + "X,1,2\n"


def test_many_who_add_at_the_same_time_all_have_their_row(place: Path) -> None:
    def add(number: int) -> None:
        tablefile.add_row(place, "sex", {"code": f"N{number}", "sex": "other"}, [])

    threads = [threading.Thread(target=add, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = (place / SEX).read_text().splitlines()
    assert {f"N{number},other" for number in range(20)} <= set(rows)


def test_a_reader_never_sees_half_a_file(place: Path) -> None:
    """Another process adds rows and is killed; whatever is read in between is whole."""
    table = place / SEX
    script = (
        "import sys; from pathlib import Path; from engine.mapping.tablefile import add_row\n"
        "for n in range(10_000): add_row(Path(sys.argv[1]), 'sex', {'code': f'K{n}', 'sex': 'x' * 500}, [])\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(place)], cwd=Path(__file__).resolve().parents[2])
    try:
        seen = 0
        while seen < 40_000:
            content = table.read_bytes()
            assert content.endswith(b"\n")
            assert all(line.count(b",") == 1 for line in content.splitlines())
            seen = max(seen, len(content))
            assert child.poll() is None
    finally:
        child.kill()
        child.wait()
    assert run(place, "add", "sex", "code=after", "sex=x").exit_code == 0
