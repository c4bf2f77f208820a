"""Write the pages of `docs/reference/` about the API, events and metrics from what the code itself says of them.

`make docs` runs it beside `wardline describe --markdown`; a test compares the pages with what it would write.
"""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
NOTE = "<!-- Written by tools/reference.py: change the code, then run `make docs`. -->\n"


def pages() -> dict[str, str]:
    """File name → text of every generated page."""
    return {"api.md": api(), "events.md": events(), "metrics.md": metrics()}


def api() -> str:
    from engine.console.doors import API, doors
    from engine.console.openapi import SAID, describe

    found = [door for door in doors() if door.api]
    described = describe(found)
    lines = [NOTE, "# The API\n", f"{described['info']['description']}\n"]
    lines.append(
        f"`{API}/openapi.json` of a console says all of this for programs, with the fields of every answer; "
        "[Use the API](../how-to/use-the-api.md) shows how to begin.\n\n"
        "What is refused comes as `application/problem+json` (RFC 9457):\n"
    )
    lines.append("| status | means |\n| --- | --- |")
    lines += [f"| {status} | {_cell(said)} |" for status, said in SAID.items()]
    for tag in described["tags"]:
        lines.append(f"\n## {tag['name']}\n")
        lines.append("| address | what | right, on | asks | answers |\n| --- | --- | --- | --- | --- |")
        for path, methods in described["paths"].items():
            for method, one in methods.items():
                if tag["name"] in one["tags"]:
                    right = ", ".join(filter(None, (one["x-right"], one["x-scope"])))
                    asks = ", ".join(_field(*field) for field in _asked(one))
                    where = path.removeprefix(API)
                    answers = _answers(one)
                    lines.append(f"| `{method.upper()} {where}` | {_cell(one['summary'])} | {right} | {asks} | {answers} |")
    return "\n".join(lines) + "\n"


def _asked(operation: dict[str, Any]) -> list[tuple[str, bool]]:
    """What a request may say besides its path: (name, whether it must)."""
    found = [(one["name"], one["required"]) for one in operation["parameters"] if one["in"] == "query"]
    content = operation.get("requestBody", {}).get("content", {})
    for kind in content.values():
        found += [(name, name in kind["schema"].get("required", [])) for name in kind["schema"]["properties"]]
    return found


def _field(name: str, required: bool) -> str:
    return f"**`{name}`**" if required else f"`{name}`"


def _answers(operation: dict[str, Any]) -> str:
    """What is told when all is well; of a change its result."""
    status, answer = next(iter(operation["responses"].items()))
    ((kind, content),) = answer["content"].items()
    schema = content["schema"]
    schema = schema.get("properties", {}).get("result", schema)
    name = str(schema.get("items", schema).get("$ref", "")).rpartition("/")[2].rpartition("__")[2]
    told = "a file" if kind == "*/*" else f"`{name}`" if name else "a note"
    return ("" if status == "200" else f"{status}: ") + ("list of " if "items" in schema else "") + told


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
