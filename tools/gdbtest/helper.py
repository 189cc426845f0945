# SPDX-License-Identifier: MIT
"""What tools/try-gdb helper checks: the commands of tools/gdb/umbra.py, used rightly and wrongly, beside what gdb itself reads.

Guest a is ptstorm; it stands in rand_below, in 64-bit mode, and is selected. Guest b is modes, and has not run yet."""
import re

from gdbtest.client import debugging, fail, symbol
from gdbtest.guest import break_64_bit

COMMANDS = ["guests", "vcpus", "shadow", "rmap", "log", "ring", "walk", "slabs", "rcu"]
MOV_CR = 3  # bytes
MMU = "guests.guest[0].vm->mmu"
# Wrong use, and what is answered.
WRONG = [
    ("nothing", r'umbra: there is no command "nothing"'),
    ("guests a", r"usage: umbra guests$"),
    ("vcpus nobody", r'there is no guest "nobody"; there are: a, b$'),
    ("shadow", r"usage: umbra shadow NAME \[COUNT\]"),
    ("shadow a 0", r"umbra shadow: 0 is no number from 1 to 4096"),
    ("shadow a 5000", r"5000 is no number"),
    ("rmap a", r"usage: umbra rmap NAME GFN \[COUNT\]"),
    ("rmap a 0xa0", r"umbra rmap: gfn 0xa0 is no RAM of guest a"),
    ("rmap a -1", r"is no RAM of guest a"),
    ("rmap a no_such_thing", r'umbra rmap: no_such_thing: No symbol "no_such_thing"'),
    ("log", r"usage: umbra log NAME"),
    ("log c", r'there is no guest "c"'),
    ("ring -3", r"umbra ring: -3 is no number"),
    ("walk a", r"usage: umbra walk NAME ADDRESS \[VCPU\]"),
    ("walk a 0x800000000000", r"umbra walk: 0x800000000000 is not canonical"),
    ("walk a 0 1", r"guest a has no vCPU 1: it has 1"),
    ("walk a $nothing", r"umbra walk: \$nothing: it has no value here"),
    ("slabs a", r"usage: umbra slabs$"),
    ("rcu a", r"usage: umbra rcu$"),
]


def check_help(gdb):
    gdb.do("help umbra", *(rf"^umbra {word} -- " for word in COMMANDS))
    gdb.do("umbra", *(rf"^umbra {word} -- " for word in COMMANDS))
    for word in COMMANDS:
        gdb.do(f"help umbra {word}", rf"umbra {word}\b")
    for command, answer in WRONG:
        gdb.do(f"umbra {command}", answer)


def hypervisor(gdb, *expressions, back=2):
    """What gdb reads in process 1; then process `back` is selected."""
    gdb.do("inferior 1", "Switching to inferior 1")
    values = [gdb.value(expression) for expression in expressions]
    gdb.do(f"inferior {back}", f"Switching to inferior {back}")
    return values


def check_guests(gdb):
    text = gdb.do("umbra guests", r"^guest +state +memory", r"^a +running +64 MiB +1 +\d+ +\d+ +\d+/1024 +wp$",
                  r"^b +running +64 MiB +1 ")
    used, = hypervisor(gdb, f"{MMU}.used")
    if int(re.search(r"^a .* (\d+)/1024", text, re.M)[1]) != used:
        fail(f"{used} shadow pages are in use")
    rip = gdb.value("$rip")
    text = gdb.do("umbra vcpus", rf"^a +0 +runnable +64-bit, paging long +\d +{rip:#x} +\d+ .*\b\d+ page fault", r"^b +0 ")
    if "\nb " in gdb.do("umbra vcpus a", r"^a +0 "):
        fail("guest b is not a")
    faults, = hypervisor(gdb, "guests.guest[0].vm->vcpu[0]->exits[EXIT_PAGE_FAULT].v")
    if int(re.search(r"(\d+) page fault", text)[1]) != faults:
        fail(f"{faults} exits were page faults")


