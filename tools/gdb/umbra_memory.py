# SPDX-License-Identifier: MIT
"""The hypervisor's memory and symbols, and what all commands have in common.

A serial line is slow. A small structure is read as a whole, by load(), which makes one packet of it; of a large one, a value that
target() gives, gdb reads the fields that are looked at, each by a packet of its own."""
import gdb

from umbra_bits import CHAIN_FREE, CHAIN_MANY, GDB_HYPERVISOR, WORD

# No list is followed further than this, whatever is asked for.
MOST = 4096
NAME, NUMBER = "NAME", "number"


class Hypervisor:
    """A context in which the hypervisor is the process that gdb reads from; then the thread and the frame that were selected
    are selected again."""

    def __enter__(self):
        self.thread, self.inferior, self.frame = gdb.selected_thread(), gdb.selected_inferior(), None
        found = [i for i in gdb.inferiors() if i.pid == GDB_HYPERVISOR and i.threads()]
        if not found:
            raise gdb.GdbError("gdb is not attached to Umbra's stub, or has detached from process 1, the hypervisor")
        self.switched = self.inferior.num != found[0].num
        if self.switched:
            try:
                self.frame = gdb.selected_frame()
            except gdb.error:
                pass
            found[0].threads()[0].switch()
        return self

    def __exit__(self, *what):
        if not self.switched:
            return
        if self.thread and self.thread.is_valid():
            self.thread.switch()
            if self.frame and self.frame.is_valid():
                self.frame.select()
        else:
            gdb.execute(f"inferior {self.inferior.num}", to_string=True)


def symbol(name, file=None):
    """The value of a global variable, or of a static one of `file`."""
    if file:
        found = [s for s in gdb.lookup_static_symbols(name) if s.symtab.filename.endswith(file)]
    else:
        found = [s for s in [gdb.lookup_global_symbol(name)] if s]
    if not found:
        raise gdb.GdbError(f"process 1 has no symbol {name}: give it the hypervisor's, by `file build/umbra.elf`")
    return found[0].value()


def target(pointer):
    """What a pointer points to, not read yet."""
    if not int(pointer):
        raise gdb.GdbError(f"a null pointer ({pointer.type}) where there is none in a sound state")
    return pointer.dereference()


def whole(value):
    """Read at once."""
    value.fetch_lazy()
    return value


def load(pointer):
    """What it points to, read at once."""
    return whole(target(pointer))


def at(address, type_name):
    """The object at an address, read at once."""
    return load(gdb.Value(address & WORD).cast(gdb.lookup_type(type_name).pointer()))


def words(address, n, size=8):
    """n integers from an address on."""
    data = gdb.selected_inferior().read_memory(address, n * size).tobytes()
    return [int.from_bytes(data[i:i + size], "little") for i in range(0, n * size, size)]


def atomic(value):
    return int(value["v"])


def elements(array):
    return array.type.range()[1] + 1


def text(value, most=-1):
    """A C string in an array, or, `most` bytes of it, behind a pointer."""
    return value.string("ascii", "replace", length=most).split("\0")[0]


def enum_name(value, prefix):
    """The name of an enumerator without what all begin with, in small letters; the number of a value that has none."""
    for field in value.type.strip_typedefs().fields():
        if field.enumval == int(value):
            return field.name[len(prefix):].lower().replace("_", " ")
    return f"{int(value)}?"


def enum_of(type_name, number, prefix):
    return enum_name(gdb.Value(number).cast(gdb.lookup_type(type_name)), prefix)


def enumerator(type_name, name):
    for field in gdb.lookup_type(type_name).fields():
        if field.name == name:
            return field.enumval
    raise gdb.GdbError(f"{type_name} has no {name}")


def host_address(frame_address):
    """Where host-physical memory is mapped."""
    return (int(symbol("host_direct_base").address) + frame_address) & WORD


def chain_entries(chain, most):
    """(descriptor's address or 0, slot, spte's address) of each entry of a chain, as its readers go: at most `most`; then, if
    there is something to say of the chain's end, a line."""
    head = atomic(chain["head"])
    if not head & CHAIN_MANY:
        yield from [(0, 0, head)] if head else []
        return
    left, here = most, head & ~CHAIN_MANY
    for _ in range(most):
        desc = at(here, "struct chain_desc")
        for i in range(elements(desc["slot"])):
            entry = atomic(desc["slot"][i])
            if not entry:
                continue
            if not left:
                yield f"more than {most}: the rest is not shown"
                return
            left -= 1
            yield here, i, entry
        here = atomic(desc["next"])
        if here & (CHAIN_MANY | CHAIN_FREE) or not here:
            mine = here == int(chain["head"].address) | CHAIN_MANY
            yield from [] if mine else [f"BROKEN: it ends with {here:#x}, which is not its own marker"]
            return
    yield f"more than {most} descriptors: the rest is not shown"


def table(rows):
    """Lines of left-aligned columns."""
    rows = [[str(cell) for cell in row] for row in rows]
    width = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width[i]) for i, cell in enumerate(row)).rstrip() for row in rows]


class Command(gdb.Command):
    """`umbra word`. takes: what each argument is, NAME or NUMBER; the last `optional` may be missing. lines() gets them and
    gives what is to be printed."""
    word, usage, takes, optional = "", "", [], 0

    def __init__(self):
        super().__init__("umbra " + self.word, gdb.COMMAND_DATA)

    def number(self, argument):
        """In the selected process."""
        try:
            value = gdb.parse_and_eval(argument)
            if value.type.code == gdb.TYPE_CODE_VOID:
                raise gdb.error("it has no value here")
            return int(value)
        except gdb.error as error:
            raise gdb.GdbError(f"umbra {self.word}: {argument}: {error}") from None

    def invoke(self, argument, from_tty):
        given = gdb.string_to_argv(argument)
        if not len(self.takes) - self.optional <= len(given) <= len(self.takes):
            raise gdb.GdbError(f"usage: umbra {self.word} {self.usage}".rstrip())
        given = [word if kind == NAME else self.number(word) for word, kind in zip(given, self.takes)]
        try:
            with Hypervisor():
                for line in self.lines(*given):
                    gdb.write(line + "\n")
        except (gdb.MemoryError, OverflowError, ValueError) as error:
            raise gdb.GdbError(f"umbra {self.word}: a pointer leads nowhere: {error}") from None
        except gdb.error as error:
            raise gdb.GdbError(f"umbra {self.word}: {error}") from None

    def lines(self, *given):
        raise NotImplementedError

    def count(self, n):
        """A number of things to show that the user gave."""
        if not 0 < n <= MOST:
            raise gdb.GdbError(f"umbra {self.word}: {n} is no number from 1 to {MOST}")
        return n
