# SPDX-License-Identifier: MIT
"""tools/try-gdb's sessions with the hypervisor itself."""
import random
import re

from gdbtest.client import STEPS, break_in, debugging, fail, symbol

STOPS = {"qemu": 1000, "bochs": 100}
STOPS_APART = 0.01 # seconds at most


def step_hypervisor(gdb):
    gdb.do("break exit_io", r"Breakpoint")
    gdb.do("continue", r"Thread 1\.\d+ .*hit Breakpoint \d+, exit_io")
    gdb.do("info threads", r"^\* 1\.\d+ .*exit_io")
    gdb.do("backtrace", r"exit_io", r"runner_cpu_loop")
    gdb.do("print r->vm->config.name", r'"[ab]"')
    gdb.do("set scheduler-locking step")
    for _ in range(STEPS):
        before = gdb.value("$rip")
        first, second = re.findall(r"^(?:=> |   )0x([0-9a-f]+)[^\t]*\t(.*)", gdb.do("x/2i $rip"), re.M)
        gdb.do("stepi")
        if not re.match(r"(j|call|ret)", first[1]) and gdb.value("$rip") != int(second[0], 16):
            fail(f"a step from {before:#x} leads elsewhere")
    gdb.do("continue", r"hit Breakpoint \d+, exit_io")
    gdb.do("delete")
    gdb.do("finish", r"Value returned")
    gdb.do("set scheduler-locking off")


def step_over_entry(gdb):
    """No breakpoint in the VM entry, which is one step, whatever the guest does meanwhile."""
    run = gdb.value("(unsigned long)guests.backend->run")
    gdb.do(f"break *{run:#x}", r"Breakpoint")
    gdb.do("continue", r"Cannot insert breakpoint|Cannot access memory")
    gdb.do("delete")
    slice = "vmx_slice" if "vmx" in gdb.do(f"info symbol {run:#x}", r"_run in section") else "svm_slice"
    text = gdb.do(f"disassemble {slice}", "End of assembler dump")
    call = int(re.search(r"^ +0x0*([0-9a-f]+) .*call .*_run>", text, re.M)[1], 16)
    gdb.do(f"tbreak *{call:#x}", r"Temporary breakpoint")
    gdb.do("continue", r"Temporary breakpoint")
    gdb.do("set scheduler-locking step")
    gdb.do("stepi", r"_run \(\)")
    gdb.do("stepi", r"in run \(")
    if not call < gdb.value("$rip") < call + 8:
        fail("a step over the entry leads elsewhere")
    gdb.do("set scheduler-locking off")


def wrong_stub(gdb):
    """A fault in the stub itself: gdb hears of it, and goes on."""
    vcpu = f"(*(struct vcpu *){gdb.value('guests.guest[0].vm->vcpu[0]'):#x})"
    vm = gdb.value(f"{vcpu}.vm")
    gdb.do(f"set var {vcpu}.vm = (void *)0xdead00000000dead")
    gdb.do("maint packet qThreadExtraInfo,p2.1", r'received: "E0e"')
    gdb.do(f"set var {vcpu}.vm = (void *){vm:#x}")
    gdb.do("info threads", r"2\.1 .*guest a, vCPU 0")


def monitor_in_between(gdb):
    """A CPU stands where it holds a guest's lock: the monitor does what takes none."""
    gdb.do("tbreak leaf_install", r"breakpoint")
    gdb.do("continue", r"leaf_install")
    gdb.do("monitor rmap a 0x100", r"^not while a CPU stands in the middle of something")
    gdb.do("monitor guests", r"^a +runs ")
    gdb.do("monitor dmesg 2", r"^\| ")


def panic(gdb):
    gdb.do("tbreak exit_io", r"breakpoint")
    gdb.do("continue", r"exit_io")
    gdb.do('set var $rdi = (unsigned long)exception_names[1]')
    gdb.do("set var $rip = host_panic")
    gdb.do("continue", r"SIGABRT")
    gdb.do("backtrace", r"#0 .*host_panic", r"runner_cpu_loop")
    gdb.do("print guests.n", r"= 2")


def hypervisor(args):
    with debugging(args, f"{args.build}/guest/ptstorm.elf name=a mem=64M log=wp -- rounds=6", f"{args.build}/guest/dirty.elf name=b mem=64M") as (umbra, gdb, port):
        gdb.do(f"file {args.build}/umbra.elf")
        gdb.do(f"target remote :{port}", "gdb_stop_park")
        gdb.do("set schedule-multiple on")
        wrong_stub(gdb)
        step_hypervisor(gdb)
        step_over_entry(gdb)
        monitor_in_between(gdb)
        panic(gdb)
        gdb.do("detach")
        gdb.end()
        umbra.end(5, r"PANIC on CPU \d.*#DB debug", r"^UMBRA PANIC")


