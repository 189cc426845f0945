// SPDX-License-Identifier: MIT
/*
 * A kernel module that does in the guest's kernel what no kernel does. "NAME SEED COUNT" written to its parameter `run` has a
 * thread do COUNT steps of it; the write returns when they are done, or after three seconds, for a thread that the kernel
 * killed never is. What a thread takes is never given back.
 */
#include <linux/completion.h>
#include <linux/io.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <asm/apicdef.h>
#include <asm/desc.h>
#include <asm/msr.h>
#include <asm/nospec-branch.h>
#include <asm/special_insns.h>
#include "soup.h"

#define PATIENCE (3 * HZ)
#define IOAPIC_AT 0xfec00000ul
#define APIC_PAGE 0xfee00000ul
#define FRAME_BITS 0x000ffffffffff000ull
#define SLOT_SPAN (1ull << 39)
enum { NAME = 16, SOUP_PAGES = 2, SOUP_BYTES = 200, TABLES = 4, PTES = 512, PAGE_LEVELS = 4 };

struct job {
	struct completion done;
	uint64_t random;
	unsigned count;
	void (*run)(struct job *);
};

static uint32_t below(struct job *j, uint32_t n)
{
	return soup_below(&j->random, n);
}

/* ---- MSRs ---- */

static const struct {
	uint32_t first, n;
} msr_ranges[] = {
	{0, 0x2000}, {0x40000000, 0x200}, {0x4b564d00, 0x100}, {0xc0000000, 0x2000}, {0xc0010000, 0x2000},
};

/* Those that change how the processor runs. */
static const uint32_t msrs[] = {
	0x10, 0x1b, 0x3a, 0x3b, 0x48, 0x49, 0x8b, 0x11, 0x12, 0xfe, 0x122, 0x174, 0x175, 0x176, 0x179, 0x17a, 0x186, 0x1a0, 0x1d9,
	0x200, 0x201, 0x20f, 0x250, 0x26f, 0x277, 0x2ff, 0x400, 0x480, 0x48b, 0x6e0, 0x802, 0x808, 0x80b, 0x80d, 0x80f, 0x830,
	0x832, 0x838, 0x83e, 0x83f, 0xda0, 0x4b564d00, 0x4b564d01, 0x4b564d02, 0x4b564d03, 0x4b564d04, 0x4b564d05, 0xc0000080,
	0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103, 0xc0010015, 0xc001001f,
	0xc0010114, 0xc0010115, 0xc0010117, 0xc0010131, 0xc0011029,
};

static uint32_t any_msr(struct job *j)
{
	unsigned range = below(j, ARRAY_SIZE(msr_ranges));

	return below(j, 2) ? msrs[below(j, ARRAY_SIZE(msrs))] : msr_ranges[range].first + below(j, msr_ranges[range].n);
}

static void run_rdmsr(struct job *j)
{
	uint64_t value;

	for (unsigned range = 0; range < ARRAY_SIZE(msr_ranges); range++)
		for (uint32_t i = 0; i < msr_ranges[range].n; i++) {
			rdmsrl_safe(msr_ranges[range].first + i, &value);
			if (!(i & 255))
				cond_resched();
		}
}

static void run_wrmsr(struct job *j)
{
	while (j->count--) {
		uint32_t msr = any_msr(j);
		uint64_t value = 0;

		if (rdmsrl_safe(msr, &value) || below(j, 2))
			value = 0;
		wrmsrl_safe(msr, value ^ soup_value(&j->random));
	}
}

/* ---- control and debug registers ---- */

#define WRITE_REGISTER(name, value) \
	asm volatile("1:	mov	%0, %%" name "\n2:\n" _ASM_EXTABLE(1b, 2b) : : "r"(value) : "memory")

/* Bits that the processor refuses, or that do no harm for a moment: what was there is put back. */
static void run_cr(struct job *j)
{
	while (j->count--) {
		unsigned long flags, cr0, cr3, cr4, value = soup_value(&j->random);

		local_irq_save(flags);
		cr0 = read_cr0();
		cr3 = __read_cr3();
		cr4 = __read_cr4();
		switch (below(j, 8)) {
		case 0: WRITE_REGISTER("cr0", cr0 ^ value); break;
		case 1: WRITE_REGISTER("cr0", value); break;
		case 2: WRITE_REGISTER("cr4", cr4 ^ value); break;
		case 3: WRITE_REGISTER("cr4", cr4 ^ 1ul << below(j, 32)); break;
		case 4: WRITE_REGISTER("cr8", value); break;
		case 5: WRITE_REGISTER("cr3", cr3 ^ (value & 0xfff)); break;
		case 6: WRITE_REGISTER("cr0", cr0 ^ 1ul << below(j, 32)); break;
		default: WRITE_REGISTER("cr3", below(j, 50) ? cr3 | 1ul << (52 + below(j, 12)) : value);
		}
		WRITE_REGISTER("cr0", cr0);
		WRITE_REGISTER("cr4", cr4);
		WRITE_REGISTER("cr3", cr3);
		WRITE_REGISTER("cr8", 0ul);
		local_irq_restore(flags);
	}
}

