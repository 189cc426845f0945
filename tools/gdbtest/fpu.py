# SPDX-License-Identifier: MIT
"""tools/try-gdb fpu: x87, SSE and AVX registers of two guests that take turns on one CPU, each with values of its own in them,
and of one that has a CPU to itself, whose registers are in the hardware whenever it stands still."""
import re
import subprocess

from gdbtest.client import debugging, fail, symbol

MASK = (1 << 64) - 1
SEEDS = {2: 3, 3: 11}  # by process, of those that share a CPU
ALONE = 4
PATTERN = [0x1122334455667788, 0x99aabbccddeeff00, 0x0123456789abcdef, 0xfedcba9876543210]
CODE_32 = bytes.fromhex("b800020000"  # mov $CR4.OSFXSR, %eax
                        "0f22e0"      # mov %eax, %cr4
                        "0f28d1"      # movaps %xmm1, %xmm2
                        "d9e8d9eb"    # fld1, fldpi
                        "dec1"        # faddp
                        "dbe3"        # fninit
                        "31c0"        # xor %eax, %eax
                        "0f22e0")     # mov %eax, %cr4


def values_of(pid):
    """What the guest keeps in its registers."""
    seed = SEEDS[pid] * 0x0123456789abcdef & MASK
    return [seed, ~seed & MASK, seed * 3 & MASK, seed * 5 & MASK]


def expect_parts(gdb, register, want):
    for i, value in enumerate(want):
        found = gdb.value(f"{register}[{i}]")
        if found != value:
            fail(f"{register}[{i}] is {found:#x}, not {value:#x}")


def set_parts(gdb, register, values):
    for i, value in enumerate(values):
        gdb.do(f"set var {register}[{i}] = {value:#x}", r"^\Z")


def expect(gdb, **want):
    for name, value in want.items():
        if gdb.value(f"${name}") != value:
            fail(f"${name} is not {value:#x}")


def at_start(gdb, scratch):
    """32-bit code, and the state after reset."""
    expect(gdb, fctrl=0x37f, fstat=0, ftag=0xffff, mxcsr=0x1f80, fop=0)
    expect_parts(gdb, "$xmm7.v2_int64", [0, 0])
    gdb.do("print $xmm8", r"= void")
    start, eax, flags = (gdb.value(name) for name in ("$eip", "$eax", "$eflags"))
    code = CODE_32.ljust(-len(CODE_32) % 8 + len(CODE_32), b"\x90")
    for i in range(0, len(code), 8):
        gdb.do(f"set var *(unsigned long long *){scratch + i:#x} = {int.from_bytes(code[i:i + 8], 'little'):#x}", r"^\Z")
    gdb.do(f"set var $eip = {scratch:#x}", r"^\Z")
    set_parts(gdb, "$xmm1.v2_int64", PATTERN[:2])
    gdb.do("set var $mxcsr = 0x3f80", r"^\Z")
    gdb.do("stepi 5", r"0x")
    expect_parts(gdb, "$xmm2.v2_int64", PATTERN[:2])
    expect(gdb, fstat=6 << 11, ftag=0x0fff, mxcsr=0x3f80)
    gdb.do("print $st0", r"= 3\.14159265358979323")
    gdb.do("set var $st1 = -2.5", r"^\Z")
    gdb.do("stepi", r"0x")
    gdb.do("info float", r"R7: Valid +0x3ffe.* \+0\.6415926535", r"R6: Empty", r"TOP: 7")
    gdb.do("set var $ftag = 0x10000", "Could not write register")
    gdb.do("stepi 3", r"0x")
    expect(gdb, fstat=0, ftag=0xffff, fctrl=0x37f, cr4=0)
    for name, value in (("mxcsr", 0x1f80), ("eip", start), ("eax", eax), ("eflags", flags)):
        gdb.do(f"set var ${name} = {value:#x}", r"^\Z")


def without_description(gdb, image):
    """gdb has asked for the first process's description alone, and counts the registers as it does of any 64-bit program."""
    gdb.do(f"file {image}")
    expect(gdb, fctrl=0x37f, ftag=0xffff, mxcsr=0x1f80)
    set_parts(gdb, "$xmm15.v2_int64", PATTERN[:2])
    expect_parts(gdb, "$xmm15.v2_int64", PATTERN[:2])
    set_parts(gdb, "$xmm15.v2_int64", [0, 0])
    gdb.do("file", "No executable file now")


