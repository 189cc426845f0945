# SPDX-License-Identifier: MIT
"""Debian's gdb and a running Umbra, as tools/try-gdb's sessions use them."""
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

from terminal import free_port

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ANSWER_SECONDS = 100
END_SECONDS = 200
BREAK_IN_AFTER = 0.1
PROMPT = "(gdb) "
STEPS = 20


def fail(message):
    sys.exit(f"tools/try-gdb: {message}")


class Umbra:
    """tools/run in the background."""

    def __init__(self, command):
        self.output = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=self.output,
                                        stderr=subprocess.STDOUT)

    def text(self):
        self.output.seek(0)
        return self.output.read()

    def end(self, status, *patterns):
        try:
            found = self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            fail(f"no verdict:\n{self.text()}")
        text = self.text()
        print(text)
        if found != status:
            fail(f"tools/run's exit status is {found}, not {status}")
        for pattern in patterns:
            if not re.search(pattern, text, re.M):
                fail(f"the guests' console has no {pattern}")

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


class Gdb:
    """An interactive gdb on a pipe: a command, then all it prints up to the next prompt."""

    def __init__(self):
        self.process = subprocess.Popen(["gdb", "-nx", "-q", "-ex", "set confirm off", "-ex", "set pagination off",
                                         "-ex", "set width 0"], cwd=ROOT,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.answer()

    def answer(self, end=PROMPT):
        text, deadline = b"", time.monotonic() + ANSWER_SECONDS
        os.set_blocking(self.process.stdout.fileno(), False)
        while not text.endswith(end.encode()):
            more = self.process.stdout.read()
            if more:
                text += more
            elif more == b"" or time.monotonic() > deadline:
                fail(f"gdb does not answer: {text.decode(errors='replace')}")
            else:
                time.sleep(0.01)
        return text.decode(errors="replace")[:-len(end)]

    def send(self, command):
        print(PROMPT + command, flush=True)
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()

    def do(self, command, *patterns):
        """The answer, each of patterns found in it."""
        self.send(command)
        return self.expect(*patterns)

    def expect(self, *patterns):
        text = self.answer()
        print(text, end="", flush=True)
        for pattern in patterns:
            if not re.search(pattern, text, re.M):
                fail(f"gdb's answer has no {pattern}")
        return text

    def value(self, expression):
        return int(re.search(r"= (0x[0-9a-f]+)", self.do(f"print/x {expression}", r"= 0x"))[1], 16)

    def end(self):
        self.send("quit")
        self.process.wait(ANSWER_SECONDS)


@contextlib.contextmanager
def debugging(args, *guests, append="gdb=wait", timeout=None, model=None, cpus=None):
    """Umbra with these guests, gdb, which is not connected yet, and the TCP port for that; both are gone at the end. model: of
    Bochs."""
    port = free_port()
    command = ["tools/run", "--on", args.on, "--elf", f"{args.build}/umbra.elf", "--gdb", str(port)]
    if timeout:
        command += ["--timeout", str(timeout)]
    if model and args.on == "bochs":
        command += ["--model", model]
    if cpus:
        command += ["--cpus", str(cpus)]
    umbra = Umbra([*command, "--append", append, *guests])
    gdb = Gdb()
    try:
        gdb.do("set remotetimeout 100")
        yield umbra, gdb, port
    finally:
        gdb.process.kill()
        umbra.close()


def symbol(path, name):
    listed = subprocess.run(["nm", path], stdout=subprocess.PIPE, text=True, check=True).stdout
    return int(re.search(rf"^([0-9a-f]+) \w {name}$", listed, re.M)[1], 16)


def break_in(gdb, *patterns, after=BREAK_IN_AFTER):
    gdb.send("continue")
    gdb.answer("Continuing.\n")
    time.sleep(after)
    gdb.process.send_signal(signal.SIGINT)
    gdb.expect("SIGINT", *patterns)
