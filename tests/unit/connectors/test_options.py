"""What the connectors' options refuse, and what they say."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from engine.connectors.directory import DropOptions
from engine.connectors.http import RequestOptions, parse_url
from engine.connectors.mllp import ConnectOptions, ListenOptions
from engine.quantities import Address
from engine.registry import Options, connectors

URL = "https://billing.example.org/charges"

REFUSED: list[tuple[type[Options], dict[str, Any], str]] = [
    (ListenOptions, {"listen": "6661"}, "0.0.0.0:6661 for every interface"),
    (ListenOptions, {"listen": "127.0.0.1:6661", "max_frame": "16"}, "'16' has no unit: write 16MiB"),
    (ListenOptions, {"listen": "127.0.0.1:6661", "frame_timeout": "0"}, "greater than 0"),
    (ListenOptions, {"listen": "127.0.0.1:6661", "max_in_flight": "0"}, "greater than or equal to 1"),
    (ListenOptions, {"listen": "127.0.0.1:6661", "frametimeout": "1s"}, "Extra inputs are not permitted"),
    (ListenOptions, {}, "write one of listen: and connect:"),
    (ListenOptions, {"listen": "127.0.0.1:6661", "connect": "lab:2575"}, "write one of listen: and connect:"),
    (ListenOptions, {"connect": "lab:2575", "takeover": "true"}, "they go with listen, not with connect"),
    (ListenOptions, {"connect": "lab:2575", "allow": ["10.0.0.0/8"]}, "they go with listen, not with connect"),
    (
        ListenOptions,
        {"listen": "127.0.0.1:6661", "allow": ["10.20.30.40/16"]},
        "write 10.20.0.0/16 for all of it, or 10.20.30.40",
    ),
    (ListenOptions, {"listen": "127.0.0.1:6661", "allow": ["ehr.example.org"]}, "is no network: write it like 10.20.0.0/16"),
    (ListenOptions, {"listen": "127.0.0.1:6661", "max_frame": "1GiB"}, "max_inbound is smaller than max_frame"),
    (ListenOptions, {"listen": "127.0.0.1:6661", "tls": {"key": "k.pem"}}, "tls.certificate"),
    (ListenOptions, {"listen": "127.0.0.1:6661", "tls": {"certificate": "c.pem", "subjects": ["ehr"]}}, "subjects needs clients"),
    (ConnectOptions, {"connect": "lab.example.org"}, "the port is missing; write it like lab.example.org:2575"),
    (ConnectOptions, {"connect": "lab:0"}, "port 0 is for listening"),
    (ConnectOptions, {"connect": "mllp://lab:2575"}, "without mllp://"),
    (RequestOptions, {"url": "billing.example.org/charges"}, "write it like https://"),
    (RequestOptions, {"url": "ftp://billing.example.org"}, "is no URL of a web service"),
    (RequestOptions, {"url": "https://user:pw@billing.example.org/"}, "do not belong into the URL"),
    (RequestOptions, {"url": URL + "#top"}, "what follows # is never sent"),
    (RequestOptions, {"url": "https://billing.example.org/a b"}, "percent-encoded"),
    (RequestOptions, {"url": "https://billing.example.org/é"}, "percent-encoded"),
    (RequestOptions, {"url": "https://billing.example.org:99999/"}, "is no URL"),
    (RequestOptions, {"url": URL, "method": "GET"}, "'POST', 'PUT' or 'PATCH'"),
    (RequestOptions, {"url": URL, "auth": {}}, "write one of bearer:, basic: and oauth2:"),
    (RequestOptions, {"url": URL, "auth": {"bearer": "x", "basic": {"user": "a", "password": "x"}}}, "write one of bearer:"),
    (
        RequestOptions,
        {"url": URL, "auth": {"oauth2": {"token_url": "login", "client_id": "x", "client_secret": "y"}}},
        "'login' is no URL",
    ),
    (RequestOptions, {"url": "http://billing/", "tls": {}}, "tls: is for https"),
    (RequestOptions, {"url": URL, "tls": {"key": "client.key"}}, "certificate is missing"),
    (RequestOptions, {"url": URL, "answers": {"40x": "park"}}, "write one like 409, or 5xx for all"),
    (RequestOptions, {"url": URL, "answers": {"200": "retry"}}, "no status that can be given another meaning"),
    (RequestOptions, {"url": URL, "answers": {"409": "ignore"}}, "'park', 'retry', 'delivered' or 'hold'"),
    (RequestOptions, {"url": URL, "answers": {"500": "delivered"}}, "500 cannot count as delivered"),
    (RequestOptions, {"url": URL, "answers": {"5xx": "delivered"}}, "5xx cannot count as delivered"),
    (RequestOptions, {"url": URL, "answers": {"4xx": "delivered"}}, "name one status"),
    (RequestOptions, {"url": URL, "answers": {"302": "delivered"}}, "302 cannot count as delivered"),
    (RequestOptions, {"url": URL, "answers": {"401": "delivered"}}, "401 cannot count as delivered"),
    (RequestOptions, {"url": URL, "answers": {"408": "delivered"}}, "408 cannot count as delivered"),
    (ConnectOptions, {"connect": "lab:2575", "tls": {"key": "client.key"}}, "certificate is missing"),
    (ConnectOptions, {"connect": "lab:2575", "tls": {"server_name": "lab example"}}, "pattern"),
    (ConnectOptions, {"connect": "lab:2575", "answers": {"AA": "park"}}, "'AA' is no negative acknowledgement"),
    (ConnectOptions, {"connect": "lab:2575", "answers": {"AE": "delivered"}}, "like AE/205"),
    (ConnectOptions, {"connect": "lab:2575", "answers": {"AR/207": "delivered"}}, "AR/207 cannot count as delivered"),
    (RequestOptions, {"url": URL, "auth": {"bearer": "a\nb"}}, "one line"),
    (RequestOptions, {"url": URL, "auth": {"basic": {"user": "a:b", "password": "x"}}}, "pattern"),
    (RequestOptions, {"url": URL, "headers": {"Content-Length": "1"}}, "it is computed"),
    (RequestOptions, {"url": URL, "headers": {"authorization": "x"}}, "write it as auth:"),
    (RequestOptions, {"url": URL, "headers": {"X-A": "1\r\nX-B: 2"}}, "one line of visible ASCII"),
    (RequestOptions, {"url": URL, "headers": {"X A": "1"}}, "cannot be the name of a header"),
    (DropOptions, {"path": "out", "name": "{mesage_id}"}, "did you mean {message_id}?"),
    (DropOptions, {"path": "out", "name": "{message_id.real}"}, "is no field"),
    (DropOptions, {"path": "out", "name": "{message_id!r}"}, "is no field"),
    (DropOptions, {"path": "out", "name": "{0}"}, "there are {identity}"),
    (DropOptions, {"path": "out", "name": "charges.json"}, "would be the same for every delivery"),
    (DropOptions, {"path": "out", "name": "{date}/{identity}"}, "cannot hold separators"),
    (DropOptions, {"path": "out", "name": ".{identity}"}, "begin with a dot"),
    (DropOptions, {"path": "out", "name": "{identity"}, "doubled"),
]


@pytest.mark.parametrize(("options", "given", "said"), REFUSED)
def test_refused_with_a_reason(options: type[Options], given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        options(**given)
    assert said in str(caught.value)


def test_text_as_it_stands_in_files_is_taken() -> None:
    listen = ListenOptions(listen="[::1]:6661", max_frame="1MiB", max_connections="9", idle_timeout="5m", max_in_flight="1")  # type: ignore[arg-type]
    assert (listen.listen, listen.max_frame, listen.max_connections, listen.idle_timeout) == (Address("::1", 6661), 2**20, 9, 300)
    connect = ConnectOptions(connect="lab:2575", keep_open="false", ack_timeout="1500ms")  # type: ignore[arg-type]
    assert (connect.keep_open, connect.ack_timeout) == (False, 1.5)


def test_secrets_are_not_shown() -> None:
    options = RequestOptions(url=URL, auth={"bearer": "hush"}, headers={"X-Key": "hush"})  # type: ignore[arg-type]
    assert "hush" not in repr(options)
    fetched = {"oauth2": {"token_url": URL, "client_id": "ward", "client_secret": "hush"}}
    assert "hush" not in repr(RequestOptions(url=URL, auth=fetched, tls={"certificate": "c.pem", "password": "hush"}))  # type: ignore[arg-type]
    assert "hush" not in options.model_dump_json()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://billing.example.org", (True, Address("billing.example.org", 443), "billing.example.org", "/")),
        ("http://[::1]:8080/a?b=c%20d", (False, Address("::1", 8080), "[::1]:8080", "/a?b=c%20d")),
        ("http://h?x=1", (False, Address("h", 80), "h", "/?x=1")),
    ],
)
def test_a_url_taken_apart(url: str, expected: tuple[Any, ...]) -> None:
    assert parse_url(url) == expected


@pytest.mark.parametrize("name", ["mllp", "http", "directory"])
def test_every_option_is_described_and_has_a_schema(name: str) -> None:
    connector = connectors()[name]
    for end in filter(None, (connector.source, connector.destination)):
        assert end.options.__doc__
        for field, info in end.options.model_fields.items():
            assert info.description, f"{name}: {field}"
        schema = end.options.model_json_schema()
        assert not schema["additionalProperties"]
        assert end.load()


def test_defaults_are_written_as_people_write_them() -> None:
    properties = ConnectOptions.model_json_schema()["properties"]
    assert (properties["ack_timeout"]["default"], properties["max_frame"]["default"]) == ("30s", "1MiB")