def go_to(gdb, pid, address, condition=""):
    """This process alone."""
    gdb.do(f"inferior {pid}", "Switching")
    gdb.do("unset tdesc filename")
    gdb.do(f"tbreak *{address:#x} {condition}", "Temporary breakpoint")
    gdb.do("continue", "Temporary breakpoint")
    gdb.do("unset tdesc filename")


def store(gdb, address, count):
    """The instruction there stores them at RDI; it is made now, out of turn."""
    at = gdb.value("$rip")
    gdb.do(f"set var $rip = {address:#x}", r"^\Z")
    gdb.do("stepi", r"0x")
    expect_parts(gdb, "((unsigned long *)$rdi)", PATTERN[:count])
    gdb.do(f"set var $rip = {at:#x}", r"^\Z")


def check_sse(gdb, load, save):
    for pid in SEEDS:
        go_to(gdb, pid, load)
        expect_parts(gdb, "$xmm0.v2_int64", values_of(pid)[:2])
    for pid in SEEDS:  # each has run, or stood still, while the other did
        gdb.do(f"inferior {pid}", "Switching")
        expect_parts(gdb, "$xmm0.v2_int64", values_of(pid)[:2])
        expect_parts(gdb, "$xmm15.v2_int64", values_of(pid)[2:])
        gdb.do("info registers mxcsr", r"^mxcsr +0x1f80 +\[ IM DM ZM OM UM PM .*\]")
        gdb.do("set var $mxcsr = 0x10000", "Could not write register")
        set_parts(gdb, "$xmm0.v2_int64", PATTERN[:2])
        store(gdb, save, 2)
        set_parts(gdb, "$xmm0.v2_int64", values_of(pid)[:2])


def check_avx(gdb, enabled, load, save):
    """First to where the guest enables it, which is in another page than its loops: they would run in one that is guarded."""
    for pid in SEEDS:
        go_to(gdb, pid, enabled, "if $rsi == 7")
        expect_parts(gdb, "$ymm7.v4_int64", [0] * 4)
        go_to(gdb, pid, load)
        expect_parts(gdb, "$ymm7.v4_int64", values_of(pid))
    for pid in SEEDS:
        gdb.do(f"inferior {pid}", "Switching")
        expect_parts(gdb, "$ymm7.v4_int64", values_of(pid))
        set_parts(gdb, "$ymm7.v4_int64", PATTERN)
        store(gdb, save, 4)
        set_parts(gdb, "$ymm7.v4_int64", values_of(pid))


def loads_and_saves(image):
    """In the guest's code: behind what loads the registers, for SSE and for AVX, and what stores them."""
    listed = subprocess.run(["objdump", "-d", "--no-show-raw-insn", image], stdout=subprocess.PIPE, text=True, check=True).stdout
    instructions = re.findall(r"^ +([0-9a-f]+):\t(.*?) *$", listed, re.M)
    return tuple([int(at, 16) for at, text in instructions if re.fullmatch(pattern, text)]
                 for pattern in (r"mov +\$0x4e20,%r8d", r"v?movdqu +%[xy]mm[07],\(%rdi\)"))


def fpu(args):
    image, options = f"{args.build}/guest/insn.elf", "watch=off" if args.on == "qemu" else ""
    guests = [f"{image} name={name} mem=16M cpus=1 log=wp -- seed={seed} fpu=20 {options}"
              for name, seed in zip("ab", SEEDS.values())]
    guests.append(f"{image} name=c mem=16M cpus=2 -- fpu=20 {options}")
    (sse, avx), (sse_save, avx_save) = loads_and_saves(f"{image}64")
    with debugging(args, *guests, model="corei7_skylake_x") as (umbra, gdb, port):
        gdb.do(f"target remote :{port}", f"New inferior {ALONE}")
        for name in ("st0", "fctrl", "xmm0", "mxcsr"):
            gdb.do(f"print ${name}", r"= <unavailable>")
        gdb.do("inferior 2", "Switching")
        without_description(gdb, f"{image}64")
        gdb.do(f"inferior {ALONE}", "Switching")
        gdb.do("unset tdesc filename")
        at_start(gdb, symbol(image, "stack_top") - 64)
        check_sse(gdb, sse, sse_save)
        if args.on == "bochs":
            check_avx(gdb, symbol(f"{image}64", "do_xsetbv"), avx, avx_save)
        else:
            gdb.do("print $ymm7", r"= void")
        gdb.do("detach inferiors 2 3 4 1", "Inferior 1 .*detached")
        gdb.end()
        umbra.end(0, *(rf"^{name}\| PASS: XMM registers keep their values" for name in "abc"),
                  r"^REPLICA a EQUAL", r"^REPLICA b EQUAL", r"^UMBRA PASS")
