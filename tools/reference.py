"""Write the pages of `docs/reference/` about events and metrics from what the code itself says of them.

`make docs` runs it beside `wardline describe --markdown`; a test compares the pages with what it would write.
"""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
NOTE = "<!-- Written by tools/reference.py: change the code, then run `make docs`. -->\n"


def pages() -> dict[str, str]:
    """File name → text of every generated page."""
    return {"events.md": events(), "metrics.md": metrics()}


def events() -> str:
    from engine import events as module
    from engine.observe.logs import event_name

    lines = [NOTE, "# Events\n", inspect.cleandoc(module.__doc__ or "").replace("\n\n", "\n") + "\n"]
    lines.append(
        "In the log, an event is one line of JSON with `timestamp`, `level`, `event` and the fields below.\n"
        "Of a reason that is about content it has only the `place`; what a peer answered is not logged at all.\n"
    )
    lines.append("| event | level | fields | told when |\n| --- | --- | --- | --- |")
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            kind = getattr(module, node.name)
            fields = ", ".join(f"`{name}`" for name in kind._fields)
            told = _cell(ast.get_docstring(node) or "")
            lines.append(f"| `{event_name(kind)}` | {module.LEVELS.get(kind, 'debug')} | {fields} | {told} |")
    return "\n".join(lines) + "\n"


def metrics() -> str:
    from engine.observe.metrics import COUNTERS, HISTOGRAMS

    lines = [NOTE, "# Metrics\n"]
    lines.append("Served as Prometheus text at `/metrics` of the address that `monitor:` names in `conf/engine.yaml`.\n")
    lines.append("| name | kind | labels | meaning |\n| --- | --- | --- | --- |")
    lines += [f"| `{name}_total` | counter | {_labels(labels)} | {about} |" for name, (about, labels) in COUNTERS.items()]
    lines += [f"| `{name}` | histogram | {_labels(labels)} | {about} |" for name, (about, labels, _) in HISTOGRAMS.items()]
    for noun in ("channel", "destination", "disk"):
        lines.append(f"| `wardline_{noun}_state` | gauge | `{noun}`, `state` | 1 for the state a {noun} is in. |")
    lines.append("| `wardline_build` | gauge | `version` | The release that runs. |")
    lines.append("| `process_…` | | | CPU, memory, start time and open files of the process. |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _labels(labels: list[str]) -> str:
    return ", ".join(f"`{label}`" for label in labels)


if __name__ == "__main__":
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, "utf-8")
        sys.stdout.write(f"docs/reference/{name}\n")
