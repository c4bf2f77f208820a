"""One engine a store, and how the last one ended."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from engine.errors import StoreBusy

_FAILED: Final = b" storage failed\n"


def _boot() -> bytes:
    """What names this run of the machine, or nothing where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    except OSError:
        return b""


class Lock:
    """An exclusive lock beside the database, held while this lives. Raises StoreBusy where another engine has it.

    The file is empty where the last engine ended well. Otherwise it names the machine's run of that time and, where it was
    the storage that failed, says so.
    """

    def __init__(self, path: Path) -> None:
        self._held = False
        self._file = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise StoreBusy(f"another engine holds {path}: stop it first, or give this one its own store") from error
        left = os.pread(self._file, 100, 0)
        self.storage_failed = left.endswith(_FAILED)
        self.ended_badly = bool(left)
        boot = _boot()
        self.machine_lived = bool(boot) and left.startswith(boot)

    def hold(self) -> None:
        """From now on the store is open: who comes after a power loss must see it, too."""
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, _boot() + b"\n", 0)
        os.fsync(self._file)
        self._held = True

    def release(self, well: bool = True) -> None:
        """`well`: everything is in order. Who never held the store leaves the word of the one before."""
        if self._file < 0:
            return
        with suppress(OSError):
            if self._held and well:
                os.ftruncate(self._file, 0)
            elif self._held:
                os.pwrite(self._file, _boot() + _FAILED, 0)
        os.close(self._file)
        self._file = -1
