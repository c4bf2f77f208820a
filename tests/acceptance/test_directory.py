"""A process that is killed while it delivers leaves whole files and at most unfinished ones beside them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from engine.connectors.directory.deposit import deposit
from engine.model import Delivered

WRITER = """
import sys
from engine.connectors.directory.deposit import deposit
for number in range(1_000_000):
    assert type(deposit(sys.argv[1], f"{number:07}.json", b"%07d" % number * 20_000)).__name__ == "Delivered"
    print(number, flush=True)
"""


def test_kill_9_leaves_no_partial_file_under_its_name(tmp_path: Path) -> None:
    told = -1
    for round_ in range(6):
        out = tmp_path / str(round_)
        with subprocess.Popen([sys.executable, "-c", WRITER, str(out)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for _ in range(10 + round_):
                told = int(writer.stdout.readline())
            writer.kill()
        for number in range(told + 1):
            assert (out / f"{number:07}.json").read_bytes() == b"%07d" % number * 20_000
        left = [file for file in out.iterdir() if not file.name.startswith(".")]
        assert all(file.read_bytes() == file.stem.encode() * 20_000 for file in left)
        for file in out.glob(".*.tmp"):  # the next attempt goes over it
            name = file.name[1:-4]
            assert type(deposit(str(out), name, name[:7].encode() * 20_000)) is Delivered
        assert not list(out.glob(".*"))
