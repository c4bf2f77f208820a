"""What the tests of the mapping language share: messages of our own, and a bench that evaluates expressions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from engine.contracts import Document, Facts
from engine.errors import ConfigurationError
from engine.mapping import Library
from engine.strictyaml import Text, load
from engine.values import Value

FACTS = Facts(
    message_id="0000000042",
    received_at=1_767_268_800_000_000,  # 2026-01-01T12:00:00Z
    channel="charges",
    organization="General Hospital",
    environment="test",
    timezone="America/New_York",
    format="hl7v2",
)

ADT = """\
MSH|^~\\&|EHR|GENERAL|WL|WL|20260103101500||ADT^A01^ADT_A01|M1|P|2.5.1
EVN||20260103101400-0500
PID|1||700^^^STATE^SS~100^^^GENERAL^MR||Worthing^Ann^Q^Jr^Dr^^L~Bracknell^Ann^^^^^M||19800203|F|||1 Nowhere Road^Flat 2^Exampleton^NY^00001^USA^H||^PRN^PH^^1^555^5550100~^NET^Internet^ann@example.org|||||ACC-1
NK1|1|Worthing^John|SPO^Spouse||^PRN^PH^^^555^5550101
NK1|2|Prism^Lane|FND^Friend
PV1|1|I|4W^412^B^GENERAL^^^MAIN^4||||||||||||||||V-1
"""

DFT = """\
MSH|^~\\&|EHR|GENERAL|WL|WL|20260103101500||DFT^P03^DFT_P03|M2|P|2.5.1
EVN||20260103101400
PID|1||100^^^GENERAL^MR||Worthing^Ann||19800203|F||||||||||ACC-1
FT1|1|T1|B1|20260102|20260103|CG|XR2V^Chest^CDM|||2|100&USD|50.00|RAD-1|||||||||||^^^|71046^Chest X-ray^CPT|26~TC
PR1|1||99999^Own^CPT
FT1|2|T2|B1|20260102|20260103|CR|LAB^Panel^CDM|||1|-20.5&USD||LAB-1
DG1|1||I20.9^Angina^I10
"""

ORU = """\
MSH|^~\\&|LAB|NORTH|WL|WL|20260103101500||ORU^R01^ORU_R01|M3|P|2.5.1
PID|1||100^^^GENERAL^MR~123-45^^^STATE^SS||Worthing^Ann
PD1|x
OBR|1|PL-1|F-1|BMP^Basic panel^L
NTE|1|L|first order
OBX|1|NM|NA^Sodium^L||141|mmol/L|||||F
NTE|1|L|about sodium
OBX|2|TX|TXT^Text^L||line one||||||F
OBX|3|TX|TXT^Text^L||line two||||||F
OBX|4|CE|COD^Coded^L||A^Alpha^L||||||F
OBX|5|NM|BAD^Bad^L||x||||||X
OBR|2|PL-2|F-2|CBC^Count^L
OBX|1|DT|DAY^Day^L||20260101||||||F
ZXX|1|local
"""

A40 = """\
MSH|^~\\&|EHR|GENERAL|WL|WL|20260103101500||ADT^A40^ADT_A39|M4|P|2.5.1
EVN||20260103101400
PID|1||100^^^GENERAL^MR||Worthing^Ann
MRG|99^^^GENERAL^MR~98^^^GENERAL^MR
PID|2||200||Prism^Lane
MRG|199
"""


def hl7(text: str) -> bytes:
    return text.strip().replace("\n", "\r").encode() + b"\r"


MakeSite = Callable[[Mapping[str, str]], Library]


TABLES = {
    "sex.csv": "code,sex\nF,female\nM,male\n",
    "gl.csv": "department,revenue_code,account,cost_centre\nRAD-1,0320,400100,CC-RAD\nRAD-1,*,400110,CC-RAD\n*,0450,400700,CC-ED\n",
    "our-facilities.csv": "facility\nGENERAL\nNORTH\n",
}


class Bench:
    """Evaluates expressions on a document."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.documents: dict[str, Document] = {}

    def document(self, content: str | bytes) -> Document:
        raw = hl7(content) if isinstance(content, str) and content.startswith("MSH") else content
        raw = raw.encode() if isinstance(raw, str) else raw
        return self.library.formats["hl7v2" if raw.startswith(b"MSH") else "json"].parse(raw)

    def __call__(self, expression: str, on: str | bytes = ADT, **options: Any) -> Value:
        content = on.encode() if isinstance(on, str) else on
        format_ = self.library.formats["hl7v2" if content.startswith(b"MSH") else "json"]
        return self.library.expression(expression, format_, **options)(self.document(on), FACTS)

    def refusal(self, expression: str, on: str = ADT, **options: Any) -> tuple[int, str]:
        """Column (1 is the `=`) and text of the problem that refuses `expression`."""
        format_ = self.library.formats["hl7v2" if on.startswith("MSH") else "json"]
        text = load('x: "' + expression.replace("\\", "\\\\").replace('"', '\\"') + '"', "f.yaml")["x"]
        assert isinstance(text, Text)
        with pytest.raises(ConfigurationError) as caught:
            self.library.expression(text, format_, **options)
        (problem,) = caught.value.problems
        return problem.column - 4, problem.text  # `x: "` stands before


def one_problem(library: Library) -> str:
    (problem,) = library.problems
    return str(problem)
