# SPDX-License-Identifier: MIT
"""tools/try-gdb's sessions with guests."""
import re
import shlex
import subprocess
import tempfile

from gdbtest.client import END_SECONDS, ROOT, STEPS, Umbra, break_in, debugging, fail, symbol
from terminal import free_port


def readme(args):
    with open(f"{ROOT}/README.md") as file:
        text = file.read().split("## Debug a guest", 1)[1].split("\n## ", 1)[0]
    port = str(free_port())
    text = text.replace("1234", port).replace("build/", args.build + "/")
    command = shlex.split(re.search(r"^    (tools/run .*)", text, re.M)[1])
    script = re.search(r"^```gdb\n(.*?)^```", text, re.M | re.S)[1]
    command[1:1] = ["--on", args.on, "--elf", f"{args.build}/umbra.elf"]
    umbra = Umbra(command)
    try:
        with tempfile.NamedTemporaryFile("w", suffix=".gdb") as file:
            file.write(script)
            file.flush()
            done = subprocess.run(["gdb", "-nx", "-batch", "-x", file.name], cwd=ROOT, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=END_SECONDS)
        print(done.stdout)
        if done.returncode:
            fail(f"gdb's exit status is {done.returncode}")
        for pattern in (r"hypervisor, CPU 0", r"guest a, vCPU 0", r"hit (Temporary breakpoint|Breakpoint) 1",
                        r"#0 .*image_main", r"hit (Temporary breakpoint|Breakpoint) 2", r"#1 .* in ", r"^efer +0x.*",
                        r"Inferior 2 .* detached"):
            if not re.search(pattern, done.stdout, re.M):
                fail(f"gdb's output has no {pattern}")
        umbra.end(0, r"^VERDICT a PASS", r"^UMBRA PASS")
    finally:
        umbra.close()


def look_at_hypervisor(gdb):
    gdb.do("info threads", r"^\* 1\.1 .*hypervisor, CPU 0.*gdb_stop_park", r"1\.4 .*CPU 3", r"2\.1 .*guest a, vCPU 0",
           r"3\.1 .*guest b, vCPU 0")
    gdb.do("backtrace", r"#2 .*runner_cpu_loop", r"umbra_main")
    if gdb.value("guests.n") != 2 or not gdb.value("$cr0") >> 31:
        fail("the hypervisor's memory or CR0 reads wrong")
    gdb.do("info registers system", r"^system .*cr0 = 0x8[0-9a-f]+, .*tr_attr = 0x[0-9a-f]*8b, "
           r"gdtr_base = 0x[0-9a-f]{5,}, .*idtr_base = 0x[0-9a-f]{5,}")
    gdb.do("info symbol $system.idtr_base", r"^idt")
    gdb.do("print *(int *)0x7fff0000dead0000", r"Cannot access memory")
    gdb.do("set var *(int *)runner_cpu_loop = 0", r"Cannot access memory")
    gdb.do("set var options.level = 3", r"^")
    if gdb.value("options.level") != 3:
        fail("the hypervisor's memory cannot be written")
    gdb.do("set var options.level = 2")


def step_32_bit(gdb, start):
    gdb.do("inferior 2", r"Switching to inferior 2")
    gdb.do("unset tdesc filename")
    gdb.do("info registers", r"^eip +0x", r"^cr0 +0x")
    if gdb.value("$eip") != start or gdb.value("$eax") != 0x2badb002:
        fail("the registers are not those of a multiboot entry")
    before = gdb.value("$eip")
    gdb.do("stepi")
    if not before < gdb.value("$eip") < before + 16:
        fail("a step leads elsewhere")


def break_64_bit(gdb, image):
    gdb.do(f"tbreak *{symbol(image, 'image_main'):#x}", "Temporary breakpoint")
    gdb.do("continue", "Temporary breakpoint")
    gdb.do("unset tdesc filename")
    gdb.do(f"file {image}")
    gdb.do("backtrace", r"#0 +image_main")
    if gdb.value("$efer") & 0x500 != 0x500:
        fail("EFER has no LME and LMA")
    gdb.do("info registers system", r"^system .*efer = 0x[5d]0[01], .*ss_attr = 0x[0-9a-f]+93, "
           r".*tr_attr = 0x[0-9a-f]*8[9b], .*ip = 0x1")
    gdb.do("break rand_below", "Breakpoint")
    gdb.do("continue", r"hit Breakpoint")
    gdb.do("continue", r"hit Breakpoint")
    gdb.do("backtrace", r"rand_below", r"image_main")


