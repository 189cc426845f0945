#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The constants that tools/gdb/ holds are the headers': the compiler says so."""
import os
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, f"{ROOT}/tools/gdb")
import umbra_bits


def compiler_says(macros):
    lines = [f'#include "{header}"' for header in macros]
    lines += [f'_Static_assert(({name}) == {value:#x}ul, "{name}");' for of in macros.values() for name, value in of.items()]
    return subprocess.run(["gcc", "-std=gnu11", "-I.", "-fsyntax-only", "-x", "c", "-"], cwd=ROOT, input="\n".join(lines),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


class Constants(unittest.TestCase):
    def test_they_are_the_headers(self):
        self.assertEqual(compiler_says(umbra_bits.MACROS), "")

    def test_another_value_is_found(self):
        for header, macros in umbra_bits.MACROS.items():
            for name, value in macros.items():
                self.assertIn(f'"{name}"', compiler_says({header: {name: value ^ 8}}))

    def test_decoded(self):
        self.assertEqual(umbra_bits.spte_text(0), "0")
        self.assertEqual(umbra_bits.spte_text(0x8000000012345a63), "0x8000000012345a63 4K P W A D NX MMU_WRITABLE")
        self.assertEqual(umbra_bits.spte_text(0x12345027), "0x12345027 link P W U A")
        self.assertEqual(umbra_bits.gpte_text(0x2e0), "0x2e0 A D PS")
        self.assertEqual(umbra_bits.gpte_text(0x1000), "0x1000 not present")
        self.assertEqual(umbra_bits.rights(umbra_bits.ACC_W | umbra_bits.ACC_X), "W-X")


if __name__ == "__main__":
    unittest.main()
