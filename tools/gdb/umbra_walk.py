# SPDX-License-Identifier: MIT
"""Both page tables of an address, side by side: `umbra walk`."""
import gdb

from umbra_bits import (ACC_ALL, ACC_U, ACC_W, ACC_X, CR0_WP, GPTE_ADDRESS, GPTE_D, GPTE_NX, GPTE_P, GPTE_PS, GPTE_U, GPTE_W,
                        PAGE_SHIFT, SPTE_MMU_WRITABLE, SPTE_NX, SPTE_P, SPTE_PFN_MASK, SPTE_SIZE_MASK, SPTE_U, SPTE_W, WORD,
                        gpte_text, rights, spte_text)
from umbra_guests import vcpu_numbered, vm_named
from umbra_memory import Command, NAME, NUMBER, atomic, enum_name, host_address, load, table, whole, words
from umbra_shadow import Tables, role_text, slot_of

PAGE = 1 << PAGE_SHIFT


def limits(vcpu, address):
    long = enum_name(vcpu["mode"], "PAGING_") == "long"
    if address >> 47 not in (0, 0x1ffff) if long else address >> 32:
        raise gdb.GdbError(f"umbra walk: {address:#x} is " + ("not canonical" if long else "above 4 GiB"))


class Step:
    """One entry of a walk: its text, whether it is present, and the rights of all entries so far."""

    def __init__(self, text, present, access):
        self.text, self.present, self.access = text, present, access


class Walk:
    """Steps by level (5: a PDPTE of a guest with PAE paging); page: the frame that the address leads to, or None and why not."""

    def __init__(self):
        self.steps, self.page, self.end, self.leaf = {}, None, "", 0
        self.access = ACC_ALL

    def add(self, level, text, present, access):
        self.access &= access
        self.steps[level] = Step(text, present, self.access)

    def stop(self, why):
        self.end = why
        return self


def guest_access(entry, nxe):
    return (ACC_W if entry & GPTE_W else 0) | (ACC_U if entry & GPTE_U else 0) | (0 if nxe and entry & GPTE_NX else ACC_X)


def shadow_access(spte):
    return (ACC_W if spte & SPTE_W else 0) | (ACC_U if spte & SPTE_U else 0) | (0 if spte & SPTE_NX else ACC_X)


def guest_leaf(entry, level, narrow, address):
    """The gfn of an address in the page that an entry maps."""
    if narrow and level == 2:
        return (entry >> 22 & 0x3ff) << 10 | (entry >> 13 & 0xff) << 20 | address >> PAGE_SHIFT & 0x3ff
    below = (1 << 9 * (level - 1)) - 1
    return (entry & GPTE_ADDRESS) >> PAGE_SHIFT & ~below | address >> PAGE_SHIFT & below


def walk_guest(mmu, vcpu, address):
    """By the guest's own tables, as mm/walk.c does."""
    walk, mode = Walk(), enum_name(vcpu["mode"], "PAGING_")
    if mode == "off":
        walk.page = (address & 0xffffffff) >> PAGE_SHIFT
        return walk
    narrow = mode in ("32", "pse")
    size, level = (4, 2) if narrow else (8, 4 if mode == "long" else 2)
    bits, entry = (10 if narrow else 9), int(vcpu["paging"]["cr3"])
    if mode == "pae":
        entry = int(vcpu["paging"]["pdpte"][address >> 30 & 3])
        walk.add(5, f"PDPTE {address >> 30 & 3}: {gpte_text(entry)}", entry & GPTE_P, ACC_ALL)
        if not entry & GPTE_P:
            return walk.stop("its PDPTE is not present")
    while level:
        gfn = (entry & (GPTE_ADDRESS if size == 8 else 0xfffff000)) >> PAGE_SHIFT
        index = address >> PAGE_SHIFT + bits * (level - 1) & (1 << bits) - 1
        slot = slot_of(mmu, gfn)
        if not slot:
            return walk.stop(f"its table of level {level}, gfn {gfn:#x}, is no RAM")
        hfn = int(slot["hfn"]["v"]) + gfn - int(slot["gfn"]["v"])
        entry = words(host_address((hfn << PAGE_SHIFT) + index * size), 1, size)[0]
        walk.add(level, f"gfn {gfn:#x}[{index}]: {gpte_text(entry)}", entry & GPTE_P, guest_access(entry, bool(vcpu["nxe"])))
        if not entry & GPTE_P:
            return walk.stop(f"its entry of level {level} is not present")
        if entry & int(vcpu["reserved"]):
            return walk.stop(f"its entry of level {level} has a reserved bit set")
        if level == 1 or (level < 4 and entry & GPTE_PS and mode != "32"):
            walk.page, walk.leaf = guest_leaf(entry, level, narrow, address), entry
            return walk
        level -= 1
    return walk


