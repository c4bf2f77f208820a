"""Options: places, words and hints for every kind of wrong value; variables and secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, model_validator

from engine.config.environment import Environment
from engine.config.options import validate
from engine.config.report import Report
from engine.quantities import Address, Duration, Rate, Secret, Size
from engine.registry import Options
from engine.strictyaml import load


class Token(Options):
    kind: Literal["token"] = "token"
    value: Secret


class Login(Options):
    kind: Literal["login"]
    user: str = Field(min_length=1)
    password: Secret


class Tls(Options):
    certificate: str
    versions: list[Literal["1.2", "1.3"]] = []


class Sample(Options):
    connect: Address
    timeout: Duration = 30.0
    limit: Size = 1
    rate: Rate = 0.0
    number: int = Field(default=1, ge=1, le=9)
    flag: bool = False
    method: Literal["POST", "PUT"] = "POST"
    tls: Tls | None = None
    names: list[str] = []
    headers: dict[str, str] = {}
    auth: Annotated[Token | Login, Field(discriminator="kind")] | None = None
    key: Secret | None = None
    url: str = Field(default="", json_schema_extra={"secret": "allowed"})

    @model_validator(mode="after")
    def _one(self) -> Sample:
        if self.flag and self.number == 7:
            raise ValueError("flag and number 7 do not go together")
        return self


VARIABLES = {"PORT": "6661", "EMPTY": "", "TOKEN": "s3cret-canary", "NINE": "9"}


def read(text: str, environment: bool = True) -> tuple[Sample | None, list[str]]:
    report = Report(Path())
    file = load("x:\n" + "".join(f"  {line}\n" for line in text.split("\n")), "f.yaml")
    found = validate(Sample, file["x"], report, Environment(VARIABLES) if environment else None)
    return found, [str(problem).removeprefix("f.yaml:") for problem in report.sorted()]


@pytest.mark.parametrize(("text", "expected"), [
    ("connect: h:1\ntimeot: 30s", ["3:3  unknown key 'timeot'. Did you mean 'timeout'?"]),
    ("conect: h:1", ["2:3  unknown key 'conect'. Did you mean 'connect'?"]),  # and no "connect is missing" beside it
    ("timeout: 30s", ["2:3  'connect' is missing here."]),
    ("connect: h:1\nzzz: 1", ["3:3  unknown key 'zzz'. Known here: connect, timeout, limit, rate, number, flag, method, tls, "
                              "names, headers, auth, key and url."]),
    ("connect: h:1\ntimeout: '30'", [
        "3:12  timeout: '30' has no unit: write 30s (a duration is written like 30s, 250ms, 5m, 2h or 7d)."]),
    ("connect: h:1\nlimit: 64k", ["3:10  limit: '64k' is no size: write it like 64KiB, 16MiB or 512B."]),
    ("connect: h:1\nrate: fast", ["3:9  rate: 'fast' is no rate: write it like 20/s, 90/m or 500/h."]),
    ("connect: 6661", ["2:12  connect: '6661' is no address: write host:port, 127.0.0.1:6661 for this machine alone or "
                       "0.0.0.0:6661 for every interface."]),
    ("connect: h:1\nnumber: ten", ["3:11  'number' takes a whole number, not 'ten'."]),
    ("connect: h:1\nnumber: 0", ["3:11  'number' takes at least 1, not '0'."]),
    ("connect: h:1\nnumber: 10", ["3:11  'number' takes at most 9, not '10'."]),
    ("connect: h:1\nnumber: 1e3", ["3:11  'number' takes a whole number, not '1e3'."]),
    ("connect: h:1\nflag: maybe", ["3:9  'flag' takes true or false, not 'maybe'."]),
    ("connect: h:1\nmethod: GET", ["3:11  'method' takes POST or PUT, not 'GET'."]),
    ("connect: h:1\nnames: one", ["3:10  'names' takes a list, not 'one'."]),
    ("connect: h:1\nnames: {a: b}", ["3:10  'names' takes a list, not keys with values."]),
    ("connect: [a]", ["2:12  connect: expected text, not list."]),
    ("connect: h:1\nheaders: [a]", ["3:12  'headers' takes keys with values, not a list."]),
    ("connect: h:1\ntls:", ["3:7  'tls' takes keys with values, but nothing stands here."]),
    ("connect: h:1\ntls: {certificate: a, versions: ['1.2', '1.4']}", ["3:43  'versions[2]' takes 1.2 or 1.3, not '1.4'."]),
    ("connect: h:1\ntls:\n  certifcate: a", ["4:5  unknown key 'certifcate'. Did you mean 'certificate'?"]),
    ("connect: h:1\nauth: {kind: login, usr: a, password: secret://env/TOKEN}", ["3:23  unknown key 'usr'. Did you mean 'user'?"]),
    ("connect: h:1\nauth: {kind: login, user: '', password: secret://env/TOKEN}", [
        "3:29  'user' takes text that is not empty, but nothing stands here."]),
    ("connect: h:1\nauth: {kind: kerberos}", ["3:9  'auth' takes one of 'token', 'login', not keys with values."]),
    ("connect: h:1\nflag: true\nnumber: 7", ["2:3  flag and number 7 do not go together."]),
    ("connect: x\nnumber: 0\nflag: 8\nzzzz: 1\ntls: {}", [
        "2:12  connect: 'x' is no address: the port is missing; write it like x:2575.",
        "3:11  'number' takes at least 1, not '0'.",
        "4:9  'flag' takes true or false, not '8'.",
        "5:3  unknown key 'zzzz'. Known here: connect, timeout, limit, rate, number, flag, method, tls, names, headers, auth, "
        "key and url.",
        "6:3  'certificate' is missing here.",
    ]),
    # variables
    ("connect: 'h:${NO_SUCH}'", ["2:15  the environment has no NO_SUCH. Set it, or give a default: ${NO_SUCH:-…}."]),
    ("connect: 'h:${EMPTY}'", ["2:15  the environment has no EMPTY. Set it, or give a default: ${EMPTY:-…}."]),
    ("connect: 'h:${PORT'", ["2:15  a variable is written ${NAME} or ${NAME:-default}."]),
    ("connect: 'h:${PO-RT}'", ["2:15  a variable is written ${NAME} or ${NAME:-default}."]),
    # secrets
    ("connect: h:1\nkey: hunter2", ["3:8  a secret does not stand in a file. Write secret://env/NAME or "
                                    "secret://file/run/secrets/name."]),
    ("connect: h:1\nkey: '${TOKEN}'", ["3:8  a secret does not stand in a file. Write secret://env/NAME or "
                                       "secret://file/run/secrets/name."]),
    ("connect: h:1\nkey: secret://env/NO_SUCH", ["3:8  the environment has no NO_SUCH, which this secret refers to."]),
    ("connect: h:1\nkey: secret://vault/x", ["3:8  'secret://vault/x' is no secret reference: write secret://env/NAME or "
                                             "secret://file/run/secrets/name."]),
    ("connect: h:1\nkey: secret://file/no/such/file", [
        "3:8  the secret's file /no/such/file cannot be read: No such file or directory."]),
    ("connect: secret://env/TOKEN", ["2:12  this option is no secret and would be shown. Write its value here."]),
    ("connect: h:1\nnames: [secret://env/TOKEN]", ["3:11  this option is no secret and would be shown. Write its value here."]),
    ("connect: h:1\nauth: {kind: login, user: a, password: abc}", [
        "3:42  a secret does not stand in a file. Write secret://env/NAME or secret://file/run/secrets/name."]),
])  # fmt: skip
def test_what_is_wrong_has_its_place_and_words(text: str, expected: list[str]) -> None:
    found, problems = read(text)
    assert problems == expected
    assert found is None


def test_values_become_what_the_declaration_says() -> None:
    found, problems = read(
        "connect: 'h:${PORT}'\ntimeout: 250ms\nlimit: 2KiB\nrate: 90/m\nnumber: '${NINE}'\nflag: true\nnames: ['${NOPE:-x}', 0450]\n"
        "headers: {A: '${NOPE:-}b'}\nauth: {kind: login, user: a, password: secret://env/TOKEN}\nurl: secret://env/TOKEN"
    )
    assert problems == []
    assert found is not None
    assert (found.connect, found.timeout, found.limit, found.rate) == (Address("h", 6661), 0.25, 2048, 1.5)
    assert (found.number, found.flag, found.names, found.headers) == (9, True, ["x", "0450"], {"A": "b"})
    assert isinstance(found.auth, Login)
    assert found.auth.password.get_secret_value() == "s3cret-canary"
    assert found.url == "s3cret-canary"


def test_a_variable_is_not_searched_for_variables() -> None:
    report = Report(Path())
    file = load("connect: h:1\nnames: ['${A}']", "f.yaml")
    found = validate(Sample, file, report, Environment({"A": "${B}", "B": "x"}))
    assert found is not None
    assert found.names == ["${B}"]


@pytest.mark.parametrize("value", ["'h:${PORT}'", "secret://env/TOKEN"])
def test_outside_connectors_nothing_is_replaced(value: str) -> None:
    _, problems = read(f"connect: {value}", environment=False)
    assert problems == ["2:12  variables (${…}) and secrets are only replaced in connector options."]


def test_no_options_is_no_error_where_none_is_required() -> None:
    class Free(Options):
        number: int = 3

    report = Report(Path())
    file = load("a:\nb: text\nc: [1]", "f.yaml")
    assert validate(Free, file["a"], report) == Free()
    assert report.problems == []
    assert validate(Free, file["b"], report) is None
    assert validate(Free, file["c"], report) is None
    assert [str(problem) for problem in report.sorted()] == [
        "f.yaml:2:4  expected options (number), one a line, not 'text'.",
        "f.yaml:3:4  expected options (number), one a line, not 'a list'.",
    ]


class Judged(Options):
    key: Secret
    pin: int = Field(default=0, json_schema_extra={"secret": True})

    @model_validator(mode="after")
    def _long(self) -> Judged:
        if len(self.key.get_secret_value()) < 20:
            raise ValueError(f"the key {self.key.get_secret_value()!r} is too short")
        return self


@pytest.mark.parametrize(("text", "expected"), [
    ("key: secret://env/TOKEN", "f.yaml:1:1  the key '***' is too short."),
    ("key: secret://env/TOKEN\npin: secret://env/TOKEN", "f.yaml:2:6  'pin' cannot take the value that this secret refers to."),
])  # fmt: skip
def test_s38_a_secret_never_shows(text: str, expected: str) -> None:
    """Not in errors (even those a validator writes), nor in repr."""
    report = Report(Path())
    assert validate(Judged, load(text, "f.yaml"), report, Environment(VARIABLES)) is None
    assert [str(problem) for problem in report.problems] == [expected]
    assert "s3cret" not in repr(report.problems)
    found, _ = read("connect: h:1\nkey: secret://env/TOKEN")
    assert "s3cret" not in repr(found)
    assert found is not None
    assert "s3cret" not in found.model_dump_json()


def test_secret_files(tmp_path: Path) -> None:
    good, bad, empty, binary = (tmp_path / name for name in ("good", "bad", "empty", "binary"))
    good.write_text("from-a-file\n")
    bad.write_text("shared")
    bad.chmod(0o666)
    empty.write_text("\n")
    binary.write_bytes(b"\xff")
    environment = Environment({})
    assert environment.secret(f"secret://file{good}") == "from-a-file"
    with pytest.raises(ValueError, match="everybody may write"):
        environment.secret(f"secret://file{bad}")
    with pytest.raises(ValueError, match="is empty"):
        environment.secret(f"secret://file{empty}")
    with pytest.raises(ValueError, match="is not UTF-8"):
        environment.secret(f"secret://file{binary}")
