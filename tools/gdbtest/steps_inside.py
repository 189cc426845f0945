# SPDX-License-Identifier: MIT
"""Sourced by gdb for tools/try-gdb steps: `trace-steps COUNT FILE` has gdb step COUNT instructions and writes FILE, a line for the state
before each: the general registers as instructions number them, RIP, RFLAGS, hexadecimal.

The steps are those of a software watchpoint, for which gdb steps through every instruction and looks at an expression after each. It
goes on sooner than after a `stepi`, which ends with a look at all threads."""
import gdb

REGISTERS = [f"${name}" for name in "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15 rip eflags".split()]


class Look(gdb.Function):
    """The expression: changes when there have been enough. After `continue` gdb looks at it after each step."""

    def __init__(self):
        super().__init__("look")
        self.seen, self.wanted = [], 0

    def note(self):
        self.seen.append([int(gdb.parse_and_eval(name)) for name in REGISTERS])

    def invoke(self):
        if self.wanted:
            self.note()
        return len(self.seen) > self.wanted


class Trace(gdb.Command):
    def __init__(self):
        super().__init__("trace-steps", gdb.COMMAND_USER)

    def invoke(self, argument, from_tty):
        count, path = argument.split()
        look.seen, look.wanted = [], 0
        gdb.execute("watch $look()", to_string=True)
        look.note()
        look.wanted = int(count)
        gdb.execute("continue", to_string=True)
        gdb.execute("delete")
        with open(path, "w", encoding="ascii") as file:
            for state in look.seen[:-1]:
                file.write(" ".join(f"{value & 0xffffffffffffffff:x}" for value in state) + "\n")
        print(f"{len(look.seen) - 1} steps")


look = Look()
Trace()
