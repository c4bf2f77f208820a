"""`make campaign-power`: power cuts by the ten thousand, and the page that is committed."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from engine.testing.machine import machine
from tests.campaign.power.campaign import BUGS, CUTS_A_RUN, LIVES, Result, run


def page(result: Result, bugs: dict[str, Result]) -> str:
    """The report as it is committed: docs/reports/power-cut.md."""
    facts = machine(Path())
    said = "Nothing that had been acknowledged was lost." if result.good else "FAILED."
    caught = "\n".join(f"| {bug} | {one.images:,} | {one.bad_images:,} |" for bug, one in bugs.items())
    return f"""# Power cuts on SQLite

{said} Version {facts["wardline"]}, seed {result.seed}; repeat it with `make campaign-power`.

The store runs in a process of its own: messages are taken, translated, begun, settled and pruned in group commits, its log is
moved into the file, keys are gathered, free pages are given back, and it is opened {LIVES} times in a run, after a clean end or
as after a kill. A library between the process and the system writes down every write, cut, flush, new name, new size and removed
name, in the order in which the system saw them; what the store has answered is written down in the same sequence.

A run is then cut off {CUTS_A_RUN} times, half of them at once after an answer. What was written to a file since its last flush may be
there or not, piece by piece, in any order, and torn at 512 or 4096 bytes. A name that was made or removed is certain only when
its directory was flushed. What is left is opened as the engine opens it, with recovery, and compared: the database is sound,
every message that was acknowledged is there with exactly its bytes, nothing that was recorded as translated is to be
translated again, no attempt that had begun is forgotten, and no delivery that had ended is open again.

| | |
|---|---|
| power cuts | {result.images:,} |
| runs | {result.runs:,} |
| changes to the disk that were recorded | {result.changes:,} |
| flushes among them | {result.flushes:,} |
| answers that had to hold, over all images | {result.acknowledged:,} |
| of these, acknowledged messages | {result.messages:,} |
| **images in which an answer did not hold, or that did not open** | {result.bad_images:,} |
| seconds | {result.seconds:.0f} |

The checker itself is checked with mistakes that it must find:

| mistake | power cuts | of them caught |
|---|---|---|
{caught}

Machine: {facts["cores"]} cores, {facts["processor"]}, {facts["system"]}; Python {facts["python"]}, SQLite {facts["sqlite"]}. The model assumes a disk
that honours a flush. One that says it has written what it has not is outside of every promise.
"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.power", description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**4))
    parser.add_argument("--report", type=Path, help="write the results to this page as well")
    options = parser.parse_args(arguments)

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    result = run(options.images, options.seed, say=say)
    bugs = {bug: run(CUTS_A_RUN, options.seed, bug) for bug in BUGS}
    text = page(result, bugs)
    if options.report:
        options.report.write_text(text, encoding="utf-8")
    print(text)
    for fault, times in result.examples.most_common(10):
        print(f"{times:6} {fault}")
    print(result.first)
    return 0 if result.good and all(one.bad_images for one in bugs.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