def check_shadow(gdb):
    used, level, gfn = hypervisor(gdb, f"{MMU}.used", f"{MMU}.all->role.level", f"{MMU}.all->gfn.v")
    text = gdb.do("umbra shadow a 4", rf"^4 of {used} shadow pages, budget 1024$", rf"^{gfn:#x} +{level} +")
    if len(text.splitlines()) != 6:
        fail("4 pages are 4 lines")
    text = gdb.do("umbra shadow a 1024", rf"^{used} of {used} shadow pages, budget 1024 \(all\)$", r"^0x[0-9a-f]+ +4 +long WUX ",
                  r" 1 +(long|off) .* direct .*live .* level 2 ")
    if len(text.splitlines()) != used + 2 or "BROKEN" in text:
        fail(f"{used} pages are {used} lines")


def check_place(gdb, name, process, *patterns):
    """Where the walk of its stack pointer leads is where the guest's stack lies. (The page of PC, where gdb has a breakpoint, has no
    shadow.) Returns the gfn and what is printed."""
    text = gdb.do(f"umbra walk {name} $sp", r"^level +guest +shadow", r"^rights: guest W[-U]X, shadow .[-U]X", *patterns)
    gfn, hfn, found = re.search(r"^the guest: gfn (0x\w+), hfn (0x\w+)\nthe shadow: hfn (0x\w+)$", text, re.M).groups()
    if hfn != found:
        fail("one address, two pages")
    sp = gdb.value("$sp") & ~7
    top = gdb.value("*(unsigned *)((unsigned long)$sp & ~7ul)")
    there, = hypervisor(gdb, f"*(unsigned *){(int(hfn, 16) << 12) + (sp & 0xfff):#x}", back=process)
    if top != there:
        fail("the guest's stack lies elsewhere")
    return gfn, text


def check_walk(gdb):
    """Returns a gfn, and the entry of the shadow that maps it: its index and value."""
    gdb.do("umbra walk a 0x7fffffffffff", r"^4 .*not present", r"^the guest: a fault of its own", r"^the shadow: has nothing")
    check_place(gdb, "a", 2, r"^4 +gfn .* P W .*link P W U")
    # used with paging off too: two shadow pages map it
    text = gdb.do("umbra walk a &boot_magic 0", r"^rights: guest W-X, shadow .-X")
    gfn = re.search(r"^the guest: gfn (0x\w+)", text, re.M)[1]
    return gfn, re.search(r"^1 .*\[(\d+)\]: (0x\w+) 4K", text, re.M).groups()


def check_narrow(gdb, load):
    """Guest b, modes, where it has loaded CR3, by the instruction at `load`, with 32-bit paging and then with PAE paging."""
    gdb.do("inferior 3", "Switching to inferior 3")
    gdb.do("unset tdesc filename")
    on = "($cr0 >> 31 & 1)"
    for condition, mode, levels in (
            (f"{on} && !($cr4 & 32)", r"(32|pse)", [r"^2 +gfn \S+\[0\]: \S+ P W U A.* gfn \S+ (32|pse) WUX"]),
            (f"{on} && ($cr4 & 32) && !($efer & 0x400)", "pae",
             [r"^top +PDPTE 0: \S+ P +PDPTE 0: \S+ P$", "^2 .* gfn .* pae WUX"])):
        gdb.do("delete")
        gdb.do(f"break *{load + MOV_CR:#x} if {condition}", r"Breakpoint")
        gdb.do("continue", r"hit Breakpoint")
        gdb.do("umbra vcpus b", rf"^b +0 +runnable +32-bit, paging {mode} ")
        check_place(gdb, "b", 3, *levels)
        gdb.do("umbra walk b 0x100000000", r"is above 4 GiB")
        gdb.do("umbra shadow b 1024", rf"^0x\w+ +2 +{mode} WUX ", r"\(all\)$")


