"""What figures depend on: the machine, its disk, and the interpreter."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

from engine import __version__
from engine.testing.load import quantile


def machine(directory: Path) -> dict[str, Any]:
    """Facts to publish with every figure. `directory` is where the store is."""
    return {
        "wardline": __version__,
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "python": sys.version.split()[0],
        "python_built": built(),
        "uvloop": _version("uvloop"),
        "sqlite": sqlite3.sqlite_version,
        "file_system": file_system(directory),
        "load_average": round(os.getloadavg()[0], 2),
    }


def built() -> str:
    """How the interpreter was compiled: `optimised`, `not optimised`, or `distribution` where its maker hides the options.

    Without profile-guided optimisation everything costs about a quarter more.
    """
    options = sysconfig.get_config_var("CONFIG_ARGS") or ""
    flags = " ".join(
        str(sysconfig.get_config_var(name) or "") for name in ("PY_CORE_CFLAGS", "PGO_PROF_USE_FLAG", "CONFIGURE_CFLAGS")
    )
    if "--enable-optimizations" in options or "-fprofile-use" in flags:
        return "optimised"
    return "distribution" if Path(sys.base_prefix) == Path("/usr") else "not optimised"


def file_system(directory: Path) -> str:
    """Type of the file system that `directory` is on."""
    best, found = "", "?"
    for line in Path("/proc/mounts").read_text().splitlines():
        mount, kind = line.split()[1:3]
        if len(mount) >= len(best) and directory.resolve().is_relative_to(mount.replace("\\040", " ")):
            best, found = mount, kind
    return found


def measure_disk(directory: Path, seconds: float = 1.0) -> dict[str, float]:
    """Appends of 4 KiB, each flushed with fdatasync: what one commit at a time could reach at most."""
    path, block, took = directory / "fdatasync.probe", os.urandom(4096), []
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        began = before = time.perf_counter()
        while before - began < seconds:
            os.write(file, block)
            os.fdatasync(file)
            now = time.perf_counter()
            took.append(now - before)
            before = now
    finally:
        os.close(file)
        path.unlink()
    took.sort()
    return {
        "per_second": len(took) / (before - began),
        "p50_ms": quantile(took, 0.5) * 1000,
        "p99_ms": quantile(took, 0.99) * 1000,
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(distribution: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
