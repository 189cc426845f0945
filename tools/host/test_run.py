#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""tools/run's choice of a platform, on machines that lack this or that; its reading of a GUEST; what it makes of
how a machine ends."""
import argparse
import contextlib
import importlib.machinery
import importlib.util
import io
import os
import sys
import tempfile
import types
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


class GuestModules(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.files = [f"{self.folder.name}/{name}" for name in ("image", "initrd", "with blanks")]
        for path in self.files:
            open(path, "wb").close()
        self.image, self.initrd, self.blanks = self.files

    def tearDown(self):
        self.folder.cleanup()

    def string(self, text):
        (image, string), *rest = run.guest_modules(3, f"{self.image} {text}")
        self.assertEqual((image, rest), (self.image, []))
        return string

    def test_strings_stay_as_they_are(self):
        self.assertEqual(run.guest_modules(3, self.image), [(self.image, "name=g3")])
        for text in ('name=a mem=64M', 'name=a -- x  "y -- z', 'name=a until="Pass:  1" -- ', 'name=a until="a\\" -- b" -- c',
                     'name=a until=\\" -- initrd=none "', 'name=a key="never closed -- x', 'name=a --x -- --', 'name= x'):
            self.assertEqual(self.string(text), text.strip())
        self.assertEqual(self.string("mem=64M -- name=a"), "name=g3 mem=64M -- name=a")

    def test_files_become_modules(self):
        self.assertEqual(run.guest_modules(1, f'{self.image} until="all -- done" initrd={self.initrd} "name=b" '
                                              f'module="{self.blanks}" module={self.initrd} -- initrd=own'),
                         [(self.image, 'until="all -- done" "name=b" -- initrd=own'), (self.initrd, "initrd-of=b"),
                          (self.blanks, "module-of=b"), (self.initrd, "module-of=b")])

    def test_wrong_usage(self):
        for text, what in (("", "an empty argument"), ("/no/such", "image '/no/such'"), (f"{self.image} initrd=", "guest g1: initrd ''"),
                           (f"{self.image} name=a -- x\ny", "a newline")):
            with self.assertRaises(run.Stop) as stop:
                run.guest_modules(1, text)
            self.assertEqual(stop.exception.status, run.USAGE)
            self.assertIn(what, str(stop.exception))


class Watch(unittest.TestCase):
    def setUp(self):
        self.saved = run.END_GRACE_SECONDS
        run.END_GRACE_SECONDS = 0

    def tearDown(self):
        run.END_GRACE_SECONDS = self.saved

    def watch(self, written, returncode, timeout=30):
        """The exit status when the machine has written this, and has ended with that code, or has not (None)."""
        process = types.SimpleNamespace(poll=lambda: returncode, returncode=returncode)
        machine = types.SimpleNamespace(process=process, explain_end=lambda: "its own words", cpu_states=lambda: "its CPUs")
        self.said = io.TextIOWrapper(io.BytesIO(), write_through=True)
        with tempfile.NamedTemporaryFile() as com1, contextlib.redirect_stdout(self.said), contextlib.redirect_stderr(self.said):
            com1.write(written.encode())
            com1.flush()
            console = run.Console(com1.name)
            try:
                return run.watch(machine, console, timeout, "/no/such/elf")
            finally:
                if console.file:
                    console.file.close()

    def heard(self):
        return self.said.buffer.getvalue().decode()

    def test_verdicts(self):
        for word, status in (("PASS", run.PASS), ("FAIL", run.FAIL), ("PANIC", run.PANIC)):
            self.assertEqual(self.watch(f"UMBRA {word}\n", None), status)
            self.assertEqual(self.watch(f"UMBRA {word}\n", 1), status)
        self.assertEqual(self.watch("UMBRA UNSUPPORTED x\nUMBRA FAIL\n", 1), run.UNSUPPORTED)

    def test_emulator_that_does_not_start(self):
        with self.assertRaises(run.Stop) as stop:
            self.watch("", 1)
        self.assertEqual(stop.exception.status, run.UNSUPPORTED)
        self.assertIn("its own words", str(stop.exception))

    def test_end_without_a_verdict(self):
        for written, code in (("  Booting\n", 1), ("umbra: loaded by PVH\n", 1), ("", 0)):
            self.assertEqual(self.watch(written, code), run.PANIC)
            self.assertIn("its own words", self.heard())

    def test_no_end(self):
        self.assertEqual(self.watch("umbra: loaded by PVH\nhalf a li", None, timeout=0), run.HANG)
        self.assertRegex(self.heard(), r"no verdict after 0 s(?s:.*)umbra: loaded by PVH\n +half a li\n(?s:.*)its CPUs")
        self.assertEqual(self.watch("umbra: PANIC on CPU 0 (APIC id 0): why\n", None, timeout=0), run.PANIC)


if __name__ == "__main__":
    unittest.main()
