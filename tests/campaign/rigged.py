"""`wardline` with a fuse, a fault or both in it: `python -m tests.campaign.rigged --at begun:3 --bug "no fencing" run …`."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from engine.testing.processes import EngineProcess


class RiggedEngine(EngineProcess):
    """`wardline run` with `bug` in it; each start may have a fuse."""

    bug = ""

    def start(self, point: str = "", n: int = 1) -> None:
        """With a `point`, it kills itself where it passes there for the n-th time."""
        if not point and not self.bug:
            super().start()
            return
        rig = [*(("--at", f"{point}:{n}") if point else ()), *(("--bug", self.bug) if self.bug else ())]
        with open(self.log, "ab") as log:
            self.started_at = time.monotonic()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.campaign.rigged", *rig, "run", "--site", str(self.site)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment,
            )  # fmt: skip


def main() -> None:
    from engine import reactor

    reactor.install()  # before anything below imports Twisted's own
    from engine.cli import main as wardline
    from tests.campaign.bugs import BUGS
    from tests.campaign.points import POINTS, Fuse

    parser = argparse.ArgumentParser(prog="python -m tests.campaign.rigged", description=__doc__)
    parser.add_argument("--at", default="")
    parser.add_argument("--bug", choices=BUGS)
    options, command = parser.parse_known_args()
    if options.at:
        point, _, n = options.at.partition(":")
        POINTS[point].arm(Fuse(int(n or 1)))
    if options.bug:
        BUGS[options.bug]()
    wardline(command)


if __name__ == "__main__":
    main()
