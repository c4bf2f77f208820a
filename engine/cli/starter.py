"""The files of a new site: one channel that works, with its mapping, its tests and a message to try it on."""

from __future__ import annotations

from typing import Final

_ENGINE = """\
# This environment. Nothing about logic stands here: channels and mappings are the same in test and in production.
organization: {organization}
environment: test                           # shown wherever people act
timezone: UTC                               # of timestamps that carry no offset, such as America/New_York
store: sqlite:///data/wardline.db
console: {{listen: 127.0.0.1:8070}}           # the web console
monitor: {{listen: 127.0.0.1:8071}}           # /live, /ready and /metrics
"""

_DESTINATIONS = """\
# The systems we deliver to. One queue and one rate for each, however many channels use it.
destinations:
  patients:
    directory: {path: "${PATIENTS_DIRECTORY:-out}", name: "{identity}.json"}
    retry: {first: 1s, up_to: 5m}           # for ever: the queue is durable
"""

_CHANNEL = """\
channel: adt
about: Registration events, as one JSON file for each patient that was admitted, registered or changed.
owner: Integration team
criticality: normal
sensitivity: phi

source:
  mllp: {listen: "${ADT_LISTEN:-127.0.0.1:6660}"}
format: hl7v2

accept:                                     # anything else is answered AR and kept as rejected
  - =MSH-9.1 == 'ADT'
skip:                                       # fine but unwanted: answered AA and kept as filtered
  test patient: =MSH-11 == 'T'
order_by: =first(PID-3[.5='MR'].1, PID-3.1) # strict order for a patient, others beside it
index:                                      # what people search by
  mrn: =first(PID-3[.5='MR'].1, PID-3.1)
  patient: =joined(', ', PID-5.1, PID-5.2)

routes:
  patients:
    mapping: adt-to-patient
    to: patients
"""

_MAPPING = """\
mapping: adt-to-patient
from: hl7v2
to: patient/v1                              # a canonical entity: `wardline describe patient` shows its fields
set:
  id: =first(PID-3[.5='MR'].1, PID-3.1) | required
  identifiers: =PID-3[*] | identifier
  name: =PID-5[*] | name
  birth_date: =PID-7 | date
  sex: =PID-8 | code('sex')
  addresses: =PID-11[*] | address
  updated_at: =first(EVN-2, MSH-7) | datetime
tests:
  - given: samples/adt_a01.hl7
    expect:
      - id: "100200"
        name: [{family: Example, given: [Ann, Q]}]
        birth_date: "1980-02-03"
        sex: female
        addresses: [{lines: [1 Nowhere Road], city: Exampleton}]
"""

_CODES = """\
code,sex
F,female
M,male
O,other
A,other
U,unknown
N,unknown
"""

_MESSAGE = "\r".join(
    (
        "MSH|^~\\&|EHR|GENERAL|WARDLINE|GENERAL|20260302081544||ADT^A01^ADT_A01|EHR0000001|P|2.5.1",
        "EVN|A01|20260302081540",
        "PID|1||900112233^^^STATE^SS~100200^^^GENERAL^MR||Example^Ann^Q||19800203|F|||1 Nowhere Road^^Exampleton^NY^00001",
        "PV1|1|I|4W^412^B||||||||||||||||V-88001",
        "",
    )
)

_README = """\
# A Wardline site

| | |
|---|---|
| `conf/` | this environment: settings, and the systems we deliver to |
| `channels/` | what is received, and where it goes |
| `mappings/` | how content becomes other content; `codes/*.csv` are code tables |
| `samples/` | messages to try things on |

    wardline check                                      # every file, all errors at once
    wardline test                                       # the tests of mappings and channels
    wardline map adt-to-patient samples/adt_a01.hl7     # what a mapping makes of a message
    wardline run                                        # the engine
    wardline send samples/adt_a01.hl7 --to mllp://127.0.0.1:6660

Then `out/` has the patient as JSON, and `wardline search mrn:100200` finds the message.

Secrets never stand in these files: an option that is one takes `secret://env/NAME` or `secret://file/run/secrets/name`.
"""

FILES: Final = {
    "conf/engine.yaml": _ENGINE,
    "conf/destinations.yaml": _DESTINATIONS,
    "channels/adt.yaml": _CHANNEL,
    "mappings/adt-to-patient.yaml": _MAPPING,
    "mappings/codes/sex.csv": _CODES,
    "samples/adt_a01.hl7": _MESSAGE,
    "README.md": _README,
    ".gitignore": "data/\nout/\n",
    ".gitattributes": "*.hl7 -text\n",  # HL7 v2 ends its segments with CR, which git must not change
}
"""Path → content; `conf/engine.yaml` still wants its `organization`."""
