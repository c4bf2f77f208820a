"""docs/how-to/add-a-connector.md works as it stands: its files are written out, found by the registry and tested."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "how-to" / "add-a-connector.md"
FILE = re.compile(r"<!-- file: (\S+) -->\n```python\n(.*?)```\n", re.DOTALL)

PLUGIN = """
import engine.connectors
engine.connectors.__path__.append({folder!r})

def pytest_sessionfinish(session):
    from engine.registry import connectors
    assert connectors()["labels"].destination.load().__name__ == "LabelPrinter"
"""


def test_the_page_adds_a_connector_that_keeps_the_contract(tmp_path: Path) -> None:
    files = dict(FILE.findall(PAGE.read_text()))
    assert list(files) == [
        "engine/connectors/labels/__init__.py",
        "engine/connectors/labels/destination.py",
        "tests/contract/connectors/test_labels.py",
    ], "one folder and its contract test"
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "with_labels.py").write_text(PLUGIN.format(folder=str(tmp_path / "engine" / "connectors")))
    test = tmp_path / "tests/contract/connectors/test_labels.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.conftest", "-p", "with_labels",
         "-c", str(ROOT / "setup.cfg"), "--rootdir", str(ROOT), str(test)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(tmp_path)))}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "22 passed" in done.stdout
