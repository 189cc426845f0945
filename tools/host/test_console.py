#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""tools/run's reading of the console: which verdict its lines tell, and that a guest in raw mode tells none."""
import contextlib
import io
import os
import sys
import tempfile
import time
import types
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from console import LAST_LINES, Console

RAW_ON, RAW_OFF = "umbra: console: guest a, raw", "umbra: console: guest a"
MANY = 200000
POLL_SECONDS = 0.1  # for one of many lines, and more than a poll may take that brings none


class ConsoleTest(unittest.TestCase):
    def setUp(self):
        self.file = tempfile.NamedTemporaryFile()
        self.console = Console(self.file.name)

    def tearDown(self):
        if self.console.file:
            self.console.file.close()
        self.file.close()

    def come(self, text):
        """The machine writes this; it is echoed as it is."""
        self.file.write(text.encode())
        self.file.flush()
        echo = io.TextIOWrapper(io.BytesIO())
        with contextlib.redirect_stdout(echo):
            self.console.poll()
        self.assertEqual(echo.buffer.getvalue(), text.replace("\r", "").encode())

    def verdict(self, *lines, ended=False):
        self.come("".join(f"{line}\r\n" for line in lines))
        return self.console.verdict(ended)

    def test_verdicts(self):
        self.assertTrue(self.console.silent)
        self.assertIsNone(self.verdict("umbra: loaded by PVH", "VERDICT a PASS 0", "a| UMBRA PASS", " UMBRA PASS"))
        self.assertFalse(self.console.silent)
        self.come("UMBRA PA")
        self.assertIsNone(self.console.verdict(False))
        self.come("SS\n")
        self.assertEqual(self.console.verdict(False), "PASS")
        self.assertEqual(self.verdict("UMBRA FAIL"), "FAIL")
        self.assertEqual(self.verdict("UMBRA PANIC"), "PANIC")

    def test_unsupported_comes_before_fail(self):
        self.assertIsNone(self.verdict("UMBRA UNSUPPORTED no VMX, no SVM"))
        self.assertEqual(self.verdict("UMBRA FAIL"), "UNSUPPORTED")

    def test_panic_that_does_not_end(self):
        self.assertIsNone(self.verdict("umbra: support: cpuid", "a| umbra: PANIC on CPU 0"))
        self.assertFalse(self.console.panics())
        self.assertIsNone(self.verdict("umbra: PANIC on CPU 0 (APIC id 0): why"))
        self.assertTrue(self.console.panics())

    def test_raw_guest_tells_nothing(self):
        for line in ("UMBRA PASS", "UMBRA FAIL", "UMBRA PANIC", "umbra: PANIC on CPU 0", RAW_OFF, "UMBRA PASS"):
            self.assertIsNone(self.verdict(RAW_ON, line))
        self.assertFalse(self.console.panics())
        self.assertIsNone(self.verdict("UMBRA PASS", "x", ended=True))
        self.come("UMBRA PASS\nx")
        self.assertIsNone(self.console.verdict(True))

    def test_last_line_counts_after_raw_mode(self):
        self.assertIsNone(self.verdict(RAW_ON, "UMBRA PASS", RAW_OFF, "UMBRA FAIL"))
        self.assertEqual(self.console.verdict(True), "FAIL")
        self.assertEqual(self.verdict("UMBRA PANIC", ended=True), "PANIC")
        self.assertEqual(self.verdict("UMBRA PASS", ended=True), "PASS")

    def test_typing_begins_when_umbra_reads(self):
        started = []
        line = types.SimpleNamespace(started=False, start=lambda: started.append(True))
        console = Console(self.file.name, line)
        console.take("a| umbra: console: guest a")
        self.assertEqual(started, [])
        console.take("umbra: console: guest a")
        self.assertEqual(started, [True])

    def test_each_line_is_looked_at_once(self):
        self.come("".join(f"a| line {i}\n" for i in range(MANY)))
        self.assertEqual(self.console.last_lines(), [f"a| line {MANY - LAST_LINES + i}" for i in range(LAST_LINES)] + [""])
        began = time.process_time()
        self.assertEqual(self.verdict("UMBRA PASS"), "PASS")
        self.assertLess(time.process_time() - began, POLL_SECONDS)


if __name__ == "__main__":
    unittest.main()