static void run_dr(struct job *j)
{
	while (j->count--) {
		unsigned long value = below(j, 2) ? soup_value(&j->random) : (unsigned long)j + below(j, 64);

		switch (below(j, 6)) {
		case 0: WRITE_REGISTER("db0", value); break;
		case 1: WRITE_REGISTER("db1", value); break;
		case 2: WRITE_REGISTER("db2", value); break;
		case 3: WRITE_REGISTER("db3", value); break;
		case 4: WRITE_REGISTER("db6", value); break;
		default: WRITE_REGISTER("db7", below(j, 4) ? value & 0xffff03ff : value);
		}
	}
	WRITE_REGISTER("db7", 0ul);
}

/* ---- page tables ---- */

/* Tables of one's own, and the machine's root to hang them into. */
struct tables {
	uint64_t *table[TABLES];
	uint64_t *root;
	unsigned slot;
};

static uint64_t any_entry(struct job *j, const struct tables *t)
{
	uint64_t flags = below(j, 4) ? 3 | (soup_random(&j->random) & 0x8000000000000ffcull) : soup_value(&j->random) & ~FRAME_BITS;
	uint64_t mine = __pa(t->table[below(j, TABLES)]), ram = totalram_pages();

	switch (below(j, 12)) {
	case 0: return soup_random(&j->random);
	case 1: return soup_value(&j->random);
	case 2: return __pa(t->root) | flags;
	case 3: return APIC_PAGE | flags;
	case 4: return IOAPIC_AT | flags;
	case 5: return (soup_random(&j->random) & FRAME_BITS) | flags;
	case 6: return (t->root[below(j, PTES)] & FRAME_BITS) | (flags & ~0x80ull);
	case 7: return (uint64_t)below(j, (uint32_t)ram) << PAGE_SHIFT | (flags & ~2ull);
	default: return mine | (flags & ~0x80ull);
	}
}

/* An empty slot of the user's half. */
static bool hang(struct tables *t)
{
	t->root = __va(read_cr3_pa());
	for (t->slot = 1; t->slot < PTES / 2; t->slot++)
		if (!t->root[t->slot])
			break;
	for (unsigned i = 0; i < TABLES; i++)
		t->table[i] = (uint64_t *)get_zeroed_page(GFP_KERNEL);
	return t->slot < PTES / 2 && t->table[TABLES - 1];
}

static void access(unsigned long address, unsigned kind, unsigned long value)
{
	stac();
	if (kind == 0)
		asm volatile("1:	mov	%1, (%0)\n2:\n" _ASM_EXTABLE(1b, 2b) : : "r"(address), "r"(value) : "memory");
	else if (kind == 1)
		asm volatile("1:	lock xadd	%k1, (%0)\n2:\n" _ASM_EXTABLE(1b, 2b) : : "r"(address), "r"(value) : "memory");
	else
		asm volatile("1:	mov	(%0), %1\n2:\n" _ASM_EXTABLE(1b, 2b) : : "r"(address), "r"(value) : "memory");
	clac();
}

/* Garbage in tables that are in use, with and without INVLPG, and accesses through them; few of them write. */
static void run_tables(struct job *j)
{
	struct tables t;

	if (!hang(&t))
		return;
	while (j->count--) {
		unsigned long flags, address = (t.slot * SLOT_SPAN) + (soup_random(&j->random) & (SLOT_SPAN - 1));

		local_irq_save(flags);
		t.root = __va(read_cr3_pa());
		t.root[t.slot] = __pa(t.table[0]) | 0x67;
		for (unsigned n = below(j, 16); n; n--)
			t.table[below(j, TABLES)][below(j, PTES)] = any_entry(j, &t);
		for (unsigned level = 0; level < PAGE_LEVELS - 1; level++)
			t.table[level][address >> (30 - 9 * level) & (PTES - 1)] = any_entry(j, &t);
		if (below(j, 2))
			asm volatile("invlpg	(%0)" : : "r"(address) : "memory");
		access(address, below(j, 64) ? 2 : below(j, 2), soup_random(&j->random));
		access(address ^ 8ul * below(j, PTES), below(j, 8) ? 2 : 1, 0);
		t.root[t.slot] = 0;
		WRITE_REGISTER("cr3", __read_cr3());
		local_irq_restore(flags);
	}
}