def at_will(gdb):
    """Guest-physical addresses: the page tables' own, and one that no table of the guest leads to."""
    gdb.do("unset tdesc filename")
    root, before = gdb.value("$cr3"), gdb.do("x/xg 0xff8000", "^0xff8000")
    gdb.do("monitor phys maybe", r"^usage: phys off\|on$")
    gdb.do("monitor phys on", "^guests' memory is at guest-physical addresses$")
    if not gdb.value(f"*(unsigned long *){root:#x}") & 1:
        fail("the first entry of the guest's top table is not there")
    gdb.do("x/xg 0x200000000", "Cannot access memory")
    old = gdb.value("*(unsigned long *)0xff8000")
    gdb.do(f"set var *(unsigned long *)0xff8000 = {old ^ 0xff:#x}")
    gdb.do("monitor phys off", "^guests' memory is at their own addresses$")
    gdb.do("monitor phys on", "^guests'")
    if gdb.value("*(unsigned long *)0xff8000") != old ^ 0xff:
        fail("a write to guest-physical memory is lost")
    gdb.do(f"set var *(unsigned long *)0xff8000 = {old:#x}")
    gdb.do("monitor phys off", "^guests'")
    if gdb.do("x/xg 0xff8000", "^0xff8000") != before:
        fail("the guest's own addresses are not back")


def monitor(args):
    with debugging(args, f"{args.build}/guest/ptstorm.elf name=v mem=16M log=wp -- rounds=100000",
                   f"{args.build}/guest/dirty.elf name=b mem=16M log=wp -- pages=512 writes=300 rounds=3") as (umbra, gdb, port):
        gdb.do(f"file {args.build}/umbra.elf")
        gdb.do(f"target remote :{port}")
        gdb.do("monitor help", r"^help \[COMMAND\] ", r"^quit ")
        gdb.do("monitor guests", r"^v +runs +1 ", r"^b +runs +1 ")
        gdb.do("monitor mmu", "^NAME is missing$", "^usage: mmu NAME$")
        gdb.do("monitor nonsense", "^nonsense is no command; help lists them$")
        gdb.do("inferior 2")
        gdb.do(f"file {args.build}/guest/ptstorm.elf64")
        gdb.do("break image_main")
        gdb.do("continue", "image_main")
        gdb.do("monitor vcpus v", r"^v +0 +\d+ +runs +long +[0-9a-f]{16} ")
        stack = symbol(f"{args.build}/guest/ptstorm.elf64", "stack_top") - 8
        gdb.do(f"monitor walk v {stack:#x}", "^the guest: gpa 0x10b", "^the shadow: gpa 0x10b")
        gdb.do("monitor rmap v 0x102", "^gfn 0x102: hfn ")
        at_will(gdb)
        gdb.do("monitor audit", "^v: 0 violations$", "^b: 0 violations$")
        gdb.do("monitor zap v", "^v: zapped$")
        gdb.do("monitor restart v", "^not while everything stands still$")
        gdb.do("monitor pause v", "^v: paused$")
        gdb.do("monitor resume v", "^v: goes on$")
        gdb.do("monitor dmesg 3", r"^\| ")
        gdb.do("monitor kill v", "^v: killed$")
        gdb.do("delete")
        gdb.do("detach inferiors 2 1", "Inferior 1 .*detached")
        gdb.end()
        umbra.end(1, r"^VERDICT v FAIL killed by the monitor", r"^VERDICT b PASS", r"^REPLICA b EQUAL")


def storm(args):
    chance, rounds = random.Random(1), STOPS[args.on] // 10
    with debugging(args, f"{args.build}/guest/ptstorm.elf name=a mem=32M log=wp vcpus=2 -- rounds={rounds}",
                   f"{args.build}/guest/dirty.elf name=b mem=32M log=dbit -- rounds={rounds}",
                   append="gdb=wait audit=continuous", timeout=800) as (umbra, gdb, port):
        gdb.do(f"target remote :{port}")
        gdb.do("set schedule-multiple on")
        for _ in range(STOPS[args.on]):
            break_in(gdb, after=chance.uniform(0, STOPS_APART))
        gdb.do("info threads", r"2\.1 .*guest a", r"3\.1 .*guest b")
        gdb.do("detach inferiors 2 3 1", "Inferior 1 .*detached")
        gdb.end()
        umbra.end(0, r"^VERDICT a PASS", r"^REPLICA a EQUAL", r"^VERDICT b PASS", r"^REPLICA b EQUAL", r"^UMBRA PASS")
