"""Many runs, many power cuts: what `python -m tests.campaign.power` and the tests do."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaign.power.images import Change, Disk, read_log
from tests.campaign.power.verdict import Promised, faults

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
NO_DIRECTORIES = "no directory flush"
LIVES = 4  # of an engine in one run
CUTS_A_RUN = 400
BUGS = ("synchronous=NORMAL", NO_DIRECTORIES)
"""Mistakes that the checker must catch."""
MEMORY = Path("/dev/shm")  # where images need not wait for a disk


@dataclass
class Result:
    seed: int
    runs: int = 0
    images: int = 0
    changes: int = 0
    flushes: int = 0
    acknowledged: int = 0  # promises that had to hold, over all images
    messages: int = 0  # those of them that are messages
    bad_images: int = 0
    examples: Counter[str] = field(default_factory=Counter)  # of faults, without their numbers
    first: str = ""  # how to see the first bad image again
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return self.images > 0 and self.messages > 0 and not self.bad_images


def compiler() -> str:
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang") or ""


def build(directory: Path) -> Path:
    """The recorder, compiled."""
    library = directory / "disk.so"
    command = [compiler(), "-O2", "-shared", "-fPIC", "-o", str(library), str(HERE / "disk.c"), "-ldl", "-lpthread"]
    subprocess.run(command, check=True, capture_output=True)
    return library


def record(directory: Path, library: Path, seed: int, bug: str = "") -> list[Change]:
    """One run of several lives, written down."""
    site, log = directory / "site", directory / "log"
    site.mkdir()
    environment = {**os.environ, "LD_PRELOAD": str(library), "POWER_ROOT": str(site.resolve()), "POWER_LOG": str(log)}
    if bug == NO_DIRECTORIES:
        environment["POWER_NO_DIRECTORIES"] = "1"
    elif bug:
        environment["POWER_BUG"] = bug
    for life in range(LIVES):
        command = [sys.executable, "-m", "tests.campaign.power.workload", str(site), str(seed), str(life)]
        subprocess.run(command, check=True, cwd=ROOT, env=environment)
    return list(read_log(log))


def cut(changes: list[Change], seed: int, cuts: int, directory: Path, result: Result) -> None:
    """`cuts` images of one run: half of them cut at once after an acknowledgement, the others anywhere."""
    chance = random.Random(seed)
    after_acks = [n for n, change in enumerate(changes) if change.path.endswith("/acks") and change.kind == "W"]
    where = Counter(chance.choice(after_acks) if n % 2 else chance.randrange(len(changes)) for n in range(cuts))
    disk = Disk()
    for n, change in enumerate(changes):
        disk.apply(change)
        if not where[n]:
            continue
        promised = Promised.read(bytes(disk.acks))
        for _ in range(where[n]):
            found = _look(disk.left(chance), promised, directory)
            result.images += 1
            result.messages += len(promised.took)
            result.acknowledged += sum(map(len, (promised.took, promised.translated, promised.began, promised.ended)))
            if found:
                result.bad_images += 1
                result.examples.update({_kind(one) for one in found})
                result.first = result.first or f"seed {seed}, cut after change {n} of {len(changes)}: {'; '.join(found[:3])}"


def _kind(fault: str) -> str:
    """A fault without what is only this image's: where it lay, and numbers."""
    return re.sub(r"\d+", "N", re.sub(r"/\S+/", "", fault))[:100]


def _look(files: dict[str, bytes], promised: Promised, directory: Path) -> list[str]:
    place = Path(tempfile.mkdtemp(dir=directory))
    try:
        for name, content in files.items():
            (place / name).write_bytes(content)
        return faults(place, promised)
    finally:
        shutil.rmtree(place)


def run(images: int, seed: int, bug: str = "", say: Callable[[str], None] = lambda text: None) -> Result:
    result = Result(seed)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="wardline-power-", dir=MEMORY if MEMORY.is_dir() else None) as place:
        library = build(Path(place))
        while result.images < images:
            directory = Path(place) / str(result.runs)
            directory.mkdir()
            changes = record(directory, library, seed + result.runs, bug)
            cut(changes, seed + result.runs, min(CUTS_A_RUN, images - result.images), directory, result)
            shutil.rmtree(directory)
            result.runs += 1
            result.changes += len(changes)
            result.flushes += sum(change.kind == "S" for change in changes)
            say(f"{result.images} of {images} images, {result.bad_images} of them bad")
    result.seconds = time.monotonic() - began
    return result
