# SPDX-License-Identifier: MIT
"""Commands that show the hypervisor's state, for gdb attached to Umbra's stub:

    source tools/gdb/umbra.py
    help umbra
"""
import importlib
import os
import sys

import gdb

HERE = os.path.dirname(os.path.abspath(__file__))
# In the order in which they import each other: to source this file again takes them anew.
MODULES = ["umbra_bits", "umbra_memory", "umbra_guests", "umbra_shadow", "umbra_walk", "umbra_state"]


class Umbra(gdb.Command):
    """The state of the Umbra hypervisor: guests, shadow pages, rmap chains, page walks, logs, slabs, RCU.

It is read from the hypervisor's memory, process 1, whatever process is selected, as the debug information of
build/umbra.elf describes it. NAME is a guest's; numbers are expressions of the selected process, such as $rip, quoted if they
hold blanks."""

    def __init__(self):
        super().__init__("umbra", gdb.COMMAND_DATA, prefix=True)

    def invoke(self, argument, from_tty):
        if argument:
            raise gdb.GdbError(f"umbra: there is no command \"{argument}\"; `help umbra` lists them")
        gdb.execute("help umbra")


def load():
    """Leaves no compiled files in the tree."""
    sys.path.insert(0, HERE)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        for name in MODULES:
            known = sys.modules.get(name)
            module = importlib.reload(known) if known else importlib.import_module(name)
            for command in getattr(module, "COMMANDS", []):
                command()
    finally:
        sys.dont_write_bytecode = before
        sys.path.remove(HERE)


Umbra()
load()