def check_rmap(gdb, gfn, index, spte):
    """The page has the entry in which the walk ended. Returns a descriptor of its chain."""
    text = gdb.do(f"umbra rmap a {gfn}", rf"^gfn {gfn}: hfn ", r"^4 KiB leaves: \d+ entries", r"^2 MiB leaves: ")
    found = re.findall(r"^  (0x\w+)\[(\d)\] +(0x\w+): +(0x\w+) 4K P .* level 1 .*\[(\d+)\]$", text, re.M)
    if (spte, index) not in [(entry[3], entry[4]) for entry in found] or "BROKEN" in text:
        fail("the chain lacks the entry where the walk ends")
    for desc, i, at, value, _ in found:
        held = hypervisor(gdb, f"((struct chain_desc *){desc})->slot[{i}].v", f"*(unsigned long *){at}")
        if held != [int(at, 16), int(value, 16)]:
            fail(f"{desc} does not hold that entry")
    return found[0][0]


def check_broken(gdb, gfn, desc):
    """Pointers that lead nowhere, chains that go round and round: errors, and an end."""
    all_pages, following = hypervisor(gdb, f"(unsigned long){MMU}.all", f"((struct chain_desc *){desc})->next.v")

    def put(what, value):
        gdb.do("inferior 1", "Switching")
        gdb.do(f"set var {what} = {value}")
        gdb.do("inferior 2", "Switching")

    put(f"{MMU}.all", "(struct shadow *)0x7fff0000dead0000")
    gdb.do("umbra shadow a", r"umbra shadow: a pointer leads nowhere: Cannot access memory at address 0x7fff0000dead0000")
    put(f"{MMU}.all", 0)
    gdb.do("umbra shadow a", r"^0 of \d+ shadow pages.*BROKEN")
    put(f"{MMU}.all", f"(struct shadow *){all_pages:#x}")
    put(f"((struct chain_desc *){desc})->next.v", desc)
    gdb.do(f"umbra rmap a {gfn} 9", r"more than 9: the rest is not shown")
    put(f"((struct chain_desc *){desc})->next.v", 0x1235)
    gdb.do(f"umbra rmap a {gfn}", r"BROKEN: it ends with 0x1235")
    put(f"((struct chain_desc *){desc})->next.v", following)
    put("guests.guest[1].ended.v", 1)
    gdb.do("umbra guests", r"^\(number 2\) +ended")
    gdb.do("umbra log b", r'there is no guest "b"; there are: a$')
    put("guests.guest[1].ended.v", 0)
    put("guests.guest[0].vm->vcpu[0]->stale", 1)
    gdb.do("umbra vcpus a", r" 0x[0-9a-f]+\? ")
    put("guests.guest[0].vm->vcpu[0]->stale", 0)


def check_map(gdb, dirty):
    """More dirty pages, in the middle of the map."""
    word = f"{MMU}.slot[1].bits[SLOT_DIRTY][126].v"
    was, = hypervisor(gdb, word)
    gdb.do("inferior 1", "Switching")
    gdb.do(f"set var {word} = ~0ul")
    gdb.do("umbra log a", rf"^slot 0x100-0x3fff: {dirty + 64 - bin(was).count('1')} of 16128 pages dirty\n  \[.{{32}}[-:=]")
    gdb.do(f"set var {word} = {was:#x}")
    gdb.do("inferior 2", "Switching")


