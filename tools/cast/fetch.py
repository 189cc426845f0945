# SPDX-License-Identifier: MIT
"""Gets Debian's packages and makes guests of them, in DIR/guests: NAME/vmlinuz and, for Linux, NAME/initrd.

apt keeps its lists there too, of both architectures: neither root nor a change of the machine's own is needed.
"""
import contextlib
import fnmatch
import glob
import gzip
import importlib.machinery
import importlib.util
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time

from cast.table import GUESTS

TOOLS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HERE = f"{TOOLS}/cast"
BUSYBOX = "busybox-static"
# Files of the archive, made of those here: where they go.
SCRIPTS = {"init": "init", "steps": "steps"}
LOAD_FLAGS = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-O2", "-ffreestanding", "-nostdlib", "-static",
              "-fno-pic", "-no-pie", "-mgeneral-regs-only", "-fno-stack-protector", "-fno-asynchronous-unwind-tables",
              "-fcf-protection=none", "-Wl,--build-id=none"]
BITS = {"amd64": "-m64", "i386": "-m32"}
MODE_PROGRAM, MODE_DIR, MODE_CHAR_DEVICE = 0o100755, 0o40755, 0o20600
CONSOLE = (5, 1)  # major and minor number of /dev/console
COMPRESSION = 6

APT_CONF = """\
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; "i386"; }};
APT::Sandbox::User "";
Acquire::Retries "3";
Acquire::Languages "none";
Dir::State "{dir}";
Dir::State::status "{dir}/status";
Dir::Cache "{dir}/cache";
"""


class Unavailable(Exception):
    """Something that the guests need is not to be had."""


def say(message):
    print(f"guests: {message}", flush=True)


class Apt:
    """apt with lists of its own."""

    def __init__(self, store):
        self.dir = f"{store}/apt"
        self.env = dict(os.environ, APT_CONFIG=f"{self.dir}/apt.conf", LC_ALL="C")
        self.fresh = False

    def run(self, *command, cwd=None):
        try:
            return subprocess.run(command, cwd=cwd, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        except FileNotFoundError:
            raise Unavailable(f"there is no {command[0]}: a Debian system is wanted")

    def update(self):
        """Where an index fails (a mirror that is just being updated), the packages of the others serve."""
        os.makedirs(f"{self.dir}/lists/partial", exist_ok=True)
        os.makedirs(f"{self.dir}/cache/archives/partial", exist_ok=True)
        open(f"{self.dir}/status", "a").close()
        with open(f"{self.dir}/apt.conf", "w") as conf:
            conf.write(APT_CONF.format(dir=self.dir))
        say("apt's lists, of amd64 and i386")
        done = self.run("apt-get", "-q", "update")
        wrong = re.findall(r"^[EW]: (.*)", done.stdout, re.M)
        if not glob.glob(f"{self.dir}/lists/*Packages*"):
            raise Unavailable("apt-get update got no list of packages:\n" + "\n".join(wrong))
        if done.returncode:
            say(f"not all of them ({wrong[0] if wrong else 'apt-get does not say why'}); those that came serve")
        self.fresh = True

    def real_package(self, package, arch):
        """The kernel's package that a meta package depends on; other packages are what they are."""
        if not package.startswith("linux-image-"):
            return package
        shown = self.run("apt-cache", "depends", f"{package}:{arch}").stdout
        found = re.search(r"Depends: (linux-image-[^\s:]+)", shown)
        return found and found[1]

    @contextlib.contextmanager
    def download(self, package, arch):
        """The package's file, for a while."""
        if not self.fresh:
            self.update()
        real = self.real_package(package, arch)
        if not real:
            raise Unavailable(f"apt knows no {package}:{arch}")
        say(f"download {real}:{arch}")
        with tempfile.TemporaryDirectory(prefix="umbra-deb-") as work:
            done = self.run("apt-get", "-q", "download", f"{real}:{arch}", cwd=work)
            files = glob.glob(f"{work}/*.deb")
            if done.returncode or not files:
                raise Unavailable(f"cannot download {real}:{arch}:\n{done.stdout}")
            yield files[0]

    def take(self, package, arch, pattern, target):
        """Puts the file of a package that matches the pattern at target."""
        with self.download(package, arch) as file:
            if not unpack(file, pattern, target):
                raise Unavailable(f"{package}:{arch} has no {pattern}")


def unpack(package, pattern, target):
    """Reads a package only as far as the file is in it: kernels come before their modules."""
    reader = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with reader, tarfile.open(fileobj=reader.stdout, mode="r|") as archive:
        for member in archive:
            if not (member.isfile() and fnmatch.fnmatch(member.name, f"./{pattern}")):
                continue
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(f"{target}.{os.getpid()}", "wb") as out:
                shutil.copyfileobj(archive.extractfile(member), out)
            os.rename(f"{target}.{os.getpid()}", target)
            reader.kill()
            return True
    return False


def bundle_entry():
    """tools/bundle writes cpio archives already."""
    loader = importlib.machinery.SourceFileLoader("bundle", f"{TOOLS}/bundle")
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("bundle", loader))
    loader.exec_module(module)
    return module.entry


