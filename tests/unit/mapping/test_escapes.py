"""Whatever is written into a mapping, a condition, a template or a message: nothing of it runs.

The proof is a canary, an audit hook of Python itself: while a payload is worked on, no file is opened, no process begun, no
module imported, no socket made, and no code compiled in which the payload stands. A secret lies in the environment, and must
not come out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import registry
from engine.errors import ConfigurationError, ContentError
from engine.mapping import Library
from engine.mapping.faults import Refused, Unreadable
from engine.mapping.reads import Surroundings
from engine.mapping.templates import Template
from engine.strictyaml import Text
from tests.unit.mapping.material import ADT, FACTS, TABLES, Bench, MakeSite, hl7
from tests.unit.mapping.payloads import CONTENT, ESCAPES, MORE_CONTENT, MORE_ESCAPES, MORE_TEMPLATES, TEMPLATES
from tests.unit.mapping.test_security import assert_plain

EXPRESSIONS = [*ESCAPES, *MORE_ESCAPES]
TEMPLATED = [*TEMPLATES, *MORE_TEMPLATES]
SECRET = "canary-4711-secret"
DANGEROUS = ("os.", "subprocess.", "socket.", "shutil.", "ctypes.", "pty.", "tempfile.", "urllib.", "http.", "glob.", "pathlib.")
SITE = Path(__file__).resolve().parents[3]


class Canary:
    """Hears what Python itself is about to do."""

    def __init__(self) -> None:
        self.payload = ""
        self.armed = False
        self.heard: list[str] = []

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.armed:
            return
        if event in ("open", "import", "exec", "compile", "code.__new__", "function.__new__", "sys._getframe"):
            self._code(event, arguments)
        elif event.startswith(DANGEROUS):
            self.heard.append(event)

    def _code(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Expressions become functions whose text is ours: no word of the payload may stand in it."""
        text = str(arguments[0]) if arguments else ""
        if event in ("open", "import") or (event == "compile" and self.payload and self.payload in text):
            self.heard.append(f"{event} {text[:80]}")

    def __call__(self, payload: str, work: Callable[[], Any]) -> Any:
        self.payload, self.heard = (payload if len(payload) > 12 else ""), []
        self.armed = True
        try:
            return work()
        finally:
            self.armed = False
            assert self.heard == [], f"{payload!r} made Python do {self.heard}"