/* The root in itself: tables changed through the very mapping that they make. */
static void run_recursive(struct job *j)
{
	struct tables t;

	if (!hang(&t))
		return;
	while (j->count--) {
		unsigned long flags, entry = soup_value(&j->random), base = t.slot * SLOT_SPAN;

		local_irq_save(flags);
		t.root = __va(read_cr3_pa());
		t.root[t.slot] = __pa(t.root) | 0x63;
		base |= (unsigned long)t.slot << 30 | (unsigned long)t.slot << 21 | (unsigned long)t.slot << 12;
		for (unsigned n = 0; n < 8; n++)
			access(base ^ (soup_random(&j->random) & ((1ul << (12 + 9 * below(j, 4))) - 8)), 2, 0);
		access(base + 8 * (t.slot + 1), 0, below(j, 2) ? __pa(t.table[0]) | 0x67 : entry);
		access((t.slot + 1) * SLOT_SPAN + below(j, 1 << 30), 2, 0);
		access(base + 8 * (t.slot + 1), 0, 0);
		t.root[t.slot] = 0;
		t.root[t.slot + 1] = 0;
		WRITE_REGISTER("cr3", __read_cr3());
		local_irq_restore(flags);
	}
}

static void run_invlpg(struct job *j)
{
	while (j->count--) {
		struct {
			uint64_t pcid, address;
		} what = {soup_value(&j->random), soup_value(&j->random)};
		unsigned long type = below(j, 5);

		if (below(j, 2))
			asm volatile("invlpg	(%0)" : : "r"(below(j, 2) ? what.address : (unsigned long)j) : "memory");
		else
			asm volatile("1:	invpcid	%0, %1\n2:\n" _ASM_EXTABLE(1b, 2b) : : "m"(what), "r"(type) : "memory");
	}
}

/* ---- descriptor tables ---- */

/* No LTR of a null selector: see spare_ltr. */
static void run_dt(struct job *j)
{
	struct desc_ptr saved, garbage;
	unsigned long flags;
	uint16_t selector;

	while (j->count--) {
		garbage.size = (unsigned short)soup_value(&j->random);
		garbage.address = below(j, 2) ? soup_value(&j->random) : (unsigned long)j;
		selector = (uint16_t)soup_value(&j->random);
		local_irq_save(flags);
		switch (below(j, 4)) {
		case 0:
			store_idt(&saved);
			asm volatile("1:	lidt	%0\n2:\n" _ASM_EXTABLE(1b, 2b) : : "m"(garbage));
			if (!below(j, 200))
				asm volatile("int	$0x21");
			load_idt(&saved);
			break;
		case 1:
			native_store_gdt(&saved);
			asm volatile("1:	lgdt	%0\n2:\n" _ASM_EXTABLE(1b, 2b) : : "m"(garbage));
			if (!below(j, 200))
				asm volatile("int	$0x21");
			load_gdt(&saved);
			break;
		case 2: asm volatile("1:	ltr	%0\n2:\n" _ASM_EXTABLE(1b, 2b) : : "r"((uint16_t)(selector | 8))); break;
		default: asm volatile("1:	lldt	%0\n2:\n" _ASM_EXTABLE(1b, 2b) : : "r"(selector));
		}
		local_irq_restore(flags);
	}
}

/* ---- devices ---- */

static void run_apic(struct job *j)
{
	uint8_t __iomem *apic = ioremap(APIC_PAGE, PAGE_SIZE), *ioapic = ioremap(IOAPIC_AT, PAGE_SIZE);

	while (apic && ioapic && j->count--) {
		uint32_t value = (uint32_t)soup_value(&j->random), at = below(j, 2) ? below(j, 0x40) * 16 : below(j, PAGE_SIZE - 3);

		switch (below(j, 4)) {
		case 0: writel(value, apic + at); break;
		case 1: readl(apic + at); break;
		case 2:
			writel(value, apic + APIC_ICR2);
			writel((uint32_t)soup_random(&j->random), apic + APIC_ICR);
			break;
		default:
			writel(below(j, 64), ioapic);
			writel(value, ioapic + (below(j, 2) ? 0x10 : at));
		}
	}
}

