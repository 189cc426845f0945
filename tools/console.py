# SPDX-License-Identifier: MIT
"""What the machine writes to COM1: echoed as it comes, and what the hypervisor's lines there tell of the end."""
import collections
import re
import sys
import time

LAST_LINES = 20
READS = "umbra: console: "  # what Umbra says when it begins to read
RAW = ", raw"               # and how it ends when a guest's output goes out as it is
PANIC_BEGINS = "umbra: PANIC "
TOLD = re.compile(rf"UMBRA (PANIC|UNSUPPORTED|FAIL|PASS)\b|{READS}|{PANIC_BEGINS}")


class Console:
    """COM1's lines, from a file, or from the line that it is typed to by. Each is looked at once, when it comes.

    Guests' lines carry their names, but in raw mode a guest can print all that the hypervisor prints, the end of raw mode too.
    Once that mode was on, nothing counts but the last line of a machine that has ended: no guest runs by then."""

    def __init__(self, path, line=None):
        self.path, self.line, self.file, self.partial = path, line, None, b""
        self.last, self.told, self.silent, self.raw = collections.deque(maxlen=LAST_LINES), set(), True, False

    def read(self):
        if self.line:
            return self.line.read()
        if self.file is None:
            try:
                self.file = open(self.path, "rb")
            except FileNotFoundError:
                return b""
        return self.file.read().replace(b"\r", b"")

    def poll(self):
        data = self.read()
        if not data:
            return
        self.silent = False
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        *whole, self.partial = (self.partial + data.replace(b"\r", b"")).split(b"\n")
        for line in whole:
            self.take(line.decode("utf-8", "replace"))

    def take(self, line):
        self.last.append(line)
        found = TOLD.match(line)
        if not found:
            return
        self.told.add(found[0])
        if found[0] == READS:
            self.raw = self.raw or line.endswith(RAW)
            if self.line and not self.line.started:
                self.line.start()

    def wait(self, seconds):
        if self.line:
            self.line.wait(seconds)
        else:
            time.sleep(seconds)

    def verdict(self, ended):
        """PANIC, UNSUPPORTED, FAIL or PASS, or None while there is none. ended: the machine has."""
        told = self.told
        if self.raw:
            told = {self.last[-1]} if ended and not self.partial else set()
        word = next((word for word in ("PANIC", "FAIL", "PASS") if f"UMBRA {word}" in told), None)
        return "UNSUPPORTED" if word == "FAIL" and "UMBRA UNSUPPORTED" in told else word

    def panics(self):
        """Whether a panic has begun."""
        return PANIC_BEGINS in self.told and not self.raw

    def last_lines(self):
        return [*self.last, self.partial.decode("utf-8", "replace")]
