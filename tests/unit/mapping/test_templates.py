"""`render`: text from a template, strict, escaped, and without control characters."""

from __future__ import annotations

import pytest
from lxml import etree

from engine.errors import MappingError
from tests.unit.mapping.material import ADT, FACTS, TABLES, MakeSite, hl7

SOAP = """\
<Journal id="{{ message.id }}">
{% for line in journal.lines %}
  <Line no="{{ loop.index }}" side="{{ line.side }}">{{ line.memo }}</Line>
{% endfor %}
  <Debits>{{ m["journal.lines[side='D'].amount"] }}</Debits>
  <Sum>{{ journal.lines[side='D'].amount }}</Sum>
</Journal>
"""
JOURNAL = {
    "ledger": "GENERAL", "currency": "USD", "total_dr": "5.00", "total_cr": "5.00",
    "lines": [
        {"account": "1", "side": "D", "amount": "5.00", "memo": "a < b & \"c\""},
        {"account": "2", "side": "C", "amount": "5.00", "memo": "<x/>"},
    ],
}  # fmt: skip


def test_canonical_data_becomes_xml(site: MakeSite) -> None:
    library = site({
        "m.yaml": "mapping: m\nfrom: journal/v1\nto: xml\nrender: {template: soap.xml.j2}\n", "mappings/soap.xml.j2": SOAP,
    })  # fmt: skip
    assert library.problems == ()
    source = library.source("journal/v1")
    document = source.document([JOURNAL], many=False)  # type: ignore[union-attr]
    (product,) = library.chain(["m"], "journal/v1").apply(document, FACTS)
    assert (product.content_type, product.kind) == ("application/xml", "xml")
    root = etree.fromstring(product.content)
    assert root.get("id") == "0000000042"
    assert [line.text for line in root.findall("Line")] == ['a < b & "c"', "<x/>"]
    assert root.findtext("Debits") == root.findtext("Sum") == "5.00"


def rendered(site: MakeSite, template: str, content: str = ADT, to: str = "text", lines: str = "") -> str:
    library = site({
        "m.yaml": f"mapping: m\nfrom: hl7v2\nto: {to}\n{lines}render: {{template: t.j2}}\n", "mappings/t.j2": template, **TABLES,
    })  # fmt: skip
    assert [str(problem) for problem in library.problems] == []
    (product,) = library.chain(["m"], "hl7v2").apply(library.formats["hl7v2"].parse(hl7(content)), FACTS)
    return product.content.decode()


def test_paths_filters_and_lets_work_in_templates(site: MakeSite) -> None:
    template = "{{ PID-5.1 | upper }};{{ PID-8 | code('sex') }};{% for id in PID-3[*].1 %}{{ id }},{% endfor %};{{ who }};{{ PID-9 }};{{ today }}"
    text = rendered(site, template, lines="let: {who: \"=PID-5.2 ~ ' ' ~ PID-5.1\"}\n")
    assert text == "WORTHING;female;700,100,;Ann Worthing;;2026-01-01"
    assert rendered(site, "{% if PID-8 == 'F' %}Ms{% else %}Mr{% endif %} {{ PID-9 | default('?') }}") == "Ms ?"
    assert rendered(site, "{{ MSH-7 | datetime }}") == "2026-01-03T10:15:00-05:00"


def test_text_is_not_escaped_and_xml_is(site: MakeSite) -> None:
    message = ADT.replace("Worthing^Ann^Q", "<b>")
    assert rendered(site, "{{ PID-5.1 }}", message) == "<b>"
    assert rendered(site, "{{ PID-5.1 }}", message, to="xml") == "&lt;b&gt;"


def test_a_misspelt_name_parks_with_its_line(site: MakeSite) -> None:
    with pytest.raises(MappingError, match=r"m xml: t.j2 line 2: 'currncy' is undefined"):
        rendered(site, "<a>\n{{ currncy }}</a>", to="xml")


@pytest.mark.parametrize("escape", ["\\X0B\\", "\\X00\\", "\\X1B\\"])
def test_control_characters_are_refused(site: MakeSite, escape: str) -> None:
    with pytest.raises(MappingError, match="control character"):
        rendered(site, "<a>{{ PID-5.1 }}</a>", ADT.replace("Worthing^Ann^Q", f"a{escape}b"), to="xml")


def test_endless_output_is_refused(site: MakeSite) -> None:
    loops = "{% for a in PID-3[*] %}" + "{% for b in PID-3[*] %}" * 18 + "xxxxxxxxxx{{ PID-5.1 }}" + "{% endfor %}" * 19
    with pytest.raises(MappingError, match="more than"):
        rendered(site, loops)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ PID-5.1 | uppr }}", "there is no filter 'uppr' in templates"),
        ("{% if %}", "line 1"),
        ("{{ PID-5.1", "line 1"),
        ("{% nonsense %}", "line 1"),
    ],
)
def test_a_wrong_template_is_told_when_it_is_read(site: MakeSite, template: str, text: str) -> None:
    library = site({"m.yaml": "mapping: m\nfrom: hl7v2\nto: text\nrender: {template: t.j2}\n", "mappings/t.j2": template})
    (problem,) = library.problems
    assert problem.file == "mappings/t.j2"
    assert text in problem.text


@pytest.mark.parametrize("name", ["none.j2", "../conf/secret", "/etc/passwd"])
def test_a_template_outside_the_mappings_is_not_there(site: MakeSite, name: str) -> None:
    library = site({"m.yaml": f"mapping: m\nfrom: hl7v2\nto: text\nrender: {{template: {name}}}\n", "conf/secret": "x"})
    assert "there is no template" in library.problems[0].text