static void run_ports(struct job *j)
{
	while (j->count--) {
		uint16_t port = (uint16_t)(below(j, 2) ? soup_value(&j->random) : 0x5e0 + 4 * below(j, 8));
		uint32_t value = (uint32_t)soup_value(&j->random);

		switch (below(j, 4)) {
		case 0: outb(value, port); break;
		case 1: outw(value, port); break;
		case 2: outl(value, port); break;
		default: inl(port);
		}
	}
}

static void run_hypercall(struct job *j)
{
	while (j->count--) {
		unsigned long a = soup_value(&j->random) & (below(j, 2) ? 15 : ~0ul), c = soup_value(&j->random);

		if (below(j, 2))
			asm volatile("1:	vmcall\n2:\n" _ASM_EXTABLE(1b, 2b) : "+a"(a) : "b"(c), "c"(a), "d"(c), "S"(a) : "memory");
		else
			asm volatile("1:	vmmcall\n2:\n" _ASM_EXTABLE(1b, 2b) : "+a"(a) : "b"(c), "c"(a), "d"(c), "S"(a) : "memory");
		asm volatile("cpuid" : "+a"(a), "+c"(c) : : "ebx", "edx");
	}
}

static void run_halt(struct job *j)
{
	local_irq_disable();
	for (;;)
		asm volatile("hlt");
}

/* ---- any code ---- */

/* QEMU 7.2 takes LTR of a null selector, and aborts, the whole machine with it, at the next interrupt of user mode. Processors
 * refuse it. The other instructions of this opcode remain. */
static void spare_ltr(uint8_t *code)
{
	for (unsigned i = 0; i + 2 < SOUP_BYTES; i++)
		if (code[i] == 0x0f && !code[i + 1] && (code[i + 2] >> 3 & 7) == 3)
			code[i + 2] ^= 1 << 3;
}

static void run_soup(struct job *j)
{
	struct page *page[SOUP_PAGES];
	uint8_t *code;

	for (unsigned i = 0; i < SOUP_PAGES; i++) {
		page[i] = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!page[i])
			return;
	}
	code = vmap(page, SOUP_PAGES, VM_MAP, PAGE_KERNEL_EXEC);
	while (code && j->count--) {
		unsigned long a = soup_value(&j->random), c = soup_value(&j->random), d = soup_value(&j->random);
		unsigned long b = (unsigned long)code + below(j, PAGE_SIZE), si = b + 64, di = b + 128;

		soup_fill(code, SOUP_BYTES, &j->random, below(j, SOUP_FLAVOURS));
		spare_ltr(code);
		asm volatile("pushfq\n\tpush	%%rbp\n\t" ANNOTATE_RETPOLINE_SAFE "\n\tcall	*%6\n\tpop	%%rbp\n\tpopfq"
			     : "+a"(a), "+b"(b), "+c"(c), "+d"(d), "+S"(si), "+D"(di)
			     : "r"((unsigned long)code)
			     : "memory", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "cc");
	}
}

static const struct {
	const char *name;
	void (*run)(struct job *);
} kinds[] = {
	{"rdmsr", run_rdmsr}, {"wrmsr", run_wrmsr}, {"cr", run_cr}, {"dr", run_dr}, {"tables", run_tables},
	{"recursive", run_recursive}, {"invlpg", run_invlpg}, {"dt", run_dt}, {"apic", run_apic}, {"ports", run_ports},
	{"hypercall", run_hypercall}, {"halt", run_halt}, {"soup", run_soup},
};

static int thread(void *argument)
{
	struct job *j = argument;

	j->run(j);
	complete(&j->done);
	return 0;
}

static int run_set(const char *text, const struct kernel_param *parameter)
{
	struct job *j = kzalloc(sizeof *j, GFP_KERNEL);
	unsigned long long seed;
	char name[NAME];

	if (!j || sscanf(text, "%15s %llu %u", name, &seed, &j->count) != 3)
		return -EINVAL;
	init_completion(&j->done);
	j->random = soup_seeded(seed);
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(name, kinds[i].name)) {
			j->run = kinds[i].run;
			if (IS_ERR(kthread_run(thread, j, "hostile-%s", name)))
				return -ENOMEM;
			wait_for_completion_timeout(&j->done, PATIENCE);
			return 0;
		}
	return -EINVAL;
}

static const struct kernel_param_ops run_ops = {.set = run_set};
module_param_cb(run, &run_ops, NULL, 0200);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("does in a guest's kernel what no kernel does");