def walk_shadow(vcpu, address):
    """By what the hardware walks."""
    walk, tables, long = Walk(), Tables(), enum_name(vcpu["mode"], "PAGING_") == "long"
    quarter = 0 if long else address >> 30 & 3
    root = vcpu["root"][quarter]
    if not long and int(vcpu["pae_root"]):
        spte = words(int(vcpu["pae_root"]) + 8 * quarter, 1)[0]
        walk.add(5, f"PDPTE {quarter}: {spte:#x}" + (" P" if spte & SPTE_P else " not present"), spte & SPTE_P, ACC_ALL)
    if not int(root):
        return walk.stop("has no root for it")
    shadow = load(root)
    while True:
        level = int(shadow["role"]["level"])
        index = address >> PAGE_SHIFT + 9 * (level - 1) & 511
        spte = words(int(shadow["table"]) + 8 * index, 1)[0]
        page = f"gfn {int(shadow['gfn']['v']):#x} {role_text(shadow['role'])}" + (" unsync" if shadow["unsync"] else "")
        walk.add(level, f"{page}[{index}]: {spte_text(spte)}", spte & SPTE_P, shadow_access(spte))
        hfn = (spte & SPTE_PFN_MASK) >> PAGE_SHIFT
        if not spte & SPTE_P:
            return walk.stop(f"has nothing at level {level}")
        if spte & SPTE_SIZE_MASK:
            walk.page, walk.leaf = hfn + (address >> PAGE_SHIFT & (1 << 9 * (level - 1)) - 1), spte
            return walk
        if level == 1:
            return walk.stop("BROKEN: its entry of level 1 is no leaf")
        shadow = tables.page(host_address(hfn << PAGE_SHIFT))
        if int(shadow["role"]["level"]) != level - 1:
            return walk.stop(f"BROKEN: level {level} links level {int(shadow['role']['level'])}")


def differs(guest, shadow):
    """Rights of the shadow beside the guest's, entries up to this level."""
    return " ".join([f"+{r}" for r, bit in (("W", ACC_W), ("U", ACC_U), ("X", ACC_X)) if shadow & ~guest & bit] +
                    [f"-{r}" for r, bit in (("W", ACC_W), ("U", ACC_U), ("X", ACC_X)) if guest & ~shadow & bit])


def side_by_side(guest, shadow):
    rows = [["level", "guest", "shadow", "rights differ"]]
    for level in sorted({*guest.steps, *shadow.steps}, reverse=True):
        g, s = guest.steps.get(level), shadow.steps.get(level)
        rows.append(["top" if level == 5 else level, g.text if g else "-", s.text if s else "-",
                     differs(g.access if g else guest.access, s.access) if s and s.present else ""])
    return table(rows)


class WalkCommand(Command):
    """An address by the guest's page tables and by the shadow's, side by side.

Usage: umbra walk NAME ADDRESS [VCPU]

Level by level: the table's frame and index, the entry decoded; in the shadow the role too. The last column: rights (W, U, X) that
the shadow's entries so far give (+) or lack (-) beside the guest's; the shadow narrows them in its leaf alone. Then where both
lead, and why the rights differ. VCPU is 0 at first. Nothing is changed, no A or D bit either."""
    word, usage, takes, optional = "walk", "NAME ADDRESS [VCPU]", [NAME, NUMBER, NUMBER], 1

    def lines(self, name, address, n=0):
        vm = vm_named(name)
        vcpu, mmu, address = whole(vcpu_numbered(vm, n)["mmu"]), vm["mmu"], address & WORD
        limits(vcpu, address)
        guest, shadow = walk_guest(mmu, vcpu, address), walk_shadow(vcpu, address)
        yield f"{address:#x}, paging {enum_name(vcpu['mode'], 'PAGING_')}, CR3 {int(vcpu['paging']['cr3']):#x}" + (
            "; the vCPU is to reload its root" if vcpu["root_stale"] else "")
        yield from side_by_side(guest, shadow)
        yield from self.where(mmu, guest, shadow)
        if guest.page is not None and shadow.page is not None:
            yield from self.rights(mmu, vcpu, guest, shadow)

    @staticmethod
    def where(mmu, guest, shadow):
        slot = None if guest.page is None else slot_of(mmu, guest.page)
        hfn = int(slot["hfn"]["v"]) + guest.page - int(slot["gfn"]["v"]) if slot else None
        if guest.page is None:
            yield f"the guest: a fault of its own, {guest.end}"
        else:
            yield f"the guest: gfn {guest.page:#x}, " + (f"hfn {hfn:#x}" if slot else "no RAM")
        if shadow.page is None:
            yield f"the shadow: {shadow.end}; an access faults, and the hypervisor looks at the guest's tables"
        elif guest.page is None:
            yield f"the shadow: hfn {shadow.page:#x}, until the guest flushes its TLB"
        else:
            yield f"the shadow: hfn {shadow.page:#x}" + ("" if hfn == shadow.page else ", ANOTHER PAGE")

    @staticmethod
    def rights(mmu, vcpu, guest, shadow):
        why = ""
        slot = slot_of(mmu, guest.page)
        if guest.access & ~shadow.access & ACC_W and slot:
            if shadow.leaf & SPTE_MMU_WRITABLE:
                why = ": the dirty log waits for the next write"
            elif atomic(load(slot["tables"][0] + (guest.page - int(slot["gfn"]["v"])))):
                why = ": the page is a page table that is shadowed"
            elif guest.steps and not guest.leaf & GPTE_D:
                why = ": the guest's D bit is clear, the next write sets it"
        if shadow.access & ~guest.access:
            why += ": CR0.WP is 0" if not int(vcpu["paging"]["cr0"]) & CR0_WP else ": MORE THAN THE GUEST GIVES"
        yield f"rights: guest {rights(guest.access)}, shadow {rights(shadow.access)}{why}"


COMMANDS = [WalkCommand]
