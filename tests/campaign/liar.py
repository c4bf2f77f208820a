"""A receiver that every few messages does what receivers do: `python -m tests.campaign.liar --mllp 127.0.0.1:0`.

In turn it loses a message and acknowledges another, breaks the connection before it has taken one, breaks it after that,
and asks to wait. Otherwise it is `engine.testing.sink`, and is asked the same questions. Only what it has taken is in its
ledger.
"""

from __future__ import annotations

import subprocess
import sys
from itertools import count, cycle

from engine.testing import sink
from engine.testing.processes import SinkProcess

EACH = 40  # messages to one fault

_HEAD = b"\x0bMSH|^~\\&|SINK|WLGH|||20260301||ACK|K|P|2.5.1\rMSA|"
LIE, EARLY, LATE, BUSY = range(4)


class Liar(sink.MllpSink):
    _numbers, _faults = count(1), cycle((LIE, EARLY, LATE, BUSY))  # over all connections

    def data_received(self, data: bytes) -> None:
        """Messages come one at a time: the engine has one in flight on a connection."""
        whole = self.buffer + data
        if not whole.endswith(b"\x1c\r") or next(self._numbers) % EACH:
            super().data_received(data)
            return
        self.buffer, content = b"", whole[1:-2]
        control = content.split(b"|", 10)[9]
        fault = next(self._faults)
        if fault == LIE:
            self.transport.write(_HEAD + b"AA|ANOTHER%b\r\x1c\r" % control)
        elif fault == BUSY:
            self.transport.write(_HEAD + b"AR|%b\rERR|||207\r\x1c\r" % control)
        else:
            if fault == LATE:
                self.counter.note(control, content)
                self.counter.settle()
            self.transport.abort()


class LiarProcess(SinkProcess):
    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.campaign.liar", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.addresses = self._read()


if __name__ == "__main__":
    sink.MllpSink = Liar  # type: ignore[misc]
    sink.main()
