# SPDX-License-Identifier: MIT
"""Between gdb and Bochs's COM2. Bochs sends a packet byte by byte, and its TCP holds the second until the first is acknowledged, which
the other side's puts off for 40 ms: gdb's does, this one's does not."""
import select
import socket
import threading

from terminal import connect_in_time, free_port

CHUNK = 4096


class Relay:
    """Listens on a port for gdb; Bochs is to listen on self.inner, and is connected to when gdb comes. When gdb has gone, another
    may come. A thread, which ends with Bochs or with this process."""

    def __init__(self, port):
        self.listener, self.inner = socket.create_server(("localhost", port)), free_port()
        threading.Thread(target=self.run, daemon=True).start()

    def accept(self):
        gdb = self.listener.accept()[0]
        gdb.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return gdb

    def run(self):
        gdb = None
        try:
            gdb = self.accept()
            line = connect_in_time(self.inner)
            while True:
                ready = select.select([line, gdb or self.listener], [], [])[0]
                if line in ready:
                    data = line.recv(CHUNK)
                    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                    if not data:
                        break
                    gdb = self.pass_on(gdb, data)
                if not gdb:
                    gdb = self.accept() if self.listener in ready else None
                elif gdb in ready:
                    data = self.take(gdb)
                    if data:
                        line.sendall(data)
                    else:
                        gdb.close()
                        gdb = None
        except OSError:
            pass  # Bochs has ended
        self.listener.close()
        if gdb:
            gdb.close()

    @staticmethod
    def take(gdb):
        try:
            return gdb.recv(CHUNK)
        except OSError:
            return b""

    @staticmethod
    def pass_on(gdb, data):
        """gdb, if it is still there."""
        try:
            if gdb:
                gdb.sendall(data)
            return gdb
        except OSError:
            return None
