# SPDX-License-Identifier: MIT
"""A hostile Linux guest beside one that checks itself: what it is made of, and what may come of it.

Debian's cloud kernel, a program, and a kernel module that is built against Debian's headers of that very kernel.
"""
import collections
import os
import re
import shutil
import struct
import subprocess
import tempfile

from cast.fetch import HERE, Apt, Unavailable, make_program, older, read, say, write_initrd
from cast.table import GUESTS, command_line

KERNEL, ARCH = "cloud-amd64", "amd64"
BAD, GOOD = "bad", "good"
BAD_MEM, HYPERVISOR_MEM = 160, 256  # MiB
LIFE = 40  # seconds; a life that hangs ends then
LIVES = 100000
BAD_LINUX = "console=ttyS0 loglevel=1 panic=-1 nokaslr"
BOCHS_SLOWER = 6
BZIMAGE_VERSION = 0x20e  # where the 16-bit offset of the kernel's version is, counted from 0x200
VERDICT = re.compile(r"^VERDICT (\S+) (.*)$", re.M)
PRINTED = re.compile(rf"^{BAD}\| .*?hostile: (seed \d+|(?:user|kernel) .*)$", re.M)
# of the hypervisor, not of a guest, "name| text"
WRONG = re.compile(r"^(?!\w+\| ).*(?:violation|PANIC|umbra: panic).*$", re.M)


def kernel_release(image):
    start = 0x200 + struct.unpack_from("<H", image, BZIMAGE_VERSION)[0]
    return image[start:start + 80].split(b" ")[0].decode()


def headers(store, release):
    """The directory to build modules in."""
    root = f"{store}/headers-{release}"
    if not os.path.exists(root):
        apt = Apt(store)
        work = tempfile.mkdtemp(prefix="headers-", dir=store)
        common = re.sub(rf"-{KERNEL}$", "-common", release)
        kbuild = "linux-kbuild-" + re.match(r"\d+\.\d+", release)[0]
        for package in (f"linux-headers-{release}", f"linux-headers-{common}", kbuild):
            with apt.download(package, ARCH) as file:
                if subprocess.run(["dpkg-deb", "-x", file, work]).returncode:
                    raise Unavailable(f"{package} cannot be unpacked")
        # The only path in them that is the installed one.
        with open(f"{work}/usr/src/linux-headers-{release}/Makefile", "w") as makefile:
            makefile.write(f"include {root}/usr/src/linux-headers-{common}/Makefile\n")
        try:
            os.rename(work, root)
        except OSError:  # another run was faster
            shutil.rmtree(work)
    return f"{root}/usr/src/linux-headers-{release}"


def make_module(store, release):
    target = f"{store}/hostile-{release}.ko"
    sources = [f"{HERE}/hostile_module.c", f"{HERE}/soup.h"]
    if older(target, sources):
        place = headers(store, release)
        with tempfile.TemporaryDirectory(prefix="umbra-module-") as work:
            for source in sources:
                shutil.copy(source, work)
            os.rename(f"{work}/hostile_module.c", f"{work}/hostile.c")
            with open(f"{work}/Makefile", "w") as makefile:
                makefile.write("obj-m := hostile.o\n")
            done = subprocess.run(["make", "-C", place, f"M={work}", "MAKEFLAGS=", "modules"], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True)
            if done.returncode:
                raise Unavailable(f"the hostile module cannot be built:\n{done.stdout}")
            subprocess.run(["objcopy", "--strip-debug", f"{work}/hostile.ko", target], check=True)
    return target


def make_hostile(store):
    """The hostile guest's initrd; its kernel and busybox are there already."""
    target = f"{store}/{KERNEL}/hostile"
    module = make_module(store, kernel_release(read(f"{store}/{KERNEL}/vmlinuz")))
    program = make_program(store, ARCH, "hostile")
    if older(target, [module, program, f"{HERE}/hostile_init", __file__]):
        write_initrd(target, {"init": read(f"{HERE}/hostile_init"), "hostile.ko": read(module), "bin/hostile": read(program),
                              "bin/busybox": read(f"{store}/busybox-{ARCH}")})
        say(f"the hostile guest is in {target}")
    return target


def run_command(store, elf, initrd, args):
    """tools/run's arguments, and the seconds that it may take."""
    good = GUESTS[args.neighbour]
    slower = BOCHS_SLOWER if args.on == "bochs" else 1
    limit = args.seconds + 120 * slower
    seed = f" umbra.seed={args.seed}" if args.seed is not None else ""
    command = ["tools/run", "--on", args.on, "--elf", elf, "--cpus", "3", "--mem",
               str(good.mem + BAD_MEM + HYPERVISOR_MEM), "--timeout", str(limit),
               "--append", f"audit=continuous restart={BAD}:{LIVES}"]
    if args.on == "bochs":
        command += ["--model", "corei7_skylake_x"]
    linux = command_line(good, args.load, 1, more=f"umbra.seconds={args.seconds}")
    command += [f"{store}/{good.name}/vmlinuz name={GOOD} mem={good.mem}M cpus=1 initrd={store}/{good.name}/initrd -- {linux}",
                f"{store}/{KERNEL}/vmlinuz name={BAD} mem={BAD_MEM}M vcpus={args.vcpus} cpus=2 limit={LIFE * slower} initrd={initrd} -- "
                f"{BAD_LINUX}{seed}"]
    return command, limit


def reason(verdict):
    """A verdict without what differs each time."""
    return re.sub(r"0x[0-9a-f]+|\b[0-9a-f]{6,16}\b", "…", verdict)


def judge(output, status):
    """What is wrong, as lines; prints how the lives of the hostile guest went."""
    verdicts = VERDICT.findall(output)
    lives = [verdict for name, verdict in verdicts if name == BAD]
    wrong = WRONG.findall(output)
    if not any(name == GOOD and verdict.startswith("PASS") for name, verdict in verdicts):
        found = [verdict for name, verdict in verdicts if name == GOOD]
        wrong.append(f"the neighbour: {found[0] if found else f'no verdict, exit status {status}'}")
    if not re.search(rf"{GOOD}: audited [1-9]\d* times", output):
        wrong.append("the neighbour's tables were not audited")
    said = PRINTED.findall(output)
    if not any(line.startswith("kernel") for line in said):
        wrong.append("the hostile guest did not come to its kernel module")
    print(f"hostile: seeds {' '.join(line[5:] for line in said if line.startswith('seed'))}")
    print(f"hostile: {len(lives)} lives ended, after {len(said)} phases")
    for text, n in collections.Counter(map(reason, lives)).most_common():
        print(f"{n:6}  {text}")
    last = collections.Counter()
    for life in re.split(rf"^VERDICT {BAD} .*$", output, flags=re.M)[:-1]:
        found = PRINTED.findall(life)
        last[" ".join(found[-1].split()[:2]) if found else "before its first"] += 1
    print("hostile: ended in " + ", ".join(f"{name} {n}" for name, n in last.most_common()))
    return wrong
