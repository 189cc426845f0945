# SPDX-License-Identifier: MIT
"""The dirty log, the log ring, slabs and RCU: `umbra log`, `umbra ring`, `umbra slabs`, `umbra rcu`."""
import gdb

from umbra_bits import PAGE_SHIFT
from umbra_guests import vm_named
from umbra_memory import (Command, MOST, NAME, NUMBER, atomic, elements, enum_name, enumerator, symbol, table, target, text,
                          whole, words)

MAP_COLUMNS = 64
MAP_SHADES = " .:-=+*#@"
MAP_WORDS = 1 << 13  # of a bitmap are looked at: 64 pages each
RING_LINES = 20
MOST_CACHES = 64


def density(bits, pages):
    """A character for each part of the slot: how many of its pages are dirty."""
    columns = min(MAP_COLUMNS, len(bits))
    line = ""
    for i in range(columns):
        first, end = i * len(bits) // columns, (i + 1) * len(bits) // columns
        room = max(min(end * 64, pages) - first * 64, 1)
        n = min(sum(bin(word).count("1") for word in bits[first:end]), room)
        line += MAP_SHADES[-(-n * (len(MAP_SHADES) - 1) // room)]
    return line


class Log(Command):
    """The dirty log of a guest.

Usage: umbra log NAME

How it is kept, harvest rounds so far and what they found; then for each slot how many pages are dirty now, that is since the last
harvest took their bits, and a map of these: " " none, "." few, "@" all."""
    word, usage, takes = "log", "NAME", [NAME]

    def lines(self, name):
        vm = vm_named(name)
        mmu, stats = vm["mmu"], whole(vm["mmu"]["stats"])
        on, turn = atomic(mmu["logging"]), atomic(mmu["harvesting"])
        yield (f"log {enum_name(vm['config']['log'], 'CONFIG_LOG_')}, {'on' if on else 'off'}"
               f" ({on} users), rounds go by {'D bits' if atomic(mmu['by_dbit']) else 'write protection'}"
               f"{', a harvest is under way' if turn else ''}")
        yield ", ".join(f"{label} {atomic(stats[field])}" for label, field in (
            ("rounds", "rounds"), ("by D bits", "dbit_rounds"), ("pages dirty", "dirty"), ("protected", "protected"),
            ("D cleared", "cleared"), ("walker retries", "restarts"), ("walks given up", "gaveup")))
        for i in range(min(atomic(mmu["slots"]), elements(mmu["slot"]))):
            yield from self.slot(whole(mmu["slot"][i]))

    @staticmethod
    def slot(slot):
        pages, n = int(slot["pages"]), int(slot["words"])
        seen = min(n, MAP_WORDS)
        bits = words(int(slot["bits"][enumerator("enum slot_bitmap", "SLOT_DIRTY")]), seen)
        dirty = sum(bin(word).count("1") for word in bits)
        first = int(slot["gfn"]["v"])
        yield (f"slot {first:#x}-{first + pages - 1:#x}: {dirty} of {min(seen * 64, pages)} pages dirty" +
               ("" if seen == n else f" (the first of {pages}; the rest is not shown)"))
        yield f"  [{density(bits, min(pages, seen * 64))}]"


class Ring(Command):
    """The last lines of the hypervisor's log ring.

Usage: umbra ring [LINES]

What was printed on the console, or waits to be (hv/log.c); LINES is 20 at first."""
    word, usage, takes, optional = "ring", "[LINES]", [NUMBER], 1

    def lines(self, count=RING_LINES):
        ring, count = symbol("log_ring"), self.count(count)
        slots, head, tail = elements(ring["slot"]), atomic(ring["head"]), atomic(ring["tail"])
        yield from joined(self.newest(ring["slot"], slots, head, count))[-count:]
        yield f"{head} pieces written, {head - tail} of them to be printed, {atomic(ring['lost'])} lost"

    @staticmethod
    def newest(array, slots, head, count):
        """The pieces of `count` lines or more, if there are so many: text, whether it ends a line, whether it is raw."""
        pieces, ends = [], 0
        for position in range(head - 1, max(0, head - min(slots, MOST)) - 1, -1):
            slot = whole(array[position % slots])
            ends += bool(slot["ends_line"])
            if ends > count:
                break
            pieces.append(piece(slot, atomic(slot["sequence"]) + position % slots in (position + 1, position + slots)))
        return pieces[::-1]


def piece(slot, complete):
    size = min(int(slot["bytes"]), elements(slot["text"]))
    data = "".join(chr(int(slot["text"][i]) & 0xff) for i in range(size))
    return (data, bool(slot["ends_line"]), bool(slot["raw"])) if complete else ("(being written)", True, False)


def joined(pieces):
    """Lines of pieces. Raw ones come with their own line ends; a line begins on a row of its own."""
    all_text, was_raw = "", False
    for data, ends, raw in pieces:
        if was_raw and not raw and not all_text.endswith("\n"):
            all_text += "\n"
        all_text += data + ("\n" if ends else "")
        was_raw = raw
    lines = all_text.split("\n")
    return ["".join(c if " " <= c <= "~" else "." for c in line.rstrip("\r")) for line in (lines if lines[-1] else lines[:-1])]


class Slabs(Command):
    """The slab caches.

Usage: umbra slabs

Per cache: bytes of an object, objects out, objects there are in its blocks, blocks and those that wait for a grace period,
allocations and how many of them were of an object that another had before; and the CPUs that have a part of it."""
    word = "slabs"

    def lines(self):
        here = symbol("slab_registry", "mm/slab.c")["first"]
        rows = [["cache", "object", "out", "of", "blocks", "waiting", "allocations", "reused", "cpus"]]
        while int(here) and len(rows) <= MOST_CACHES:
            cache = target(here)
            rows.append(self.row(cache))
            here = cache["next"]
        yield from table(rows)
        yield (f"mode {enum_name(symbol('slab_mode'), 'SLAB_')}, "
               f"{atomic(symbol('slab_waiting_bytes', 'mm/slab.c')) >> PAGE_SHIFT} pages wait for a grace period" +
               ("; more caches than are shown" if int(here) else ""))

    @staticmethod
    def row(cache):
        parts = words(int(cache["cpu"].address), cpus_online())
        cpus = [target(gdb.Value(a).cast(gdb.lookup_type("struct slab_cpu").pointer())) for a in parts if a]
        allocs, frees, reused = (sum(atomic(c[field]) for c in cpus) for field in ("allocs", "frees", "reused"))
        blocks = atomic(cache["blocks"])
        return [text(cache["name"], 40), int(cache["object_bytes"]), allocs - frees - atomic(cache["frees"]),
                blocks * int(cache["objects"]), blocks, atomic(cache["waiting_blocks"]), allocs, reused, len(cpus)]


def cpus_online():
    return min(int(symbol("cpus_online", "hv/cpu.c")), elements(symbol("rcu_cpus")))


class Rcu(Command):
    """RCU: the epoch, and each CPU's sections.

Usage: umbra rcu

Per CPU and kind (publish: who makes sptes writable; walk: the dirty log's reader): "-" outside sections, else the epoch at the
section's entry, how far that is behind, and how deep sections nest."""
    word = "rcu"

    def lines(self):
        epoch, cpus = atomic(symbol("rcu_epoch")), symbol("rcu_cpus")
        kinds = [field.name[4:].lower() for field in gdb.lookup_type("enum rcu_kind").fields()][:-1]
        rows = [["cpu", *kinds]]
        for i in range(cpus_online()):
            cpu = whole(cpus[i])
            rows.append([i, *(self.section(atomic(cpu["word"][k]), int(cpu["nest"][k]), epoch) for k in range(len(kinds)))])
        yield f"epoch {epoch}"
        yield from table(rows)

    @staticmethod
    def section(word, nest, epoch):
        return f"epoch {word}, {epoch - word} behind, nested {nest}" if word else "-"


COMMANDS = [Log, Ring, Slabs, Rcu]