CANARY = Canary()
sys.addaudithook(CANARY.hook)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A directory of its own, in which a CANARY would be found; and a secret."""
    monkeypatch.setenv("WARDLINE_CANARY", SECRET)
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.rglob("CANARY*"))


def shown(value: object) -> str:
    text = str(value)
    assert SECRET not in text
    assert "root:" not in text  # of /etc/passwd
    for sign in ("<class", "&lt;class", "built-in", "<function", "&lt;function", "<module", " object at 0x", "<frame", "<code"):
        assert sign not in text
    return text


def test_the_canary_sings() -> None:
    """A proof that cannot fail is none."""
    for work in (lambda: os.system("true"), lambda: open("/dev/null").close(), lambda: __import__("this_is_nowhere")):
        with pytest.raises((AssertionError, ImportError)):
            CANARY("x", work)
    with pytest.raises(AssertionError):
        CANARY("first(__import__('os'))", lambda: eval(compile("1 #first(__import__('os'))", "", "eval")))


def test_there_are_enough_payloads() -> None:
    assert len(set(EXPRESSIONS)) >= 300
    assert len(set(TEMPLATED)) >= 200
    assert len({*CONTENT, *MORE_CONTENT}) >= 50


def names(payloads: list[str]) -> list[str]:
    return [f"{number}-{payload[:30]!r}" for number, payload in enumerate(payloads)]


# ── in mappings and channel files ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("payload", EXPRESSIONS, ids=names(EXPRESSIONS))
@pytest.mark.parametrize("condition", [False, True], ids=["value", "condition"])
def test_an_expression_runs_nothing(bench: Bench, payload: str, condition: bool) -> None:
    format_ = bench.library.formats["hl7v2"]
    text = Text.made("=" + payload)
    bench("=joined('', PID-5.1, 1)")  # what is loaded once is loaded
    document = bench.document(ADT)

    def work() -> Any:
        return bench.library.expression(text, format_, condition=condition)(document, FACTS)

    said = ""
    try:
        value = CANARY(payload, work)
        assert_plain(value)
        shown(value)
    except (ConfigurationError, ContentError) as error:
        said = shown(error)
    assert len(said) < 700


def test_most_are_refused_when_they_are_read(bench: Bench) -> None:
    """What is not refused then is harmless: a number too large, a text in quotes, a field that no value has."""
    format_ = bench.library.formats["hl7v2"]
    passed = [payload for payload in EXPRESSIONS if not refused(bench.library, payload, format_)]
    assert len(passed) < len(EXPRESSIONS) // 10
    assert not [payload for payload in passed if "import" in payload or "open" in payload or "globals" in payload]
    assert {str(bench(f"={payload}")) for payload in passed if "__" in payload} == {""}


def refused(library: Library, payload: str, format_: Any) -> bool:
    try:
        library.expression("=" + payload, format_)
    except ConfigurationError:
        return True
    return False


def test_a_mapping_names_the_line_of_each(site: MakeSite) -> None:
    """In a file: every refusal has its own line, and no other line is blamed."""
    plain = [payload for payload in EXPRESSIONS if payload.isprintable() and len(payload) < 300]
    lines = [f"  f{number}: '={payload.replace(chr(39), chr(39) * 2)}'" for number, payload in enumerate(plain)]
    library = site({**TABLES, "m.yaml": "mapping: m\nfrom: hl7v2\nto: json\nset:\n" + "\n".join(lines) + "\n"})
    wrong = {problem.line for problem in library.problems if problem.severity == "error"}
    expected = {
        number
        for number, payload in enumerate(plain, 5)
        if refused(library, payload, library.formats["hl7v2"])
    }  # fmt: skip
    assert wrong == expected
    assert len(wrong) > 300
    with pytest.raises(ConfigurationError, match="has errors of its own"):
        library.chain(["m"], "hl7v2")


# ── in templates ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("payload", TEMPLATED, ids=names(TEMPLATED))
@pytest.mark.parametrize("escape", [False, True], ids=["text", "xml"])
def test_a_template_runs_nothing(bench: Bench, payload: str, escape: bool) -> None:
    around = Surroundings(bench.library.formats["hl7v2"], bench.library.tables)
    document = bench.document(ADT)
    with pytest.raises(Refused):  # what Jinja2 loads when it is needed, is loaded now
        Template("t.j2", "{{ PID-5.1 }}{{ nothing }}", around, escape=True).render(document, {}, FACTS)
    text = said = ""
    try:
        template = CANARY("", lambda: Template("t.j2", payload, around, escape=escape))
    except Unreadable as error:
        shown(error)
        return
    try:
        text = CANARY("", lambda: template.render(document, {}, FACTS))
    except Refused as error:
        said = shown(error.sentence)
    assert len(shown(text)) < 100
    assert len(said) < 700
    assert "t.j2" in said or not said


@pytest.mark.parametrize("payload", ["{% autoescape false %}{{ PID-5.1 }}{% endautoescape %}", "{{ PID-5.1 | safe }}"])
def test_escaping_cannot_be_switched_off(bench: Bench, payload: str) -> None:
    around = Surroundings(bench.library.formats["hl7v2"], {})
    with pytest.raises(Unreadable):
        Template("t.j2", payload, around, escape=True)


# ── as content ─────────────────────────────────────────────────────────────────────────────────────────────────────

FIELDS = (
    "MSH-3", "MSH-4", "MSH-5", "MSH-6", "EVN-5.1", "PID-3.1", "PID-3.4", "PID-5.1", "PID-5.2", "PID-5.3", "PID-11.1", "PID-11.3", "PID-13.1",
    "PID-18.1", "PID-22.1", "NK1-2.1", "NK1-2.2", "NK1-3.2", "PV1-3.1", "PV1-3.4", "PV1-7.2", "PV1-19.1", "ZXX-1",
)  # fmt: skip
SPOKEN = [text for text in [*EXPRESSIONS, *TEMPLATED, *CONTENT, *MORE_CONTENT] if text.strip() == text and len(text) < 400]
SPOKEN = [text for text in SPOKEN if not any(ord(letter) < 32 for letter in text) and text not in ("", '""')]


@pytest.fixture(scope="module")
def whole() -> Library:
    return Library.load(SITE, registry.formats(), registry.entities())


def test_content_is_data_in_every_field(whole: Library, bench: Bench) -> None:
    """Read, mapped, copied and rendered: the payload comes out as it went in."""
    format_ = whole.formats["hl7v2"]
    to_patient, copied = whole.chain(["adt-to-patient"], "hl7v2"), whole.chain(["oru-to-lis"], "hl7v2")
    around = Surroundings(format_, {})
    template = Template("t.j2", "".join("{{ m['" + path + "'] }}\n" for path in FIELDS), around, escape=False)
    reads = {path: whole.expression(f"={path} ~ ''", format_) for path in FIELDS}
    in_full = whole.expression("=joined('', PID-5.1, PID-5.2)", format_)
    base = format_.parse(hl7(ADT + "ZXX|1\n"))
    to_patient.apply(base, FACTS)
    for payload in SPOKEN:
        edited = format_.edit(base)
        for path in FIELDS:
            edited.assign(path, payload)
        content = format_.render(edited)
        document = format_.parse(content)
        assert format_.render(document) == content

        def work(document: Any = document) -> None:
            for path, read in reads.items():
                assert read(document, FACTS) == payload, path  # noqa: B023  # used within its own turn
            assert in_full(document, FACTS) == payload * 2  # noqa: B023
            (patient,) = to_patient.apply(document, FACTS)
            assert patient.value["name"][0]["family"] == payload  # noqa: B023
            (message,) = copied.apply(document, FACTS)
            assert message.value["PID-18.1"] == payload  # noqa: B023
            assert template.render(document, {}, FACTS) == f"{payload}\n" * len(FIELDS)  # noqa: B023

        CANARY(payload, work)


def test_content_that_is_a_name_reaches_nothing(bench: Bench, site: MakeSite) -> None:
    """JSON brings names of its own, and a template sees them: they hide neither the engine's nor Python's."""
    library = site({"mappings/t.j2": "{{ message.id }} {{ site.timezone }} {{ a.b }}",
                    "m.yaml": "mapping: m\nfrom: json\nto: text\nrender: {template: t.j2}\n"})  # fmt: skip
    hostile = (
        b'{"message": "x", "site": "x", "m": "x", "self": "x", "__class__": "x", "environment": "x", "loop": "x", "caller": "x",'
        b' "context": "x", "a": {"b": "{{ self }}", "__init__": 1, "items": 2}}'
    )
    (product,) = library.chain(["m"], "json").apply(library.formats["json"].parse(hostile), FACTS)
    assert product.content == b"0000000042 America/New_York {{ self }}"
    for path in ("a.__init__", "a.items", "__class__", "a['__init__']"):
        value = bench(f"={path}", hostile) if not refused(bench.library, path, bench.library.formats["json"]) else 1
        assert value in (1, 2, "x")
