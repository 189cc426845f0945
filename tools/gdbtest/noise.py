# SPDX-License-Identifier: MIT
"""tools/try-gdb noise: a minute of what no gdb sends, on the port of a machine that runs; then a gdb on the same line."""
import random
import time

from gdbtest.client import Gdb, Umbra, fail
from terminal import connect_in_time, free_port

NOISE_SECONDS = {"qemu": 60, "bochs": 20}
PIECE = 64
BATCH = 20
SILENT_SECONDS = {"qemu": 3, "bochs": 12}  # without an answer: the line has taken all
OVERSIZED = 4200  # GDB_PACKET is 4096
TICKS = {"qemu": 1200, "bochs": 350}  # that guest c lives for, twice: longer than the noise
COMMANDS = [b"qSupported:multiprocess+", b"?", b"g", b"vCont;s", b"vKill;2", b"D", b"m100000,40", b"X100000,4:abcd", b"Z0,100000,1",
            b"vAttach;2", b"qRcmd,6b696c6c2061"]


def framed(data, wrong=0):
    return b"$%b#%02x" % (data, (sum(data) + wrong) & 0xff)


def random_bytes(chance):
    return bytes(chance.choice(b"$#\x03+-}m0") if chance.random() < 0.3 else chance.randrange(256) for _ in range(PIECE))


def wrong_sum(chance):
    return framed(chance.choice(COMMANDS), wrong=chance.randrange(1, 256))


def half(chance):
    whole = framed(chance.choice(COMMANDS))
    return whole[:chance.randrange(1, len(whole) - 1)]


def oversized(chance):
    return framed(chance.choice(COMMANDS) + b"0" * OVERSIZED)


def unasked(chance):
    """Sound, but nobody has attached: of these, qSupported and vAttach alone would be heard."""
    return framed(chance.choice([b"?", b"g", b"vCont;c", b"vKill;2", b"m100000,40", b"qRcmd,6b696c6c2061"]))


KINDS = [random_bytes, random_bytes, wrong_sum, half, oversized, unasked]


def drain(line, silence):
    """What it says to the noise, to the end: sockets hold more of that than a serial line would."""
    line.settimeout(silence)
    try:
        while line.recv(4096):
            pass
    except TimeoutError:
        pass


def make_noise(line, umbra, seconds, silence):
    """Returns how much of which kind the line took."""
    chance, counts, end = random.Random(1), dict.fromkeys((kind.__name__ for kind in KINDS), 0), time.monotonic() + seconds
    while time.monotonic() < end:
        if umbra.process.poll() is not None:
            fail("it ended before the noise")
        for kind in chance.choices(KINDS, k=BATCH):
            line.sendall(kind(chance))
            counts[kind.__name__] += 1
        drain(line, silence)
    drain(line, 2 * silence)
    return counts


def attach(port):
    gdb = Gdb()
    try:
        gdb.do("set remotetimeout 100")
        gdb.do(f"target remote :{port}", "Remote debugging using")
        gdb.do("info threads", r"guest c, vCPU 0")
        gdb.do("monitor guests", r"^c +runs ")
        gdb.do("detach inferiors 2 3 4 1", "Inferior 1 .*detached")
        gdb.end()
    finally:
        gdb.process.kill()


def noise(args):
    port = free_port()
    umbra = Umbra(["tools/run", "--on", args.on, "--elf", f"{args.build}/umbra.elf", "--gdb", str(port), "--timeout", "400",
                   f"{args.build}/guest/ptstorm.elf name=a mem=64M log=wp -- rounds=30",
                   f"{args.build}/guest/insn.elf name=b mem=16M -- fpu=300 watch=off",
                   f"{args.build}/guest/tick.elf name=c mem=64M cpus=0 -- hz=20 ticks={TICKS[args.on]}"])
    try:
        line = connect_in_time(port)
        print(make_noise(line, umbra, NOISE_SECONDS[args.on], SILENT_SECONDS[args.on]))
        line.close()
        attach(port)
        umbra.end(0, r"gdb: listening on COM2", r"^VERDICT a PASS", r"^REPLICA a EQUAL", r"^VERDICT b PASS", r"^VERDICT c PASS")
    finally:
        umbra.close()
