"""The habits of this repository, as tests: sizes, layers, what may be used where, and that everything is documented."""

from __future__ import annotations

import ast
import configparser
import importlib
import re
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import click
import pytest

from engine import contracts, errors, events, registry
from engine.cli import COMMANDS, cli

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "engine"
MODULES = sorted(ENGINE.rglob("*.py"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

Function = ast.FunctionDef | ast.AsyncFunctionDef


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def inside(*parts: str) -> list[Path]:
    return [path for path in MODULES if path.relative_to(ENGINE).parts[0].removesuffix(".py") in parts]


def functions() -> Iterator[tuple[Path, Function]]:
    for path in MODULES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield path, node


def imports(path: Path, everywhere: bool = True) -> set[str]:
    """Full names of the modules that a module imports. Not `everywhere`: only those it needs to be loaded."""
    found: set[str] = set()
    for node in ast.walk(tree_of(path)) if everywhere else loaded(tree_of(path).body):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {
                full if (full := f"{node.module}.{alias.name}") in names_of_modules() else node.module for alias in node.names
            }
    return found


@cache
def names_of_modules() -> dict[str, Path]:
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in MODULES}


def loaded(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when the module is loaded, but for those under TYPE_CHECKING."""
    for node in body:
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            yield from loaded([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            yield from loaded(node.body)


def calls(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


# ── sizes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_modules_are_small() -> None:
    sizes = {short(path): len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert {name: size for name, size in sizes.items() if size > 400} == {}
    filled = [size for size in sizes.values() if size]
    assert statistics.median(filled) <= 130
    assert statistics.quantiles(filled, n=10)[8] <= 300


def test_functions_are_small() -> None:
    sizes = {f"{short(path)}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1 for path, node in functions()}
    assert {name: size for name, size in sizes.items() if size > 80} == {}
    assert statistics.quantiles(sizes.values(), n=20)[18] <= 40


def test_nothing_is_left_to_do() -> None:
    words = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    assert [short(path) for path in MODULES if words.search(path.read_text("utf-8"))] == []


# ── what may be used where ─────────────────────────────────────────────────────────────────────────────────────────


def test_no_module_imports_itself_in_a_circle() -> None:
    names = names_of_modules()
    graph = {name: {found for found in imports(path, everywhere=False) if found in names} for name, path in names.items()}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " → ".join((*way[way.index(name) :], name))
        if name not in done:
            for following in graph[name] - {name}:
                visit(following, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_only_commands_print() -> None:
    allowed = set(inside("cli"))
    found = [f"{short(path)}:{line}" for path in MODULES if path not in allowed for line, name in calls(path) if name == "print"]
    assert found == []


def test_asyncio_is_met_in_few_places() -> None:
    """The core's coroutines are Twisted's. A bare asyncio await in one of them fails only when it is reached."""
    elsewhere = inside("testing", "console")  # no part of the engine's process
    allowed = {*inside("net", "bridge", "reactor"), *elsewhere}
    found = [path for path in MODULES if any(name.split(".")[0] == "asyncio" for name in imports(path))]
    assert [short(path) for path in found if path not in allowed] == []


def test_the_core_asks_nobody_for_time_or_chance() -> None:
    """What depends on a clock, on chance or on the environment gets it handed in, so that tests can hand in theirs."""
    forbidden = re.compile(
        r"(?:time\.)?(?:time|time_ns|monotonic|perf_counter|sleep)|(?:dt|datetime)(?:\.datetime)?\.(?:now|utcnow|today)|"
        r"date\.today|random\.\w+|uuid4|uuid\.uuid\d|os\.(?:getenv|environ\.\w+)"
    )
    core = inside("connectors", "formats", "mapping", "pipeline", "canonical", "model", "contracts", "values")
    found = [f"{short(path)}:{line} {name}" for path in core for line, name in calls(path) if forbidden.fullmatch(name)]
    assert found == []


def test_i14_nothing_evaluates_content() -> None:
    names = {
        "eval",
        "exec",
        "os.system",
        "os.popen",
        "pickle.loads",
        "marshal.loads",
        "yaml.load",
        "yaml.unsafe_load",
        "__import__",
    }
    modules = {"pickle", "marshal", "shelve", "dill"}
    found = [f"{short(path)}:{line} {name}" for path in MODULES for line, name in calls(path) if name in names]
    found += [f"{short(path)} {name}" for path in MODULES for name in imports(path) & modules]
    # The one exception makes functions of code that the engine wrote and that holds no text at all; it checks that itself.
    assert [re.sub(r":\d+", "", one) for one in found] == ["engine/generated.py exec"]


def test_no_shell_runs() -> None:
    found = []
    for path in MODULES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.keyword) and node.arg == "shell" and ast.unparse(node.value) != "False":
                found.append(f"{short(path)}:{node.value.lineno}")
    assert found == []


def test_sql_is_written_in_the_store_only() -> None:
    people = (ENGINE / "console" / "people").glob("*.py")  # with a small database of their own
    allowed = {*inside("store", "textindex"), *inside("testing"), *people}
    outside = [path for path in MODULES if path not in allowed]
    assert [
        short(path) for path in outside if any(n.startswith(("sqlalchemy", "sqlite3", "psycopg")) for n in imports(path))
    ] == []


def test_help_is_quick() -> None:
    """`wardline --help` loads click and nothing that takes time."""
    heavy = ["twisted", "pydantic", "sqlalchemy", "lxml", "jinja2", "rich", "structlog", "fhir", "hl7apy", "hl7", "yaml", "treq"]
    script = (
        "import sys; from engine.cli import cli; cli(['--help'], standalone_mode=False); "
        f"print(sorted(set({heavy!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "Commands" in done.stdout
    assert done.stderr.strip() == "[]"


PART_OF = {
    "pydantic-core": "pydantic",
    "typing-extensions": "pydantic",
    "markupsafe": "jinja2",
    "zope-interface": "twisted",
}
"""What comes with another distribution and is used as a part of it."""


def declared(*extras: str) -> set[str]:
    """Distributions that setup.cfg names, in lower case with dashes."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    texts = [setup["options"]["install_requires"], *(setup["options.extras_require"][extra] for extra in extras)]
    return {found[0].lower().replace("_", "-") for text in texts for found in re.finditer(r"^[\w.-]+", text, re.MULTILINE)}


@pytest.mark.parametrize(("folder", "extras"), [("engine", ("postgres",)), ("tests", ("test",)), ("tools", ())])
def test_what_is_imported_is_declared(folder: str, extras: tuple[str, ...]) -> None:
    """A package that is only there because another one needs it is gone one day."""
    known = declared(*extras)
    known |= {part for part, whole in PART_OF.items() if whole in known}
    distributions = packages_distributions()
    missing = set()
    for path in (ROOT / folder).rglob("*.py"):
        for name in (
            {found.split(".")[0] for found in imports(path)} - set(sys.stdlib_module_names) - {"engine", "tests", "tools"}
        ):
            owners = {owner.lower().replace("_", "-") for owner in distributions.get(name, ())}
            if not owners & known:
                missing.add(f"{short(path)}: {name}")
    assert sorted(missing) == []


# ── everything is documented ───────────────────────────────────────────────────────────────────────────────────────


def classes(module: object) -> Iterator[ast.ClassDef]:
    for node in tree_of(Path(str(module.__file__))).body:  # type: ignore[attr-defined]
        if isinstance(node, ast.ClassDef):
            yield node


def test_documentation_of_every_contract_and_its_methods() -> None:
    from_twisted = {"Clock"}  # its methods are Twisted's
    missing = []
    for node in classes(contracts):
        if not ast.get_docstring(node):
            missing.append(node.name)
        protocol = any("Protocol" in ast.unparse(base) for base in node.bases) and node.name not in from_twisted
        methods = [one for one in node.body if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))]
        missing += [f"{node.name}.{one.name}" for one in methods if protocol and not ast.get_docstring(one)]
    described_by_comments = {"Facts", "Connector", "Route"}
    assert set(missing) - described_by_comments == set()