def check_state(gdb):
    rounds, dirty, epoch = hypervisor(gdb, f"{MMU}.stats.rounds.v", f"{MMU}.stats.dirty.v", "rcu_epoch.v")
    text = gdb.do("umbra log a", r"^log wp, on \(1 users\), rounds go by write protection",
                  rf"^rounds {rounds}, .*pages dirty {dirty},", r"^slot 0x0-0x9f: \d+ of 160 pages dirty",
                  r"^slot 0x100-0x3fff: \d+ of 16128 pages dirty\n  \[.{64}\]$")
    if not rounds:
        fail("there was no harvest")
    check_map(gdb, int(re.search(r"(\d+) of 16128", text)[1]))
    gdb.do("umbra log b", r"^log off, off", r"^slot 0x100-0x3fff: 16128 of 16128 pages dirty\n  \[@{64}\]")
    text = gdb.do("umbra ring 3", r"^(umbra:|a\||b\|) ", r"^\d+ pieces written")
    if len(text.splitlines()) != 4:
        fail("3 lines are 3 lines")
    gdb.do("umbra ring 500", r"^umbra: loaded by ", r"^umbra: guest a: 64 MiB on CPU \d, harvested into a replica$")
    gdb.do("umbra slabs", r"^shadow +8192 +[1-9]\d* +[1-9]\d* +[1-9]", r"^rmap +64 +[1-9]", r"^mode normal, \d+ pages wait")
    gdb.do("umbra rcu", rf"^epoch {epoch}$", r"^cpu +publish +walk$", *(rf"^{cpu} +- +-$" for cpu in range(4)))
    gdb.do("inferior 1", "Switching")
    gdb.do("set var rcu_cpus[2].word[1].v = 1")
    gdb.do("umbra rcu", rf"^2 +- +epoch 1, {epoch - 1} behind, nested 0$")
    gdb.do("set var rcu_cpus[2].word[1].v = 0")
    gdb.do("inferior 2", "Switching")


def check_unattached(gdb):
    gdb.do("umbra guests", r"^gdb is not attached to Umbra's stub")


def check_no_symbols(gdb):
    gdb.do("umbra guests", r"process 1 has no symbol guests: give it the hypervisor's")


def check_start(gdb):
    """No guest has run yet."""
    gdb.do("umbra guests", r"^a +running +64 MiB +1 +0 +0 +0/1024 +wp$")
    gdb.do("umbra vcpus", r"^a +0 +runnable +32-bit, paging off +\d +0x1\w{5} +0 +-$")
    gdb.do("umbra walk a 0x100000", r"^the guest: gfn 0x100, hfn", r"^the shadow: has no root")
    gdb.do("umbra walk a 0x100000000", r"umbra walk: 0x100000000 is above 4 GiB")
    gdb.do("umbra shadow a", r"^0 of 0 shadow pages, budget 1024 \(all\)")
    gdb.do("umbra log a", r"^slot 0x0-0x9f: 160 of 160 pages dirty\n  \[@@@\]")


def check(gdb):
    check_help(gdb)
    check_guests(gdb)
    gdb.do("up", r"^#1 ")
    gdb.do("umbra guests")
    gdb.do("frame", r"^#1 ")
    gdb.do("source tools/gdb/umbra.py", r"^$")
    check_shadow(gdb)
    gfn, (index, spte) = check_walk(gdb)
    check_broken(gdb, gfn, check_rmap(gdb, gfn, index, spte))
    check_state(gdb)


def helper(args):
    image = f"{args.build}/guest/ptstorm.elf"
    with debugging(args, f"{image} name=a mem=64M log=wp -- rounds=2",
                   f"{args.build}/guest/modes.elf name=b mem=64M") as (umbra, gdb, port):
        gdb.do("source tools/gdb/umbra.py")
        check_unattached(gdb)
        gdb.do(f"target remote :{port}", "New inferior 2")
        check_no_symbols(gdb)
        gdb.do(f"file {args.build}/umbra.elf")
        check_start(gdb)
        gdb.do("inferior 2", r"Switching to inferior 2")
        gdb.do("unset tdesc filename")
        gdb.do(f"break *{symbol(f'{image}64', 'rand_below'):#x}")  # now, for what it makes guarded takes the whole shadow
        break_64_bit(gdb, f"{image}64")
        check(gdb)
        check_narrow(gdb, symbol(f"{args.build}/guest/modes.elf64", "op_cr3"))
        gdb.do("delete")
        gdb.do("detach inferiors 2 3 1", "Inferior 1 .*detached")
        gdb.end()
        umbra.end(0, r"^VERDICT a PASS", r"^REPLICA a EQUAL", r"^VERDICT b PASS", r"^UMBRA PASS")
