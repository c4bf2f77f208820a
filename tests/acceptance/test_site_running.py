"""The repository's site under a real engine: every sample is sent, real receivers take what the mappings make of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from engine.testing.processes import EngineProcess, free_port

ROOT = Path(__file__).resolve().parents[2]
CHARGES = 15  # in the samples, but for those that are filtered or park


class Receiver:
    """An HTTP API that takes everything, and tells when it has as many as somebody waits for."""

    def __init__(self) -> None:
        taken: list[tuple[str, dict[str, str], Any]] = []
        changed = threading.Condition()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with changed:
                    taken.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                    changed.notify_all()
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self.taken, self._changed = taken, changed
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def await_count(self, path: str, count: int) -> list[tuple[dict[str, str], Any]]:
        def found() -> list[tuple[dict[str, str], Any]]:
            return [(headers, body) for here, headers, body in self.taken if here == path]

        with self._changed:
            assert self._changed.wait_for(lambda: len(found()) >= count, timeout=30), f"{path}: {len(found())} of {count}"
            return found()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Running:
    """A copy of the site, an engine on it, and its receivers."""

    def __init__(self, directory: Path) -> None:
        for name in ("conf", "channels", "mappings", "samples"):
            shutil.copytree(ROOT / name, directory / name)
        settings = directory / "conf" / "engine.yaml"
        settings.write_text(settings.read_text("utf-8").replace("127.0.0.1:8071", f"127.0.0.1:{free_port()}"), "utf-8")
        self.receiver = Receiver()
        self.ports = {name: free_port() for name in ("adt", "charges", "results")}
        base = f"http://127.0.0.1:{self.receiver.port}"
        self.directory = directory
        self.engine = EngineProcess(
            directory,
            {
                "CONSOLE_LISTEN": "127.0.0.1:0",
                **{f"{name.upper()}_LISTEN": f"127.0.0.1:{port}" for name, port in self.ports.items()},
                "MPI_URL": f"{base}/patients",
                "ENCOUNTERS_URL": f"{base}/encounters",
                "BILLING_URL": f"{base}/charges",
                "BILLING_TOKEN": "a-token-for-tests",
                "LIS_CONNECT": f"127.0.0.1:{free_port()}",  # nobody is there
            },
        )

    def send(self, channel: str, pattern: str) -> dict[str, Any]:
        command = [sys.executable, "-c", "from engine.cli import main; main()", "send", "--allow-refusals", "--json"]
        files = sorted(str(path) for path in (ROOT / "samples" / "hl7v2").glob(pattern))
        to = ["--to", f"mllp://127.0.0.1:{self.ports[channel]}"]
        done = subprocess.run([*command, *to, *files], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def await_files(self, name: str, count: int) -> list[Any]:
        """What lies in `data/name`, once there are `count` files; a name that begins with a dot is not finished yet."""
        until = time.monotonic() + 30
        while len(files := sorted((self.directory / "data" / name).glob("[!.]*.json"))) < count:
            assert time.monotonic() < until, f"{name}: {len(files)} of {count}\n{self.engine.tail()}"
            time.sleep(0.02)
        return [json.loads(path.read_bytes()) for path in files]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    site = Running(tmp_path_factory.mktemp("site"))
    with site.engine:
        site.engine.start()
        for port in site.ports.values():
            site.engine.await_port(("127.0.0.1", port))
        yield site
    site.receiver.close()


def test_charges_reach_billing_as_envelopes_with_token_and_identity(running: Running) -> None:
    running.send("charges", "dft_*.hl7")
    taken = running.receiver.await_count("/charges", CHARGES)
    assert len(taken) == CHARGES
    assert {headers["authorization"] for headers, _ in taken} == {"Bearer a-token-for-tests"}
    assert len({headers["idempotency-key"] for headers, _ in taken}) == CHARGES
    assert len({body["idempotency_key"] for _, body in taken}) == CHARGES
    for headers, body in taken:
        assert headers["content-type"].startswith("application/json")
        assert body["schema"] == "canonical/charge/v1"
        assert body["provenance"]["source_type"] == "hl7v2"
        assert headers["idempotency-key"].startswith(body["provenance"]["message_id"])


def test_charges_of_one_account_arrive_in_the_order_they_were_sent(running: Running) -> None:
    taken = running.receiver.await_count("/charges", CHARGES)
    ids = [body["payload"]["transaction_id"] for _, body in taken if body["payload"]["account_number"] == "ACC-9001"]
    sent = ["4713", "RX-8801", "4711", "4712", "4720"]  # the files in the order of their names
    assert [one for one in ids if one in sent] == sent


def test_journals_lie_in_the_ledger_directory_and_balance(running: Running) -> None:
    journals = running.await_files("journals", 10)
    assert len(journals) == 10
    for journal in journals:
        assert journal["schema"] == "canonical/journal/v1"
        assert journal["payload"]["total_dr"] == journal["payload"]["total_cr"]


def test_a_person_and_visit_and_merges_reach_their_systems(running: Running) -> None:
    told = running.send("adt", "*.hl7")
    patients = running.receiver.await_count("/patients", 16)
    visits = running.receiver.await_count("/encounters", 9)
    assert {body["action"] for _, body in patients} == {"upsert", "merge"}
    assert {body["payload"]["status"] for _, body in visits if "status" in body["payload"]} >= {"finished", "cancelled"}
    assert told["answers"]["AR"] + told["answers"]["CR"] == 18  # everything that is no ADT


def test_results_reach_the_warehouse_while_the_laboratory_is_down(running: Running) -> None:
    running.send("results", "oru_*.hl7")
    results = running.await_files("results", 4)
    assert {result["filler"] for result in results} == {"F-5501", "F-5510", "F-5511", "F-5520"}
