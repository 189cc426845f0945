#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""tools/run's choice of a platform, on machines that lack this or that."""
import argparse
import importlib.machinery
import importlib.util
import os
import sys
import unittest

sys.dont_write_bytecode = True
TOOLS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, TOOLS)
loader = importlib.machinery.SourceFileLoader("run", f"{TOOLS}/run")
run = importlib.util.module_from_spec(importlib.util.spec_from_loader("run", loader))
loader.exec_module(run)


class ChoosePlatform(unittest.TestCase):
    def setUp(self):
        self.saved = dict(run.NEEDED), run.nested.trouble, run.say
        self.said = []
        run.NEEDED = {key: [] for key in run.NEEDED}
        run.nested.trouble = lambda: "nested=0"
        run.say = self.said.append

    def tearDown(self):
        run.NEEDED, run.nested.trouble, run.say = self.saved

    def choose(self, on=None, boot=None):
        args = argparse.Namespace(on=on, boot=boot, model=None)
        run.choose_platform(args)
        return args.on, args.boot

    def stopped(self, status, text, on=None, boot=None):
        with self.assertRaises(run.Stop) as stop:
            self.choose(on, boot)
        self.assertEqual(stop.exception.status, status)
        self.assertIn(text, str(stop.exception))

    def test_bochs_without_nested_kvm(self):
        self.assertEqual(self.choose(), ("bochs", "grub"))
        self.assertEqual(self.said, ["on bochs: nested=0"])
        self.stopped(run.USAGE, "--boot kernel does not exist with --on bochs", boot="kernel")

    def test_nested_kvm_where_it_works(self):
        run.nested.trouble = lambda: None
        self.assertEqual(self.choose(), ("kvm", "kernel"))
        self.assertEqual(self.said, ["on kvm: nested KVM works here"])
        self.assertEqual(self.choose(on="kvm", boot="efi"), ("kvm", "efi"))

    def test_kvm_that_does_not_nest(self):
        self.stopped(run.UNSUPPORTED, "--on kvm: nested=0", on="kvm")

    def test_what_is_missing_is_named(self):
        for on, boot, missing, package in (("qemu", "efi", "efi", "ovmf"), ("qemu", "grub", "grub", "grub-pc-bin"),
                                           ("qemu", "kernel", "qemu", "qemu-system-x86"), ("bochs", "grub", "bochs", "bochs")):
            run.NEEDED[missing] = [("/no/such/thing", package)]
            self.stopped(run.UNSUPPORTED, f"there is no /no/such/thing (package {package};", on, boot)
            run.NEEDED[missing] = []

    def test_every_pair_names_what_it_needs(self):
        for on, ways in run.BOOT_WAYS.items():
            for boot in ways:
                self.assertTrue(self.saved[0][on] + self.saved[0][boot])


if __name__ == "__main__":
    unittest.main()