@pytest.mark.parametrize("module", [events, errors], ids=lambda module: module.__name__)
def test_documentation_of_every_event_and_error(module: object) -> None:
    assert [node.name for node in classes(module) if not ast.get_docstring(node)] == []


def test_documentation_of_every_module() -> None:
    said = [path for path in MODULES if path.read_text("utf-8").strip()]
    assert [short(path) for path in said if not ast.get_docstring(tree_of(path))] == []


def all_options() -> Iterator[tuple[str, type[registry.Options]]]:
    for connector in registry.connectors().values():
        for end, declared in (("source", connector.source), ("destination", connector.destination)):
            if declared:
                yield f"{connector.name} {end}", declared.options
    for kind in registry.formats().values():
        yield f"{kind.name} format", kind.options


def test_documentation_of_every_option() -> None:
    found = list(all_options())
    assert found
    missing = [
        f"{where}: {name}" for where, options in found for name, field in options.model_fields.items() if not field.description
    ]
    assert missing == []


@pytest.mark.parametrize("name", COMMANDS)
def test_documentation_of_every_command(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.help
    parameters = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    assert [one.name for one in parameters if not one.help] == []
    reference = (ROOT / "docs" / "reference" / "commands.md").read_text("utf-8")
    assert f"wardline {name}" in reference
    assert [option for one in parameters for option in one.opts if option.startswith("--") and option not in reference] == []


@pytest.mark.parametrize("page", ["api.md", "events.md", "metrics.md"])
def test_documentation_reference_is_what_the_code_says(page: str) -> None:
    from tools import reference

    written = (reference.REFERENCE / page).read_text("utf-8")
    assert written == reference.pages()[page], "run `make docs`"


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md", "LICENSE"])
def test_documentation_has_its_first_pages(page: str) -> None:
    assert len((ROOT / page).read_text("utf-8")) > 200


def test_documentation_begins_with_two_commands() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", "\n".join(re.findall(r"```.*?```|`[^`]+`", readme, re.DOTALL))))
    assert {"demo", "test"} <= named
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_documentation_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        file = page if not target else (page.parent / target).resolve()
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(link)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """As the usual renderers make them from headings."""
    headings = re.findall(r"^#+ +(.*?) *#*$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_documentation_names_commands_that_exist() -> None:
    """Whatever a page or help text tells people to type is there."""
    unknown = []
    for page in PAGES:
        for name in re.findall(r"`+(?:\.venv/bin/)?wardline ([a-z]+)", page.read_text("utf-8")):
            if name not in COMMANDS:
                unknown.append(f"{short(page)}: wardline {name}")
    assert unknown == []


def test_every_command_can_be_loaded() -> None:
    for name in COMMANDS:
        module = importlib.import_module(f"engine.cli.{name}_" if name in ("test", "map") else f"engine.cli.{name}")
        assert isinstance(module.command, click.Command)