def change_things(gdb):
    gdb.do("set var rand_state = 0x123456789abcdef")
    if gdb.value("rand_state") != 0x123456789abcdef:
        fail("the guest's memory cannot be written")
    old = gdb.value("$rax")
    gdb.do("set var $rax = 0x1122334455667788")
    if gdb.value("$rax") != 0x1122334455667788:
        fail("RAX cannot be written")
    gdb.do(f"set var $rax = {old:#x}")
    gdb.do("set var $rip = 0x8000000000000000", "Could not write register")
    gdb.do("print *(int *)0x7fff00000000", "Cannot access memory")


def step_64_bit(gdb):
    """Steps, each of which gets to where the instruction leads."""
    for _ in range(STEPS):
        before = gdb.value("$rip")
        text = gdb.do("x/2i $rip", r"^=> 0x")
        first, second = re.findall(r"^(?:=> |   )0x([0-9a-f]+)[^\t]*\t(.*)", text, re.M)
        gdb.do("stepi")
        after = gdb.value("$rip")
        if re.match(r"(j|call|ret|iret|int|sys|rep)", first[1]):
            continue
        if after != int(second[0], 16):
            fail(f"a step from {before:#x} leads to {after:#x}")
    if gdb.value("$eflags") & 0x100:
        fail("RFLAGS.TF is seen")


def step_lines(gdb):
    """Lines of C, in ranges that the stub steps through by itself."""
    gdb.do("set debug remote 1")
    text = gdb.do("next", r"^\d+\t") + gdb.do("next", r"^\d+\t")
    gdb.do("set debug remote 0", r"^")
    ranges = re.findall(r"\$vCont;r([0-9a-f]+),([0-9a-f]+):p2\.1.*?"
                        r"Packet received: T05thread:p2\.1;[^\n]*?10:([0-9a-f]{16});", text, re.S)
    if not ranges:
        fail("gdb steps through no range")
    for start, end, rip in ranges:
        if int(start, 16) <= int.from_bytes(bytes.fromhex(rip), "little") < int(end, 16):
            fail(f"a range {start} … {end} ends within")


def session(args):
    image = f"{args.build}/guest/ptstorm.elf"
    with debugging(args, f"{image} name=a mem=64M log=wp -- rounds=6", f"{args.build}/guest/dirty.elf name=b mem=64M") as (umbra, gdb, port):
        gdb.do(f"file {args.build}/umbra.elf")
        gdb.do(f"target remote :{port}", "gdb_stop_park")
        look_at_hypervisor(gdb)
        step_32_bit(gdb, symbol(image, "start"))
        break_64_bit(gdb, f"{image}64")
        change_things(gdb)
        step_lines(gdb)
        step_64_bit(gdb)
        gdb.do("delete")
        gdb.do("inferior 1")
        gdb.do("kill", "Can't kill process")
        gdb.do("inferior 2")
        break_in(gdb, r"Thread 2\.1")
        gdb.do("info threads", r"3\.1 .*guest b")
        gdb.do("set schedule-multiple on")
        break_in(gdb)
        gdb.do("detach inferiors 2 3 1", "Inferior 2 .*detached", "Inferior 1 .*detached")
        gdb.end()
        umbra.end(0, r"^VERDICT a PASS", r"^REPLICA a EQUAL", r"^VERDICT b PASS", r"^UMBRA PASS")


