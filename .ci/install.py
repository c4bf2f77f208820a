"""Make .venv where there is none, and install the checkout with extras into it: `install.py '.[test]'`.

Standard library only: it runs on a machine that has nothing but Python. Debian's python3 comes without ensurepip, so
pip is had, in this order: from ensurepip; from a pip that the interpreter has; from apt where we are root; as a wheel from
the package index that pip's own configuration names.
"""

from __future__ import annotations

import configparser
import hashlib
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from base64 import b64encode
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

VENV = Path(".venv")
PYTHON = VENV / "bin" / "python"
USUAL_INDEX = "https://pypi.org/simple"


def say(text: str) -> None:
    print(text, flush=True)


def run(*command: str | Path, quiet: bool = True) -> bool:
    stream = subprocess.DEVNULL if quiet else None
    return subprocess.run(list(map(str, command)), stdout=stream, stderr=stream).returncode == 0


def make_venv() -> None:
    if PYTHON.exists() and run(PYTHON, "-m", "pip", "--version"):
        return
    say(f"Making .venv with Python {sys.version.split()[0]} ({sys.executable})")
    shutil.rmtree(VENV, ignore_errors=True)
    if find_spec("ensurepip") and run(sys.executable, "-m", "venv", VENV):
        return
    shutil.rmtree(VENV, ignore_errors=True)
    if not run(sys.executable, "-m", "venv", "--without-pip", VENV, quiet=False):
        sys.exit("The venv module is missing from this Python: apt-get install python3-venv")
    if run(sys.executable, "-m", "pip", "--python", PYTHON, "install", "pip"):
        return
    if os.geteuid() == 0 and sys.executable.startswith("/usr/bin/") and apt_install("python3-venv"):
        shutil.rmtree(VENV)
        if run(sys.executable, "-m", "venv", VENV):
            return
        run(sys.executable, "-m", "venv", "--without-pip", VENV)
    say("  no ensurepip: fetching pip from the package index")
    pip_from_index()


def apt_install(package: str) -> bool:
    if not shutil.which("apt-get"):
        return False
    say(f"  no ensurepip: apt-get install {package}")
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    install = ("apt-get", "install", "-y", "-qq", package)
    return run(*install) or (run("apt-get", "update", "-qq") and run(*install))


# ── pip as a wheel, for a Python that brings none ──────────────────────────────────────────────────────────────────


def setting(name: str) -> str:
    """What pip would take for `name` (`index-url`): the environment wins over the user's file, and that over the machine's."""
    if value := os.environ.get("PIP_" + name.upper().replace("-", "_")):
        return value
    if only := os.environ.get("PIP_CONFIG_FILE"):
        files = [only]
    else:
        home = Path.home()
        config_home = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
        files = ["/etc/pip.conf", str(home / ".pip/pip.conf"), str(config_home / "pip/pip.conf")]
    parser = configparser.RawConfigParser()
    parser.read(files)
    return parser.get("install", name, fallback="") or parser.get("global", name, fallback="")


def fetch(url: str) -> bytes:
    parts = urllib.parse.urlsplit(url)
    headers = {"Accept": "text/html", "User-Agent": "wardline-install"}
    if parts.username:
        login = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + b64encode(login.encode()).decode()
        url = urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    if parts.scheme not in ("http", "https"):
        sys.exit(f"The package index {url} is not an http(s) address; install python3-venv instead.")
    context = ssl.create_default_context(cafile=setting("cert") or None)
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 (the scheme is checked above)
    with urllib.request.urlopen(request, timeout=60, context=context) as answer:  # noqa: S310
        content: bytes = answer.read()
    return content


class Wheels(HTMLParser):
    """The pip wheels of a simple index page that this Python can run: (version, address)."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base, self.found = base, []  # type: ignore[var-annotated]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        address = known.get("href") or ""
        version = re.search(r"/pip-([0-9]+(?:\.[0-9]+)*)-py[^/]*-none-any\.whl(?:#|$)", "/" + address)
        lowest = re.search(r">=\s*3\.(\d+)", known.get("data-requires-python") or "")
        if tag == "a" and version and "data-yanked" not in known and int(lowest[1] if lowest else 0) <= sys.version_info.minor:
            number = tuple(map(int, version[1].split(".")))
            self.found.append((number, urllib.parse.urljoin(self.base, address)))


def pip_from_index() -> None:
    page = (setting("index-url") or USUAL_INDEX).rstrip("/") + "/pip/"
    wheels = Wheels(page)
    wheels.feed(fetch(page).decode("utf-8", "replace"))
    if not wheels.found:
        sys.exit("The package index offers no pip that this Python can run; install python3-venv instead.")
    address, _, checksum = max(wheels.found)[1].partition("#")
    content = fetch(with_login_of(page, address))
    if checksum.startswith("sha256=") and hashlib.sha256(content).hexdigest() != checksum[7:]:
        sys.exit("pip's wheel is not what the package index promises: checksum differs.")
    with tempfile.TemporaryDirectory() as directory:
        wheel = Path(directory) / urllib.parse.unquote(address.rpartition("/")[2])
        wheel.write_bytes(content)
        if not run(PYTHON, wheel / "pip", "install", "--quiet", "--no-index", wheel, quiet=False):
            sys.exit("pip could not install itself; see above.")


def with_login_of(page: str, address: str) -> str:
    """`address` with the login of `page`, if both are on the same host: an index's links come without it."""
    index, link = urllib.parse.urlsplit(page), urllib.parse.urlsplit(address)
    same = index.hostname == link.hostname and index.username and not link.username
    return urllib.parse.urlunsplit(link._replace(netloc=index.netloc)) if same else address


# ── the checkout ───────────────────────────────────────────────────────────────────────────────────────────────────


def install(what: str) -> None:
    say(f"Installing {what} into .venv (a minute or two the first time)")
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off", "-e", what]
    output: list[str] = []
    shown = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            output.append(line)
            if line.startswith("Collecting"):
                shown += 1
                if shown % 10 == 0:
                    say(f"  {shown} packages looked up")
            elif line.startswith("Installing collected"):
                say(f"  installing {line.count(',') + 1} packages")
    if pip.returncode:
        print("".join(output[-40:]), file=sys.stderr)
        sys.exit("pip could not install the packages; its last lines are above.")


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parents[1])
    make_venv()
    install(sys.argv[1])
