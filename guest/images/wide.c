/* SPDX-License-Identifier: MIT */
/* wide: page tables written by more than one entry at a time, at any byte, over a page boundary, and by instructions
 * that read and write: MOV, MOVUPS, XCHG, LOCK CMPXCHG8B and CMPXCHG16B (which also refuse), REP STOS, REP MOVS both
 * ways, FXSAVE.
 *
 *   ops=3000 seed=1      stores, and of the random numbers
 *
 * Two tables lie in a row, of level 1 in the first half of the operations, of level 2 in the second; a store goes
 * through the identity map or through a mapping by 4 KiB pages. Every entry leads to one of 16 pages or tables, whose
 * addresses differ in one byte, so that any mixture of old and new bytes is an entry too. Then the pages that the store
 * touched must show what the entries say, and the tables, A and D included, hold what a model of their bytes holds.
 */
#include "guest/images/lib.h"

#define WINDOW (1UL << 39)	   /* level 1: its pages; level 2: what its tables map */
#define WINDOW_UPPER (2UL << 39)
#define ALIAS (3UL << 39)	   /* the tables, by 4 KiB pages */
#define ENTRIES 512u
#define BYTES (2 * PAGE)
#define TARGETS 16u
#define CR4_OSFXSR (1UL << 9)
#define CPUID_CX16 (1u << 13)
#define FXSAVE_BYTES 512u
#define FXSAVE_XMM 160u
#define FXSAVE_XMM_END 416u
#define LONGEST 1024u /* bytes, by a string instruction */

static uint64_t table[2], target[2], pages; /* for each level: two tables; 16 targets; the 16 pages */
static uint8_t right[BYTES], fresh[BYTES];  /* the model; what a store brings */
static uint8_t image[FXSAVE_BYTES] __attribute__((aligned(16)));
static unsigned which; /* 0: level 1, 1: level 2 */
static bool has_cx16;

static uint64_t *root;

static uint64_t random_entry(void)
{
	return (target[which] + rand_below(TARGETS) * PAGE) | (chance(85) ? PTE_P : 0) | (chance(70) ? PTE_W : 0) |
		(chance(30) ? PTE_A : 0);
}

static uint64_t word_at(const uint8_t *from) { return *(const uint64_t *)from; }

/* ---- the stores: `bytes` bytes of `fresh` from offset `at` on to the same place behind `base` ---- */

static void store_mov(uint64_t base, unsigned at, unsigned bytes)
{
	(void)bytes;
	*(volatile uint64_t *)(base + at) = word_at(fresh + at);
}

static void store_xchg(uint64_t base, unsigned at, unsigned bytes)
{
	uint64_t value = word_at(fresh + at);

	(void)bytes;
	__asm__ volatile("xchg %0, (%1)" : "+r"(value) : "r"(base + at) : "memory");
	if (value != word_at(right + at))
		deviation("XCHG at %x found %lx, not %lx", at, value, word_at(right + at));
}

static void store_movups(uint64_t base, unsigned at, unsigned bytes)
{
	(void)bytes;
	__asm__ volatile("movups (%0), %%xmm3; movups %%xmm3, (%1)" : : "r"(fresh + at), "r"(base + at) : "memory");
}

static void store_cmpxchg8(uint64_t base, unsigned at, unsigned bytes)
{
	uint32_t low = (uint32_t)word_at(right + at), high = (uint32_t)(word_at(right + at) >> 32);
	uint64_t value = word_at(fresh + at);
	bool done;

	(void)bytes;
	__asm__ volatile("lock cmpxchg8b (%5)"
			 : "+a"(low), "+d"(high), "=@ccz"(done)
			 : "b"((uint32_t)value), "c"((uint32_t)(value >> 32)), "r"(base + at)
			 : "memory");
	if (!done)
		deviation("CMPXCHG8B at %x found %x%08x, not %lx", at, high, low, word_at(right + at));
}

static bool cmpxchg16(uint64_t at, uint64_t *low, uint64_t *high, const uint8_t *value)
{
	bool done;

	__asm__ volatile("lock cmpxchg16b (%5)"
			 : "+a"(*low), "+d"(*high), "=@ccz"(done)
			 : "b"(word_at(value)), "c"(word_at(value + 8)), "r"(at)
			 : "memory");
	return done;
}

