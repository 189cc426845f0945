# SPDX-License-Identifier: MIT
"""The machine's COM1 as a stream in both directions, and who types to it: a terminal, or a pipe."""
import os
import select
import socket
import stat
import sys
import termios
import time
import tty

CHUNK = 4096
CONNECT_SECONDS = 30
CONNECT_AGAIN = 0.05
END_KEY = b"\x1d"  # Ctrl-]


def source():
    """What standard input is: "terminal" if somebody sits there and sees the output, "pipe", or None if nothing is to be typed."""
    try:
        mode = os.fstat(0).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            return "pipe"
        in_front = os.isatty(0) and os.isatty(1) and os.tcgetpgrp(0) == os.getpgrp()
        return "terminal" if in_front else None
    except OSError:
        return None


def free_port():
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


def connect(port):
    """Who listens on a port of this machine, or None if nobody does."""
    try:
        made = socket.create_connection(("localhost", port))
    except OSError:
        return None
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def connect_in_time(port):
    """Who listens on a port of this machine, now or soon; else OSError."""
    end = time.monotonic() + CONNECT_SECONDS
    while time.monotonic() < end:
        made = connect(port)
        if made:
            return made
        time.sleep(CONNECT_AGAIN)
    raise TimeoutError(f"nobody listens on port {port}")


class Line:
    """COM1, by a TCP port that the emulator is to listen on. Input is held back until start() says that somebody reads it."""

    def __init__(self, kind):
        self.kind, self.port, self.socket, self.typed, self.saved = kind, free_port(), None, b"", None
        self.started = self.open = self.ended = False

    def start(self):
        self.started = self.open = True
        if self.kind == "terminal":
            self.saved = termios.tcgetattr(0)
            tty.setraw(0)
            mode = termios.tcgetattr(0)
            mode[1] |= termios.OPOST | termios.ONLCR  # our own messages
            termios.tcsetattr(0, termios.TCSANOW, mode)
            print("tools/run: you type to the machine's COM1: Ctrl-a ? shows Umbra's keys, Ctrl-] ends all", file=sys.stderr,
                  flush=True)

    def close(self):
        if self.saved:
            termios.tcsetattr(0, termios.TCSADRAIN, self.saved)
            self.saved = None
        if self.socket:
            self.socket.close()

    def connected(self):
        if not self.socket:
            self.socket = connect(self.port)
            if self.socket:
                self.socket.setblocking(False)
        return self.socket is not None

    def read(self):
        """All that has come from the machine."""
        data = b""
        if not self.connected():
            return data
        try:
            while not self.ended:
                more = self.socket.recv(CHUNK)
                self.ended = not more
                data += more
        except BlockingIOError:
            pass
        except OSError:
            self.ended = True
        return data

    def take_typed(self):
        self.typed = os.read(0, CHUNK)
        if not self.typed:
            self.open = False
        if self.kind == "terminal" and END_KEY in self.typed:
            raise KeyboardInterrupt

    def give_typed(self):
        try:
            self.typed = self.typed[self.socket.send(self.typed):]
        except BlockingIOError:
            pass
        except OSError:
            self.ended = True

    def wait(self, seconds):
        """Until something has come, for `seconds` at most; passes on what is typed."""
        if self.ended or not self.socket:
            time.sleep(seconds)
            return
        reading = [self.socket] + ([0] if self.open and not self.typed else [])
        readable, writable, _ = select.select(reading, [self.socket] if self.typed else [], [], seconds)
        if 0 in readable:
            self.take_typed()
        elif writable:
            self.give_typed()
