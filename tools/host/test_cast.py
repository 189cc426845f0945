#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What the Linux guests' /init counts time with, run by this machine's shell."""
import os
import re
import subprocess
import tempfile
import unittest

INIT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "cast", "init")


class Awake(unittest.TestCase):
    def test_hundredths_are_decimal(self):
        with open(INIT, encoding="utf-8") as init:
            function = re.search(r"^awake\(\).*?^}$", init.read(), re.M | re.S)[0]
        with tempfile.NamedTemporaryFile("w+") as uptime:
            self.assertIn("/proc/uptime", function)
            script = function.replace("/proc/uptime", uptime.name) + "\nbefore=$(awake)\necho $((before + 1)) $(($(awake) - before))"
            for said, then in (("0.00 0.00", 1), ("0.08 0.01", 9), ("0.95 1.90", 96), ("8.09 9.99", 810), ("1234.56 99.00", 123457)):
                uptime.seek(0)
                uptime.truncate()
                uptime.write(f"{said}\n")
                uptime.flush()
                done = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, text=True, check=True)
                self.assertEqual(done.stdout, f"{then} 0\n")


if __name__ == "__main__":
    unittest.main()
