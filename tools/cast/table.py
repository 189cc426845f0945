# SPDX-License-Identifier: MIT
"""The cast: guests made of Debian's packages, how each is started, and the runs of make check-guests."""
from collections import namedtuple

# A guest: the package (a meta package's real one is looked up), its architecture, the file in it, Linux or a memory test.
Guest = namedtuple("Guest", "name package arch image kind mem")

GUESTS = {guest.name: guest for guest in [
    Guest("cloud-amd64", "linux-image-cloud-amd64", "amd64", "boot/vmlinuz-*", "linux", 256),
    Guest("amd64", "linux-image-amd64", "amd64", "boot/vmlinuz-*", "linux", 256),
    Guest("686-pae", "linux-image-686-pae", "i386", "boot/vmlinuz-*", "linux", 256),
    Guest("686", "linux-image-686", "i386", "boot/vmlinuz-*", "linux", 256),
    Guest("memtest64", "memtest86+", "amd64", "boot/memtest86+x64.bin", "memtest", 16),
    Guest("memtest32", "memtest86+", "amd64", "boot/memtest86+ia32.bin", "memtest", 16),
]}

LINUX = "console=ttyS0 quiet"
MEMTEST = "console=ttyS0,115200"
# What memtest86+ draws, in one piece, after its first pass over memory without an error; blanks count.
MEMTEST_PASSED = "Pass:  1        Errors: 0 "
# Seconds after which a run has failed. A pass of memtest86+ lasts minutes, most of them spent waiting for bits to fade.
LIMIT = {"linux": 600, "memtest": 900}
BOCHS_SLOWER = 6
FULL_SLOWER = 3  # the load

# One run under Umbra.
Run = namedtuple("Run", "guest on vcpus log pti load", defaults=("small",))


def command_line(guest, load="small", cpus=None, pti=None, more=""):
    """The guest's own command line."""
    if guest.kind == "memtest":
        return MEMTEST
    words = [LINUX, f"umbra.load={load}", pti and f"pti={pti}", cpus and f"umbra.cpus={cpus}", more]
    return " ".join(word for word in words if word)


def matrix():
    """Any two of log, vcpus and pti meet in every combination, for each kernel; the kernel without PAE has no pti. The longest
    runs come first, so that none is left alone at the end."""
    for name in ("cloud-amd64", "686-pae"):
        yield Run(name, "bochs", 1, "wp", "on", "light")
        yield Run(name, "bochs", 2, "dbit", "on", "light")
    yield Run("amd64", "qemu", 2, "wp", "on", "full")
    for name in ("memtest64", "memtest32"):
        yield Run(name, "qemu", 1, "wp", None, None)
        yield Run(name, "qemu", 2, "dbit", None, None)
    for name in ("cloud-amd64", "amd64", "686-pae"):
        yield Run(name, "qemu", 1, "wp", "on")
        yield Run(name, "qemu", 1, "dbit", "off")
        yield Run(name, "qemu", 2, "wp", "off")
        yield Run(name, "qemu", 2, "dbit", "on")
    for vcpus in (1, 2):
        for log in ("wp", "dbit"):
            yield Run("686", "qemu", vcpus, log, None)
