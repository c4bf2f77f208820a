"""The tutorials work word for word: their shell blocks run one after another, as somebody would type them.

Only the ports are other ones than on the page, because this machine may have somebody on those.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.testing.processes import free_port

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "docs/tutorial/first-channel.md"]
LIMIT = 120  # seconds for a whole page


def blocks(page: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)


def script(page: str, monitor: int) -> str:
    """All blocks as one script that stops at the first command that fails and says which block it was in."""
    lines = ["set -euo pipefail", "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT"]
    for number, block in enumerate(blocks(page), 1):
        lines += [f"echo '── block {number}'", block.rstrip()]
        if "wardline init" in block:
            lines.append(f"sed -i 's/127.0.0.1:8071/127.0.0.1:{monitor}/; s/127.0.0.1:8070/127.0.0.1:0/' conf/engine.yaml")
    return "\n".join(lines)


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_the_page_run(page: str, tmp_path: Path) -> None:
    monitor, adt, charges = free_port(), free_port(), free_port()
    text = script(page, monitor)
    for shown, here in ((8071, monitor), (6660, adt), (6661, charges)):
        text = text.replace(f"http://127.0.0.1:{shown}", f"http://127.0.0.1:{here}").replace(
            f"mllp://127.0.0.1:{shown}", f"mllp://127.0.0.1:{here}"
        )
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ADT_LISTEN": f"127.0.0.1:{adt}",
        "CHARGES_LISTEN": f"127.0.0.1:{charges}",
        "CONSOLE_LISTEN": "127.0.0.1:0",
    }
    with subprocess.Popen(
        ["bash", "-c", text],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            told, _ = shell.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGKILL)  # with the engine that it left in the background
            raise
    assert shell.returncode == 0, told[-5000:]
    assert told.count("── block") == len(blocks(page))


def test_a_block_that_fails_is_noticed(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", "set -euo pipefail\nfalse\necho never"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize("page", PAGES)
def test_blocks_that_are_run_name_only_commands_that_exist(page: str) -> None:
    from engine.cli import COMMANDS

    assert len(blocks(page)) >= 5
    for block in blocks(page):
        assert set(re.findall(r"\bwardline ([a-z]+)", block)) <= set(COMMANDS)
