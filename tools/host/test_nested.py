#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""tools/nested.py on file systems made for it: each thing that may be missing is named, and what helps."""
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import nested


def refuse(_):
    raise OSError(25, "Inappropriate ioctl")


class Nested(unittest.TestCase):
    def trouble(self, files, probe=lambda _: []):
        with tempfile.TemporaryDirectory() as root:
            for path, text in files.items():
                os.makedirs(os.path.dirname(f"{root}/{path}"), exist_ok=True)
                with open(f"{root}/{path}", "w") as file:
                    file.write(text)
            return nested.trouble(root, probe)

    def test_no_flag(self):
        self.assertIn("neither vmx nor svm", self.trouble({"proc/cpuinfo": "flags : fpu vme"}))
        self.assertIn("on its host", self.trouble({"proc/cpuinfo": "flags : fpu vme", "dev/kvm": ""}))

    def test_no_device(self):
        self.assertIn("sudo modprobe kvm_intel", self.trouble({"proc/cpuinfo": "processor : 0\nflags\t: fpu vmx"}))
        self.assertIn("sudo modprobe kvm_amd", self.trouble({"proc/cpuinfo": "flags\t: svm fpu"}))

    def test_no_permission(self):
        access = os.access
        os.access = lambda *_: False
        try:
            self.assertIn("usermod -aG kvm", self.trouble({"proc/cpuinfo": "flags : vmx", "dev/kvm": ""}))
        finally:
            os.access = access

    def test_not_nested(self):
        for name, module, value in (("vmx", "kvm_intel", "N"), ("svm", "kvm_amd", "0")):
            why = self.trouble({"proc/cpuinfo": f"flags : {name}", "dev/kvm": "",
                                f"sys/module/{module}/parameters/nested": value + "\n"})
            self.assertIn(f"nested={value}", why)
            self.assertIn(f"sudo modprobe -r {module} && sudo modprobe {module} nested=1", why)

    def test_said_to_be_nested_but_is_not(self):
        why = self.trouble({"proc/cpuinfo": "flags : vmx", "dev/kvm": "", "sys/module/kvm_intel/parameters/nested": "Y"})
        self.assertIn("kvm_intel says nested=Y", why)

    def test_a_device_that_is_not_kvm(self):
        self.assertIn("does not answer", self.trouble({"proc/cpuinfo": "flags : vmx", "dev/kvm": ""}, refuse))
        self.assertIn("does not answer", self.trouble({"proc/cpuinfo": "flags : vmx", "dev/kvm": ""}, nested.offered))

    def test_works(self):
        self.assertIsNone(self.trouble({"dev/kvm": ""}, lambda _: ["svm"]))


if __name__ == "__main__":
    unittest.main()
