# SPDX-License-Identifier: MIT
"""tools/try-gdb watch: breakpoints and watchpoints that guests do not see. The guest is Umbra's own image of page-table storms, which
checks its memory and its tables to the end."""
import re

from gdbtest.client import debugging, fail, symbol


def reach_code(gdb, image):
    gdb.do(f"file {image}")
    gdb.do("tbreak image_main")
    gdb.do("continue", "Temporary breakpoint")
    gdb.do("unset tdesc filename")
    at = symbol(image, "rand_below")
    before = gdb.do(f"x/4xb {at:#x}")
    gdb.do("hbreak rand_below", "Hardware assisted breakpoint")
    gdb.do("continue", r"hit Breakpoint \d+, .*rand_below")
    gdb.do("stepi")
    gdb.do("stepi")
    if gdb.do(f"x/4xb {at:#x}") != before:
        fail("the breakpoint is seen in memory")
    gdb.do("continue", r"hit Breakpoint \d+, .*rand_below")
    gdb.do("delete")


def watch_data(gdb):
    """The random numbers' state is written by rand_below alone, and often."""
    gdb.do("watch rand_state", r"Hardware watchpoint \d+: rand_state")
    for _ in range(3):
        old, new = re.search(r"Old value = (\d+)\nNew value = (\d+)", gdb.do("continue", r"Old value = \d+")).groups()
        if old == new:
            fail("a watchpoint stops where nothing has changed")
    gdb.do("backtrace", r"rand")
    gdb.do("delete")
    gdb.do("rwatch rand_state", r"Hardware read watchpoint \d+: rand_state")
    gdb.do("continue", r"Value = \d+")
    gdb.do("delete")
    gdb.do("awatch rand_state", r"Hardware access \(read/write\) watchpoint")
    gdb.do("continue", r"Value = |Old value = ")
    gdb.do("delete")


def steps_itself(gdb, image):
    """A guest's own trap, among watched code: a breakpoint that is never met, within an instruction of the page."""
    gdb.do("inferior 4", r"Switching to inferior 4")
    gdb.do(f"file {image}")
    gdb.do("tbreak image_main")
    gdb.do("continue", "Temporary breakpoint")
    gdb.do("unset tdesc filename")
    gdb.do(f"hbreak *{symbol(image, 'insn_stepped') + 2:#x}", "Hardware assisted breakpoint")
    gdb.do("continue", "Inferior 4 .*exited normally")
    gdb.do("delete")


def watch(args):
    image, insn = f"{args.build}/guest/ptstorm.elf", f"{args.build}/guest/insn.elf"
    with debugging(args, f"{image} name=a mem=32M log=wp -- rounds=3", f"{args.build}/guest/dirty.elf name=b mem=32M",
                   f"{insn} name=c mem=16M -- fpu=1 watch=off",
                   append="gdb=wait audit=continuous", timeout=300) as (umbra, gdb, port):
        gdb.do(f"file {args.build}/umbra.elf")
        gdb.do(f"target remote :{port}", "gdb_stop_park")
        gdb.do("inferior 2", r"Switching to inferior 2")
        reach_code(gdb, f"{image}64")
        watch_data(gdb)
        steps_itself(gdb, f"{insn}64")
        gdb.do("detach inferiors 2 3 1", "Inferior 1 .*detached")
        gdb.end()
        umbra.end(0, r"^VERDICT a PASS", r"^REPLICA a EQUAL", r"^VERDICT b PASS",
                  r"^c\| PASS: a single step over CPUID: 1 traps", r"^VERDICT c PASS", r"^UMBRA PASS")
