# SPDX-License-Identifier: MIT
"""tools/try-gdb steps: what gdb sees of a guest, step by step, is what the same code does in a Linux process that is stepped through
natively (tools/host/steps.c)."""
import re
import subprocess
import tempfile
import time

from gdbtest.client import ROOT, debugging, fail, symbol

COUNT = {"qemu": 10000, "bochs": 2000}
CPUS = {"qemu": None, "bochs": 1} # where they take turns, each costs time
AT_ONCE = 250 # in the time that an answer may take
SEED = 7
NAMES = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15 rip rflags".split()


def reference(args, image, count):
    """(registers, mask of defined flags) before each instruction, and the sum at the end."""
    where = [f"{symbol(image, name):x}" for name in ("steps_begin", "steps_end", "steps_stack_top")]
    lines = subprocess.run([f"{args.build}/steps", image, *where, f"{SEED:x}", str(count)], stdout=subprocess.PIPE, text=True,
                           check=True).stdout.splitlines()
    states = [[int(word, 16) for word in line.split()] for line in lines[:-1]]
    if len(states) != count:
        fail(f"the code has {len(states)} instructions, not {count}")
    return [(state[:-1], state[-1]) for state in states], re.fullmatch(r"sum (\w+) steps \d+", lines[-1])[1]


def compare(gdb, number, seen, native, mask, before):
    """One state; before: where the instruction was that led to it."""
    differ = [name for name, a, b in zip(NAMES, seen, native) if (a ^ b) & (mask if name == "rflags" else ~0)]
    if not differ:
        return
    for name, a, b in zip(NAMES, seen, native):
        print(f"{name:>7} {a:16x} {b:16x}{'  differs' if name in differ else ''}")
    gdb.do(f"x/3i {before:#x}")
    fail(f"after {number} steps the guest (left) and the native process differ in {' '.join(differ)}")


def shadows(code):
    """The next instruction may come along: behind MOV SS it does, and on QEMU behind STI."""
    return code.endswith(",%ss") or code == "sti"


def hurdles(gdb, image):
    """Each step gets to the next instruction; of a REP, to its next iteration."""
    gdb.do(f"tbreak *{symbol(image, 'steps_hurdles'):#x}")
    gdb.do("continue", "Temporary breakpoint")
    gdb.do("stepi", "steps_hurdles_begin")
    at, seen = gdb.value("$rip"), ""
    while at != symbol(image, "steps_hurdles_end"):
        code = re.findall(r"^(?:=> |   )0x([0-9a-f]+)[^\t]*\t(.*)", gdb.do("x/3i $rip", r"^=> 0x"), re.M)
        left, behind = gdb.value("$rcx"), [int(address, 16) for address, _ in code[1:]]
        right = [at] if code[0][1].startswith("rep") and left > 1 else behind if shadows(code[0][1]) else behind[:1]
        gdb.do("stepi")
        after, seen = gdb.value("$rip"), f"{seen}{code[0][1].split()[0]} "
        if after not in right:
            fail(f"a step over {code[0][1]} at {at:#x} leads to {after:#x}")
        if right == [at] and gdb.value("$rcx") != left - 1:
            fail(f"a step of {code[0][1]} is more than an iteration, or none")
        if gdb.value("$eflags") & 0x100:
            fail(f"RFLAGS.TF is seen behind {code[0][1]}")
        at = after
    for word in ("cpuid", "in", "out", "rep rep rep", "invlpg", "pushf", "hlt"):
        if f"{word} " not in seen:
            fail(f"no step over {word}")


def steps(args):
    image, count = f"{args.build}/guest/steps.elf64", COUNT[args.on]
    native, total = reference(args, image, count)
    with debugging(args, f"{args.build}/guest/steps.elf name=a mem=16M -- seed={SEED}", cpus=CPUS[args.on]) as (umbra, gdb, port), \
            tempfile.NamedTemporaryFile("r") as file:
        gdb.do(f"target remote :{port}")
        gdb.do("inferior 2")
        gdb.do("unset tdesc filename")
        gdb.do(f"tbreak *{symbol(image, 'steps_enter'):#x}")
        gdb.do("continue", "Temporary breakpoint")
        gdb.do("unset tdesc filename")
        gdb.do(f"file {image}")
        gdb.do("set trust-readonly-sections on")
        while gdb.value("$rip") != symbol(image, "steps_begin"):
            gdb.do("stepi")
        gdb.do(f"source {ROOT}/tools/gdbtest/steps_inside.py")
        start, done = time.monotonic(), 0
        while done < count:
            gdb.do(f"trace-steps {min(AT_ONCE, count - done)} {file.name}", r"^\d+ steps$")
            with open(file.name) as lines:
                for line in lines:
                    seen = [int(word, 16) for word in line.split()]
                    compare(gdb, done, seen, *native[done], native[max(done - 1, 0)][0][NAMES.index("rip")])
                    done += 1
        print(f"{done} steps, {(time.monotonic() - start) / done * 1000:.1f} ms each")
        hurdles(gdb, image)
        gdb.do("detach inferiors 2 1", "Inferior 1 .*detached")
        gdb.end()
        umbra.end(0, rf"^a\| PASS: the code's sum is {total}, ", r"^a\| PASS: page tables changed", r"^a\| PASS: flags are",
                  r"^a\| PASS: interrupts came", r"^VERDICT a PASS")
