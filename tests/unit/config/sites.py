"""Sites for tests: the starter's files, with what a test changes."""

from __future__ import annotations

from pathlib import Path

from engine.cli.starter import FILES
from engine.config import SiteReading, read_site

ENGINE = "conf/engine.yaml"
DESTINATIONS = "conf/destinations.yaml"
CHANNEL = "channels/adt.yaml"
MAPPING = "mappings/adt-to-patient.yaml"

MINIMAL = """\
channel: adt
source:
  mllp: {listen: 127.0.0.1:6660}
format: hl7v2
index: {mrn: =PID-3.1}
routes:
  patients: {mapping: adt-to-patient, to: patients}
"""


def make(directory: Path, changes: dict[str, str | None] | None = None) -> Path:
    """Write a site: the starter's, with files replaced (text), or left out (None)."""
    files = {**FILES, ENGINE: FILES[ENGINE].format(organization="Test"), **(changes or {})}
    for name, content in files.items():
        if content is not None:
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode())
    return directory


def read(directory: Path, changes: dict[str, str | None] | None = None, environ: dict[str, str] | None = None) -> SiteReading:
    return read_site(make(directory, changes), environ or {})


def told(reading: SiteReading) -> list[str]:
    """Problems as text, warnings marked."""
    return [f"{'warning ' if problem.severity == 'warning' else ''}{problem}" for problem in reading.problems]


def channel(*lines: str, without: str = "") -> str:
    """The minimal channel with lines added, and the line that begins with `without` left out."""
    kept = [line for line in MINIMAL.splitlines() if not without or not line.startswith(without)]
    return "\n".join([*kept, *lines, ""])
