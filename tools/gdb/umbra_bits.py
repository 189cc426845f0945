# SPDX-License-Identifier: MIT
"""The few constants of the hypervisor that its debug information does not hold, for they are macros: by the header each
follows. tools/host/test_gdb_bits.py has the compiler compare them."""
MACROS = {
    "mm/addr.h": {"PAGE_SHIFT": 12},
    "mm/spte.h": {
        "SPTE_P": 1 << 0,
        "SPTE_W": 1 << 1,
        "SPTE_U": 1 << 2,
        "SPTE_A": 1 << 5,
        "SPTE_D": 1 << 6,
        "SPTE_PS": 1 << 7,
        "SPTE_SIZE_MASK": 3 << 9,
        "SPTE_MMU_WRITABLE": 1 << 11,
        "SPTE_NX": 1 << 63,
        "SPTE_PFN_MASK": 0x000ffffffffff000,
    },
    "mm/gpte.h": {
        "GPTE_P": 1 << 0,
        "GPTE_W": 1 << 1,
        "GPTE_U": 1 << 2,
        "GPTE_A": 1 << 5,
        "GPTE_D": 1 << 6,
        "GPTE_PS": 1 << 7,
        "GPTE_NX": 1 << 63,
        "GPTE_ADDRESS": 0x000ffffffffff000,
        "ACC_W": 1,
        "ACC_U": 2,
        "ACC_X": 4,
        "ACC_ALL": 7,
    },
    "mm/chain.h": {"CHAIN_MANY": 1, "CHAIN_FREE": 2},
    "mm/mmu.h": {"CR0_PE": 1 << 0, "CR0_WP": 1 << 16, "EFER_LMA": 1 << 10},
    "guest/vcpu.h": {"RFLAGS_VM": 1 << 17, "SEG_L": 1 << 13, "SEG_DB": 1 << 14, "VCPU_RIP": 1 << 0},
    "guest/gdb.h": {"GDB_HYPERVISOR": 1},
}

for _macros in MACROS.values():
    globals().update(_macros)

WORD = (1 << 64) - 1


def rights(access):
    """ACC_ bits as letters."""
    return "".join(letter if access & bit else "-" for letter, bit in
                   (("W", MACROS["mm/gpte.h"]["ACC_W"]), ("U", MACROS["mm/gpte.h"]["ACC_U"]),
                    ("X", MACROS["mm/gpte.h"]["ACC_X"])))


def names(value, header, prefix, which):
    """Those of the header's bits that are set."""
    return " ".join(bit for bit in which if value & MACROS[header][prefix + bit])


def spte_text(spte):
    """An spte decoded."""
    if not spte:
        return "0"
    size = ["link", "4K", "2M", "1G"][(spte & MACROS["mm/spte.h"]["SPTE_SIZE_MASK"]) >> 9]
    bits = names(spte, "mm/spte.h", "SPTE_", ["P", "W", "U", "A", "D", "PS", "NX", "MMU_WRITABLE"])
    return f"{spte:#x} {size} {bits}"


def gpte_text(gpte):
    """A guest's page-table entry decoded."""
    return f"{gpte:#x} " + (names(gpte, "mm/gpte.h", "GPTE_", ["P", "W", "U", "A", "D", "PS", "NX"]) or "not present")