/* Once with a wrong guess, which must bring what is there and change nothing. */
static void store_cmpxchg16(uint64_t base, unsigned at, unsigned bytes)
{
	uint64_t low = ~word_at(right + at), high = word_at(right + at + 8);

	(void)bytes;
	if (cmpxchg16(base + at, &low, &high, fresh + at) || low != word_at(right + at) ||
		high != word_at(right + at + 8))
		deviation("CMPXCHG16B at %x with a wrong guess: %lx %lx", at, high, low);
	if (!cmpxchg16(base + at, &low, &high, fresh + at))
		deviation("CMPXCHG16B at %x refuses %lx %lx", at, high, low);
}

static void store_stos(uint64_t base, unsigned at, unsigned bytes)
{
	uint64_t to = base + at, count = bytes / 8, value = word_at(fresh + at);

	for (unsigned i = 0; i < bytes; i += 8)
		*(uint64_t *)(fresh + at + i) = value;
	__asm__ volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(value) : "memory");
}

static void store_movs(uint64_t base, unsigned at, unsigned bytes)
{
	uint64_t to = base + at, from = (uint64_t)(fresh + at), count = bytes;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

static void store_movs_down(uint64_t base, unsigned at, unsigned bytes)
{
	uint64_t last = at + bytes - 8, to = base + last, from = (uint64_t)(fresh + last), count = bytes / 8;

	__asm__ volatile("std; rep movsq; cld" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

/* What FXSAVE stores beside the XMM registers is not to be foretold, and is put right at once. */
static void store_fxsave(uint64_t base, unsigned at, unsigned bytes)
{
	(void)bytes;
	__asm__ volatile("fxsave %0" : "=m"(image));
	memcpy(image + FXSAVE_XMM, fresh + at + FXSAVE_XMM, FXSAVE_XMM_END - FXSAVE_XMM);
	__asm__ volatile("fxrstor %0; fxsave (%1)" : : "m"(image), "r"(base + at) : "memory");
	memcpy((void *)(base + at), fresh + at, FXSAVE_XMM);
	memcpy((void *)(base + at + FXSAVE_XMM_END), fresh + at + FXSAVE_XMM_END, FXSAVE_BYTES - FXSAVE_XMM_END);
}

static const struct kind {
	void (*store)(uint64_t base, unsigned at, unsigned bytes);
	unsigned bytes; /* 0: a random number, a multiple of 8 */
	unsigned align; /* of the offset */
} kinds[] = {
	{store_mov, 8, 1}, {store_xchg, 8, 1}, {store_movups, 16, 1}, {store_cmpxchg8, 8, 1}, {store_cmpxchg16, 16, 16},
	{store_stos, 0, 8}, {store_movs, 0, 1}, {store_movs_down, 0, 8}, {store_fxsave, FXSAVE_BYTES, 16},
};
#define KINDS (sizeof(kinds) / sizeof(*kinds))

/* ---- after a store ---- */

static uint64_t entry_va(unsigned i)
{
	return which ? WINDOW_UPPER + i * PAGE_2M : WINDOW + i * PAGE;
}

static void check_entry(unsigned i)
{
	uint64_t *model = (uint64_t *)(right + i * 8), *real = (uint64_t *)(table[which] + i * 8), va = entry_va(i);
	volatile uint64_t *page = (volatile uint64_t *)(pages + (*model >> 12) % TARGETS * PAGE);
	bool write = chance(50), faults = !(*model & PTE_P) || (write && !(*model & PTE_W));
	uint32_t error = (write ? PF_W : 0) | (*model & PTE_P ? PF_P : 0);
	uint64_t value = rand64(), kept = *page, seen;
	struct fault fault;

	seen = access_try(&fault, write ? ACCESS_WRITE : ACCESS_READ, va, value);
	if (faults ? fault.vector != VECTOR_PF || fault.error != error || fault.cr2 != va : fault.vector != FAULT_NONE)
		deviation("%s by entry %u, %lx: %s %x", write ? "write" : "read", i, *model, vector_name(fault.vector),
			fault.error);
	else if ((!write && !faults && seen != kept) || *page != (write && !faults ? value : kept))
		deviation("%s by entry %u, %lx: the page holds %lx", write ? "write" : "read", i, *model, *page);
	if (faults && *model & PTE_P)
		*model |= *(volatile uint64_t *)real & PTE_A; /* a refused access may set it */
	if (!faults)
		*model |= PTE_A | (write && !which ? PTE_D : 0);
	if (*(volatile uint64_t *)real != *model)
		deviation("entry %u: %lx, not %lx", i, *(volatile uint64_t *)real, *model);
}

static void operation(void)
{
	const struct kind *k = &kinds[rand_below(KINDS)];
	unsigned bytes = k->bytes ? k->bytes : 8 + rand_below(LONGEST / 8) * 8, at, first, last;
	uint64_t base = chance(50) ? table[which] : ALIAS + which * BYTES;

	if (k->store == store_cmpxchg16 && !has_cx16)
		return;
	at = chance(40) ? (unsigned)PAGE - rand_below(bytes + 1) : rand_below(BYTES - bytes + 1);
	at &= ~(k->align - 1);
	if (at + bytes > BYTES)
		return;
	memcpy(fresh, right, BYTES);
	first = at / 8, last = (at + bytes - 1) / 8;
	for (unsigned i = first; i <= last; i++)
		*(uint64_t *)(fresh + i * 8) = random_entry();
	k->store(base, at, bytes);
	memcpy(right + at, fresh + at, bytes);
	if (which) {
		paging_load(root);
	} else {
		for (unsigned i = first; i <= last; i++)
			invlpg(entry_va(i));
	}
	check_entry(first);
	check_entry(last);
	check_entry(first + rand_below(last - first + 1));
	check_entry(rand_below(BYTES / 8));
}

static void check_all(void)
{
	uint32_t audit = abi_command(ABI_MMU_AUDIT);

	for (unsigned i = 0; i < BYTES / 8; i++)
		check_entry(i);
	if (audit && audit != ABI_REFUSED)
		deviation("the machine's audit finds %u violations", audit);
}

static void setup(void)
{
	const uint64_t full = PTE_P | PTE_W | PTE_A | PTE_D;

	cr4_write(cr4_read() | CR4_OSFXSR);
	has_cx16 = cpuid(1, 0).c & CPUID_CX16;
	root = paging_new();
	pages = target[0] = memory_take(TARGETS * PAGE, TARGETS * PAGE);
	target[1] = memory_take(TARGETS * PAGE, TARGETS * PAGE);
	for (unsigned i = 0; i < 2; i++)
		table[i] = memory_take(BYTES, BYTES);
	for (unsigned i = 0; i < TARGETS; i++)
		*(uint64_t *)(target[1] + i * PAGE) = (pages + i * PAGE) | full;
	for (unsigned i = 0; i < 2; i++) {
		*paging_entry(root, WINDOW + i * PAGE_2M, 2, true) = (table[0] + i * PAGE) | full;
		*paging_entry(root, WINDOW_UPPER + i * PAGE_1G, 3, true) = (table[1] + i * PAGE) | full;
		paging_map(root, ALIAS + i * BYTES, table[i], BYTES, 1, PTE_P | PTE_W);
	}
	paging_load(root);
}

void image_main(void)
{
	uint64_t ops = arg_number("ops", 3000);

	setup();
	if (!has_cx16)
		skip("this CPU has no CMPXCHG16B");
	print("wide: %lu stores\n", ops);
	for (which = 0; which < 2; which++) {
		memset(right, 0, BYTES);
		for (unsigned i = 0; i < BYTES / 8; i++)
			*(uint64_t *)(right + i * 8) = random_entry();
		memcpy((void *)table[which], right, BYTES);
		paging_load(root);
		for (uint64_t i = 0; i < ops / 2; i++) {
			disturb();
			operation();
		}
		check_all();
		report(!deviations(), "tables of level %u", which + 1);
	}
}
