# SPDX-License-Identifier: MIT
"""Shadow pages and rmap chains: `umbra shadow`, `umbra rmap`."""
import gdb

from umbra_bits import PAGE_SHIFT, WORD, rights, spte_text
from umbra_guests import vm_named
from umbra_memory import (Command, NAME, NUMBER, at, atomic, chain_entries, elements, enum_of, load, symbol, table, text, whole,
                          words)

SHOWN = 32
PAGE = 1 << PAGE_SHIFT


class Tables:
    """From an spte's address to the shadow page that it lies in: the side data of its slab's object."""

    def __init__(self):
        cache = symbol("shadow_cache")
        self.first, self.shift, self.side = (int(cache[field]) for field in ("first", "shift", "side"))
        self.side_bytes, self.block = int(cache["side_bytes"]), PAGE << int(cache["order"])
        self.table_bytes = gdb.lookup_type("struct table").sizeof

    def page(self, spte_address):
        """The struct shadow."""
        here = spte_address & ~(self.table_bytes - 1)
        base = here & ~(self.block - 1)
        index = (here - base - self.first) >> self.shift
        shadow = at(base + self.side + index * self.side_bytes, "struct shadow")
        if int(shadow["table"]) != here:
            raise gdb.GdbError(f"BROKEN: {spte_address:#x} lies in no shadow table")
        return shadow

    def place(self, spte_address):
        """Page and index, as text."""
        return f"{short(self.page(spte_address))}[{(spte_address & (PAGE - 1)) >> 3}]"


def short(shadow):
    role = shadow["role"]
    return f"level {int(role['level'])} gfn {int(shadow['gfn']['v']):#x}" + (" direct" if role["direct"] else "")


def role_text(role):
    """All but the level."""
    words_of = [enum_of("enum paging_mode", int(role["mode"]), "PAGING_"), rights(int(role["access"]))]
    words_of += [bit for bit in ("direct", "dirty", "nx", "wp", "smep", "smap") if role[bit]]
    if int(role["quadrant"]):
        words_of.append(f"quadrant {int(role['quadrant'])}")
    return " ".join(words_of)


def slot_of(mmu, gfn):
    """The slot that holds a gfn, or None."""
    for i in range(min(atomic(mmu["slots"]), elements(mmu["slot"]))):
        slot = whole(mmu["slot"][i])
        if 0 <= gfn - int(slot["gfn"]["v"]) < int(slot["pages"]):
            return slot
    return None


class Shadow(Command):
    """Shadow pages of a guest, the newest first.

Usage: umbra shadow NAME [COUNT]

Per page: the guest's frame, level and the rest of its role (paging mode, the parents' rights, "direct" if it shadows no table),
state, whether it is unsync, sptes that are not 0, pins, how many parents link it and the first of these. COUNT is 32 at first."""
    word, usage, takes, optional = "shadow", "NAME [COUNT]", [NAME, NUMBER], 1

    def lines(self, name, count=SHOWN):
        mmu, count = vm_named(name)["mmu"], self.count(count)
        tables, here, used = Tables(), mmu["all"], int(mmu["used"])
        rows = [["gfn", "level", "role", "state", "sync", "present", "pins", "parents"]]
        while int(here) and len(rows) <= count:
            shadow = load(here)
            rows.append(self.row(shadow, tables))
            here = shadow["next"]
        shown = len(rows) - 1
        yield from table(rows)
        wrong = shown > used or (shown < used and not int(here))
        yield f"{shown} of {used} shadow pages, budget {int(mmu['budget'])}" + (
            "; BROKEN: the list has another length" if wrong else " (all)" if shown == used else "")

    @staticmethod
    def row(shadow, tables):
        parents = f"{atomic(shadow['parents']['length'])}"
        for first in chain_entries(shadow["parents"], 1):
            if isinstance(first, tuple):
                parents += f": {tables.place(first[2])}"
            elif first.startswith("BROKEN"):
                parents += f" {first}"
        return [f"{int(shadow['gfn']['v']):#x}", int(shadow["role"]["level"]), role_text(shadow["role"]),
                enum_of("enum shadow_state", atomic(shadow["state"]), "SHADOW_"), "unsync" if shadow["unsync"] else "-",
                int(shadow["present"]), int(shadow["pins"]), parents]


class Rmap(Command):
    """The rmap chains of a guest's page.

Usage: umbra rmap NAME GFN [COUNT]

Every spte that maps the page, by a leaf of 4 KiB and then of 2 MiB: the descriptor and the slot in it ("head": the chain's head
word itself), the spte decoded, and the shadow page and index where it lies. At most COUNT of each chain, 64 at first."""
    word, usage, takes, optional = "rmap", "NAME GFN [COUNT]", [NAME, NUMBER, NUMBER], 1

    def lines(self, name, gfn, count=64):
        vm, count = vm_named(name), self.count(count)
        slot = slot_of(vm["mmu"], gfn)
        if not slot:
            raise gdb.GdbError(f"umbra rmap: gfn {gfn & WORD:#x} is no RAM of guest {text(vm['config']['name'])}")
        yield f"gfn {gfn:#x}: hfn {int(slot['hfn']['v']) + gfn - int(slot['gfn']['v']):#x}"
        for level in range(elements(slot["chain"])):
            shift = 9 * level
            unit = (gfn >> shift) - (int(slot["gfn"]["v"]) >> shift)
            tables = atomic(load(slot["tables"][level] + unit))
            yield from self.chain(load(slot["chain"][level] + unit), ["4 KiB", "2 MiB"][level], count,
                                  f"shadowed as a page table {tables} times" if level == 0 else
                                  f"page tables in it are shadowed {tables} times")

    @staticmethod
    def chain(chain, size, count, page_tables):
        yield f"{size} leaves: {atomic(chain['length'])} entries, head {atomic(chain['head']):#x}; {page_tables}"
        tables, rows, tail = Tables(), [], []
        for entry in chain_entries(chain, count):
            if not isinstance(entry, tuple):
                tail.append("  " + entry)
                continue
            desc, i, spte = entry
            rows.append([f"  {desc:#x}[{i}]" if desc else "  head", f"{spte:#x}:", spte_text(words(spte, 1)[0]),
                         tables.place(spte)])
        yield from table(rows) if rows else []
        yield from tail
        if not tail and len(rows) != atomic(chain["length"]):
            yield f"  BROKEN: {len(rows)} entries found"


COMMANDS = [Shadow, Rmap]
