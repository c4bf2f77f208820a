"""B117 to B130 while messages flow: whatever somebody puts into a site's files, the running configuration stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from engine.cli import cli
from engine.config import read_site
from engine.errors import EXIT_CONFIGURATION, ConfigurationError
from engine.testing.processes import free_port
from tests.acceptance.place import MESSAGE, Place
from tests.acceptance.test_reload import Wire, channel, until

CORPUS = Path(__file__).resolve().parents[1] / "corpus" / "config"
CASES: list[dict[str, Any]] = yaml.load((CORPUS / "expected.yaml").read_text("utf-8"), Loader=yaml.BaseLoader)


def test_no_file_of_the_corpus_replaces_what_runs_and_good_messages_pass_before_and_after(tmp_path: Path) -> None:
    place, other = Place(tmp_path), free_port()
    channel(place, "other", other)
    refused = 0
    with place.engine:
        place.start()
        until((tmp_path / ".wardline" / "versions" / "journal.jsonl").exists, "its version was not kept")
        with Wire(place.port) as same, Wire(other) as beside:
            for n, case in enumerate(CASES):
                files = {case["as"]: case["file"], **case.get("with", {})}
                before = {name: (tmp_path / name).read_bytes() for name in files if (tmp_path / name).exists()}
                for name, file in files.items():
                    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                    (tmp_path / name).write_bytes((CORPUS / file).read_bytes())
                if read_site(tmp_path).site is None:
                    refused += 1
                    error = CliRunner().invoke(cli, ["reload", "--site", str(tmp_path)]).exception
                    assert getattr(error, "exit_code", None) == EXIT_CONFIGURATION, (case["file"], error)
                    assert not isinstance(error, ConfigurationError), "it was not the engine that said so"
                for name in files:
                    (tmp_path / name).unlink()
                    if name in before:
                        (tmp_path / name).write_bytes(before[name])
                for wire, mark in ((same, b"S"), (beside, b"O")):
                    assert b"MSA|AA|%s%d" % (mark, n) in wire.ask(MESSAGE % (b"%s%d" % (mark, n))), case["file"]
        assert refused > len(CASES) // 2
        assert CliRunner().invoke(cli, ["reload", "--site", str(tmp_path)]).exit_code == 0
        assert place.engine.stop() == 0
    log = place.engine.log.read_text()
    assert "Traceback" not in log
    assert log.count("not reloaded") == refused