def processes(args):
    """gdb lets go of a guest and takes it back, kills another, and stays when it has let all go; without acknowledgements."""
    image = f"{args.build}/guest/ptstorm.elf"
    with debugging(args, f"{image} name=a mem=64M log=wp -- rounds=6", f"{args.build}/guest/dirty.elf name=b mem=64M") as (umbra, gdb, port):
        gdb.do("set remote noack-packet on")
        gdb.do(f"target extended-remote :{port}")
        gdb.do("info threads", r'^\* 1\.1 .*"hypervisor, CPU 0"', r'3\.1 .*"guest b, vCPU 0"')
        gdb.do("detach inferiors 2", "Inferior 2 .*detached")
        gdb.do("set schedule-multiple on")
        break_in(gdb)
        gdb.do("inferior 2")
        gdb.do("attach 2")
        gdb.do("info threads", r"^\* 2\.1 ", r"1\.4 ", r"3\.1 ")
        gdb.do("inferior 3")
        gdb.do("kill", "Inferior 3 .*killed")
        gdb.do("inferior 2")
        break_in(gdb)
        if "3.1" in gdb.do("info threads"):
            fail("the guest that was killed has a thread")
        gdb.do("detach inferiors 2 1", "Inferior 1 .*detached")
        gdb.do("attach 2")
        gdb.do(f"break *{symbol(image, 'rand_below'):#x}")
        gdb.do("continue", r"^Breakpoint 1, 0x")
        gdb.do("delete")
        gdb.do("detach", "Inferior 2 .*detached")
        gdb.end()
        umbra.end(1, r"^VERDICT a PASS", r"^REPLICA a EQUAL", r"^VERDICT b FAIL killed by gdb")


def real_mode(args):
    """The registers and the code of 16-bit modes; the code there is a copy, with CS's base at its start."""
    image, code = f"{args.build}/guest/realmode.elf", 0x20000
    offset = {name: symbol(image, name) - symbol(image, "real_code") for name in ("real_leave", "real_arrived")}
    guest = f"{image} name=a mem=16M -- limits={'on' if args.on == 'bochs' else 'off'}"
    with debugging(args, guest) as (umbra, gdb, port):
        gdb.do(f"cd {args.build}")
        gdb.do(f"target remote :{port}", r"^Reading symbols from .*/umbra\.elf", r"gdb_stop_park")
        gdb.do("inferior 2")
        gdb.do("unset tdesc filename")
        gdb.do(f"tbreak *{symbol(image, 'unpaged'):#x}")
        gdb.do("continue", "Temporary breakpoint")
        copied = re.search(r"(0x[0-9a-f]+):\tlgdt", gdb.do("x/20i $pc", r"\tlgdt"))[1]
        gdb.do(f"tbreak *{copied}")
        gdb.do("continue", "Temporary breakpoint")
        gdb.do(f"tbreak *{code + offset['real_leave']:#x}")
        gdb.do("continue", "Temporary breakpoint")
        gdb.do("unset tdesc filename")
        gdb.do("show architecture", r"i8086")
        gdb.do("x/4i $pc", r"^=> 0x2[0-9a-f]+:\tmov +\$0x20,%ax")
        gdb.do("info registers system", rf"cr0 = 0x[0-9a-f]*1, .*cs_base = {code:#x}, .*ip = {offset['real_leave']:#x}")
        gdb.do(f"tbreak *{code + offset['real_arrived']:#x}")
        gdb.do("continue", "Temporary breakpoint")
        if gdb.value("$cr0") & 1 or gdb.value("$cs") != code >> 4 or gdb.value("$system.ip") != offset["real_arrived"]:
            fail("that is not real mode")
        for _ in range(STEPS // 4):
            first, second = re.findall(r"^(?:=> |   )(0x[0-9a-f]+):\t(.*)", gdb.do("x/2i $pc", "^=> 0x"), re.M)
            gdb.do("stepi")
            if gdb.value("$eip") != int(second[0], 16) and not first[1].endswith(",%ss"):  # which takes the next one along
                fail(f"a step from {first[0]} does not lead to {second[0]}")
        gdb.do("set var $fs = 0x1234")
        if gdb.value("$fs") != 0x1234:
            fail("FS cannot be written")
        gdb.do("info registers system", r"fs_base = 0x12340")
        gdb.do("set var $system.gs_base = 0x54321")
        gdb.do("info registers system", r"gs_base = 0x54321")
        gdb.do("set var $system.tr_base = 0x54321", "Could not write register")
        gdb.do("set var $eip = 0x30000", "Could not write register")
        gdb.do("detach inferiors 2 1")
        gdb.end()
        umbra.end(0, r"^VERDICT a PASS")
