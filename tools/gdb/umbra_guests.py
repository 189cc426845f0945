# SPDX-License-Identifier: MIT
"""Guests and their vCPUs: `umbra guests`, `umbra vcpus`."""
import gdb

from umbra_bits import CR0_PE, EFER_LMA, RFLAGS_VM, SEG_DB, SEG_L, VCPU_RIP
from umbra_memory import Command, NAME, atomic, elements, enum_name, enum_of, enumerator, symbol, table, target, text, whole

MOST_GUESTS = 64


def guests():
    """Each struct guest; those that have ended have no vm."""
    all_guests = whole(symbol("guests"))
    for i in range(min(int(all_guests["n"]), MOST_GUESTS)):
        yield target(all_guests["guest"] + i)


def vm_of(guest):
    return None if atomic(guest["ended"]) or not int(guest["vm"]) else target(guest["vm"])


def vms():
    return [vm for vm in map(vm_of, guests()) if vm]


def vm_named(name):
    """The vm of a guest that has not ended."""
    found = vms()
    for vm in found:
        if text(vm["config"]["name"]) == name:
            return vm
    known = ", ".join(text(vm["config"]["name"]) for vm in found)
    raise gdb.GdbError(f"there is no guest \"{name}\"" + (f"; there are: {known}" if known else ", nor any other"))


def vcpus_of(vm):
    pointers = whole(vm["vcpu"])
    return [target(pointers[i]) for i in range(min(int(vm["vcpus"]), elements(pointers)))]


def vcpu_numbered(vm, n):
    count = min(int(vm["vcpus"]), elements(vm["vcpu"]))
    if not 0 <= n < count:
        raise gdb.GdbError(f"guest {text(vm['config']['name'])} has no vCPU {n}: it has {count}")
    return target(vm["vcpu"][n])


def exits_by_reason(vcpus):
    """{reason: how many}"""
    total = {}
    for exits in (whole(vcpu["exits"]) for vcpu in vcpus):
        for i in range(elements(exits)):
            n = atomic(exits[i])
            if n:
                reason = enum_of("enum exit_reason", i, "EXIT_")
                total[reason] = total.get(reason, 0) + n
    return total


def mode_of(vcpu):
    cr0, efer, attr = int(vcpu["cr0"]), int(vcpu["efer"]), int(vcpu["seg"][enumerator("enum seg", "CS")]["attr"])
    if efer & EFER_LMA:
        mode = "64-bit" if attr & SEG_L else "compatibility"
    elif not cr0 & CR0_PE:
        mode = "real"
    elif int(vcpu["rflags"]) & RFLAGS_VM:
        mode = "virtual-8086"
    else:
        mode = "32-bit" if attr & SEG_DB else "16-bit"
    return f"{mode}, paging {enum_name(vcpu['mmu']['mode'], 'PAGING_')}"


class Guests(Command):
    """The guests.

Usage: umbra guests

State, memory, vCPUs, VM exits, shadow page faults, shadow pages in use of the budget, how the dirty log is kept."""
    word = "guests"

    def lines(self):
        rows = [["guest", "state", "memory", "vcpus", "exits", "faults", "shadow pages", "log"]]
        for i, guest in enumerate(guests(), 1):
            vm = vm_of(guest)
            rows.append(self.row(vm) if vm else [f"(number {i})", "ended"] + ["-"] * 6)
        return table(rows) if len(rows) > 1 else ["no guests"]

    @staticmethod
    def row(vm):
        vcpus, mmu = vcpus_of(vm), vm["mmu"]
        return [text(vm["config"]["name"]), enum_of("enum vm_state", atomic(vm["state"]), "VM_"),
                f"{int(vm['config']['mem']) >> 20} MiB", len(vcpus), sum(exits_by_reason(vcpus).values()),
                sum(atomic(vcpu["mmu"]["stats"]["faults"]) for vcpu in vcpus),
                f"{int(mmu['used'])}/{int(mmu['budget'])}", enum_name(vm["config"]["log"], "CONFIG_LOG_")]


class Vcpus(Command):
    """The vCPUs of all guests, or of one.

Usage: umbra vcpus [NAME]

What each does, its mode, the CPU that it runs on, RIP, and its VM exits by reason. RIP with a question mark: the hardware holds a
newer one, for the CPU was not stopped in its run loop."""
    word, usage, takes, optional = "vcpus", "[NAME]", [NAME], 1

    def lines(self, name=None):
        rows = [["guest", "vcpu", "state", "mode", "cpu", "rip", "exits", "by reason"]]
        for vm in vms() if name is None else [vm_named(name)]:
            rows += [self.row(vm, vcpu) for vcpu in vcpus_of(vm)]
        return table(rows) if len(rows) > 1 else ["no guests"]

    @staticmethod
    def row(vm, vcpu):
        exits = sorted(exits_by_reason([vcpu]).items(), key=lambda item: -item[1])
        state = enum_name(vcpu["activity"], "VCPU_") + (", interpreted" if vcpu["interpret"] else "")
        rip = f"{int(vcpu['rip']):#x}" + ("?" if int(vcpu["stale"]) & VCPU_RIP else "")
        return [text(vm["config"]["name"]), int(vcpu["index"]), state, mode_of(vcpu), int(vcpu["cpu"]), rip,
                sum(n for _, n in exits), ", ".join(f"{n} {reason}" for reason, n in exits) or "-"]


COMMANDS = [Guests, Vcpus]
