"""What a channel file says about answers and about what is asked of messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.promise import promise
from engine.config.site import load_site, read_site
from engine.errors import ContentError

ENGINE = "organization: General Hospital\n"
DESTINATIONS = "destinations:\n  erp: {directory: {path: out}}\n  acks: {directory: {path: acks}}\n"
PROFILE = "about: What the laboratory agreed on.\nrules:\n  PID-3.1: {required: true, length: 20}\n  PID-8: {values: [F, M]}\n"


def site(directory: Path, channel: str, profile: str = PROFILE) -> Path:
    files = {"conf/engine.yaml": ENGINE, "conf/destinations.yaml": DESTINATIONS, "profiles/lab.yaml": profile}
    files["channels/lab.yaml"] = (
        f"channel: lab\nsource: {{mllp: {{listen: '127.0.0.1:6661'}}}}\n{channel}\nroutes: {{erp: {{to: erp}}}}\n"
    )
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return directory


def told(directory: Path) -> list[str]:
    return [str(one) for one in read_site(directory, {}).problems if one.severity == "error"]


def test_application_acknowledgements_go_to_a_destination_of_the_site(tmp_path: Path) -> None:
    made = load_site(site(tmp_path, "format: hl7v2\nack: {application: {to: acks}}"), {})
    (channel,) = made.channels
    assert channel.answers_to == "acks"
    assert "what became of a message is told through acks" in promise(channel, made)
    assert not any("acks" in one.text for one in made.problems)  # the destination is used


def test_without_one_the_promise_says_so(tmp_path: Path) -> None:
    made = load_site(site(tmp_path, "format: hl7v2"), {})
    assert "No application acknowledgement follows later" in promise(made.channels[0], made)


@pytest.mark.parametrize(
    ("channel", "problem"),
    [
        ("format: hl7v2\nack: {application: {to: ack}}", "channels/lab.yaml:4:25  there is no destination 'ack'. Did you mean 'acks'?"),
        ("format: json\nack: {application: {to: acks}}", "channels/lab.yaml:4:7  format json has no application acknowledgements."),
        ("format: {hl7v2: {profile: lap}}", "channels/lab.yaml:3:27  there is no file profiles/lap.yaml. Did you mean 'lab'?"),
        ("format: {hl7v2: {profile: ../lab}}", "channels/lab.yaml:3:27  there is no file profiles/../lab.yaml."),
        ("format: {hl7v2: {acknowledge: {busy: AA}}}", "channels/lab.yaml:3:38  'busy' takes AE, AR or none, not 'AA'."),
        ("format: {hl7v2: {acknowledge: {refused: CE}}}", "channels/lab.yaml:3:41  'refused' takes AE or AR, not 'CE'."),
        ("format: {hl7v2: {segment_ends: LF}}", "channels/lab.yaml:3:32  'segment_ends' takes CR or any, not 'LF'."),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, channel: str, problem: str) -> None:
    assert told(site(tmp_path, channel)) == [problem]


def test_mistakes_in_a_profile_have_their_line(tmp_path: Path) -> None:
    profile = "rules:\n  PID-3.1: {required: true}\n  PID-8: {valeus: [F]}\n"
    assert told(site(tmp_path, "format: {hl7v2: {profile: lab}}", profile)) == [
        "profiles/lab.yaml:3:11  unknown key 'valeus'. Did you mean 'values'?"
    ]


def test_a_profile_is_asked_for_and_part_of_the_version(tmp_path: Path) -> None:
    directory = site(tmp_path, "format: {hl7v2: {profile: lab}}")
    made = load_site(directory, {})
    form = made.channels[0].format
    content = b"MSH|^~\\&|EHR|H|L|W|2026||ADT^A01|1|P|2.5\rPID|1||4711||||19700101|X\r"
    with pytest.raises(ContentError, match="PID-8"):
        form.admit(form.parse(content))  # type: ignore[attr-defined]
    site(tmp_path, "format: {hl7v2: {profile: lab}}", PROFILE.replace("M]", "M, X]"))
    again = load_site(directory, {})
    assert again.version != made.version
    form = again.channels[0].format
    form.admit(form.parse(content))  # type: ignore[attr-defined]