def read(path):
    with open(path, "rb") as file:
        return file.read()


def benign_patterns():
    lines = read(f"{HERE}/benign").decode().splitlines()
    return "".join(f"{line}\n" for line in lines if line and not line.startswith("#")).encode()


def make_program(store, arch, name):
    """A program of one source here, without a C library."""
    source, target = f"{HERE}/{name}.c", f"{store}/{name}-{arch}"
    if older(target, [source, f"{HERE}/soup.h"]):
        done = subprocess.run(["gcc", BITS[arch], *LOAD_FLAGS, source, "-o", target])
        if done.returncode:
            raise Unavailable(f"gcc cannot compile {source}")
    return target


def older(target, sources):
    return not os.path.exists(target) or os.path.getmtime(target) <= max(map(os.path.getmtime, sources))


def write_initrd(target, files):
    """An archive of programs, by their names. No device nodes on this machine are needed."""
    entry = bundle_entry()
    parts = [entry(i, name, b"", MODE_DIR) for i, name in enumerate(["bin", "dev", "proc", "sys", "tmp"], 1)]
    parts.append(entry(50, "dev/console", b"", MODE_CHAR_DEVICE, CONSOLE))
    parts += [entry(i, name, data, MODE_PROGRAM) for i, (name, data) in enumerate(files.items(), 100)]
    parts.append(entry(0, "TRAILER!!!", b""))
    with gzip.open(f"{target}.{os.getpid()}", "wb", COMPRESSION) as out:
        out.write(b"".join(parts))
    os.rename(f"{target}.{os.getpid()}", target)


def make_initrd(store, arch, target):
    """Scripts, busybox and the load; made anew when one of them is newer."""
    sources = [f"{HERE}/{name}" for name in (*SCRIPTS, "benign", "load.c", "soup.h")] + [f"{HERE}/fetch.py"]
    if not older(target, sources):
        return
    files = {name: read(f"{HERE}/{source}") for name, source in SCRIPTS.items()}
    files |= {"benign": benign_patterns(), "bin/busybox": read(f"{store}/busybox-{arch}"),
              "bin/load": read(make_program(store, arch, "load"))}
    write_initrd(target, files)


def fetch(build, names):
    """Makes the named guests; what is there already stays."""
    store = f"{os.path.abspath(build)}/guests"
    os.makedirs(store, exist_ok=True)
    apt = Apt(store)

    def take(package, arch, pattern, target):
        if not os.path.exists(target):
            apt.take(package, arch, pattern, target)

    for name in names:
        guest, began = GUESTS[name], time.monotonic()
        take(guest.package, guest.arch, guest.image, f"{store}/{name}/vmlinuz")
        if guest.kind == "linux":
            take(BUSYBOX, guest.arch, "bin/busybox", f"{store}/busybox-{guest.arch}")
            make_initrd(store, guest.arch, f"{store}/{name}/initrd")
        if time.monotonic() - began > 1:
            say(f"{name} is in {store}/{name}")
    return store
