"""`wardline init`: what it makes passes every check, and nothing is ever overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acceptance.test_check import wardline


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made") / "hospital"
    done = wardline("init", str(directory), "--organization", 'St "Exemplar": #1')
    assert (done.returncode, done.stderr) == (0, "")
    assert "channels/adt.yaml" in done.stdout
    return directory


def test_the_new_site_passes_its_check(site: Path) -> None:
    done = wardline("check", "--strict", "--site", str(site))
    last = done.stdout.splitlines()[-1]
    assert (done.returncode, last) == (0, "1 channel, 1 destination, 1 mapping, 1 code table: all fine")


def test_the_new_site_passes_its_tests(site: Path) -> None:
    done = wardline("test", "--site", str(site))
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_mapping_can_be_tried(site: Path) -> None:
    done = wardline("map", "adt-to-patient", str(site / "samples/adt_a01.hl7"), "--site", str(site))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "100200" in done.stdout


def test_the_organization_is_kept_as_typed(site: Path) -> None:
    from engine.config import load_site

    assert load_site(site, {}).organization == 'St "Exemplar": #1'


def test_a_directory_with_anything_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_text("mine")
    done = wardline("init", str(tmp_path))
    assert done.returncode == 2
    assert "is not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".hidden"]


def test_a_place_where_nothing_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = wardline("init", str(tmp_path / "file" / "site"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_samples_keep_their_segment_ends(site: Path) -> None:
    content = (site / "samples/adt_a01.hl7").read_bytes()
    assert content.count(b"\r") == 4
    assert b"\n" not in content
    assert "*.hl7 -text" in (site / ".gitattributes").read_text()


def test_json_check_of_the_new_site(site: Path) -> None:
    assert json.loads(wardline("check", "--json", "--site", str(site)).stdout)["ok"] is True
