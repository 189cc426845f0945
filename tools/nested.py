#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What this machine lacks for nested KVM, and how to turn it on. As a program: prints that; exit status 3 if it lacks
something."""
import fcntl
import os
import struct
import sys

# Linux, include/uapi/linux/kvm.h: the ioctl, and its struct of a count, padding and entries of ten words.
KVM_GET_SUPPORTED_CPUID = 0xC008AE05
ENTRIES, ENTRY_WORDS, ENTRY_ECX = 256, 10, 5
# Extension: CPUID leaf and bit of ECX that tell it, KVM's module.
EXTENSIONS = {"vmx": (0x1, 5, "kvm_intel"), "svm": (0x80000001, 2, "kvm_amd")}


def offered(device):
    """Which extensions KVM lets a guest have."""
    with open(device, "r+b", buffering=0) as kvm:
        answer = bytearray(struct.pack("II", ENTRIES, 0) + bytes(4 * ENTRY_WORDS * ENTRIES))
        fcntl.ioctl(kvm, KVM_GET_SUPPORTED_CPUID, answer)
    count = struct.unpack_from("I", answer)[0]
    entries = [struct.unpack_from(f"{ENTRY_WORDS}I", answer, 8 + 4 * ENTRY_WORDS * i) for i in range(count)]
    return [name for name, (leaf, bit, _) in EXTENSIONS.items()
            if any(entry[0] == leaf and entry[ENTRY_ECX] >> bit & 1 for entry in entries)]


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def trouble(root="", probe=offered):
    """Why guests cannot run VMX or SVM code under KVM here, and what helps; None when they can. The file system is taken
    to begin at root; probe tells what KVM offers (tests replace both)."""
    flags = set(next((line for line in read(f"{root}/proc/cpuinfo").splitlines() if line.startswith("flags")), "").split())
    name = next((name for name in EXTENSIONS if name in flags), None)
    module = EXTENSIONS[name][2] if name else None
    device = f"{root}/dev/kvm"
    if not os.path.exists(device):
        if not name:
            return ("there is no /dev/kvm, and /proc/cpuinfo shows neither vmx nor svm: enable virtualisation in the "
                    "firmware's setup, or, if this is a virtual machine, nested virtualisation on its host")
        return f"there is no /dev/kvm: load the module: sudo modprobe {module}"
    if not os.access(device, os.R_OK | os.W_OK):
        return "no permission to use /dev/kvm: sudo usermod -aG kvm $USER, then log in again"
    try:
        if probe(device):
            return None
    except OSError as error:
        return f"/dev/kvm does not answer: {error.strerror}"
    if not name:
        return ("KVM offers its guests neither vmx nor svm, and /proc/cpuinfo shows neither: if this is a virtual machine, "
                "enable nested virtualisation on its host")
    nested = read(f"{root}/sys/module/{module}/parameters/nested").strip()
    if nested in ("N", "0"):
        return (f"nested={nested}: KVM keeps {name} from its guests; with no virtual machine running: "
                f"sudo modprobe -r {module} && sudo modprobe {module} nested=1")
    return f"KVM keeps {name} from its guests, and {module} says nested={nested or 'nothing'}"


def main():
    why = trouble()
    print(why if why else "nested KVM works here")
    sys.exit(3 if why else 0)


if __name__ == "__main__":
    main()
