/* SPDX-License-Identifier: MIT */
/* scale: how many more page faults two vCPUs get through than one, each on pages and page tables of its own.
 *
 *   pages=2048           that each vCPU writes in a round, 4 KiB each
 *   rounds=20            of each kind and number of vCPUs; the best counts
 *   least=0              per cent of one vCPU's rate that two must reach, for either kind of fault
 *
 * cold    all shadow pages were dropped before: each write needs a leaf, and the first ones the tables above it
 * fix-up  a harvest has protected the pages: each write is repaired and noted
 *
 * The vCPUs begin together, and a round lasts from the first one's begin to the last one's end. With a processor each the
 * goal is 200 %.
 *
 * Metrics: 1, 2 TSC ticks per cold fault with one vCPU, with two; 3, 4 the same per fix-up; 5, 6 rate of two in per cent of
 * one's, cold and fix-up.
 */
#include "guest/images/lib.h"

#define VCPUS 2
#define WINDOW(i) ((2UL + (i)) << 30)
#define HUNDRED 100

struct vcpu {
	volatile uint64_t begin, end;
} __attribute__((aligned(64)));

extern void smp_entry(void);
extern struct {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed)) smp_idt;

static struct vcpu vcpu[VCPUS];
static uint64_t pages;
static volatile uint32_t turn;    /* rounds begun; the vCPUs of it write when it changes */
static volatile uint32_t writers; /* vCPUs of this round */
static volatile uint32_t done;

static void write_all(unsigned me)
{
	vcpu[me].begin = rdtsc();
	for (uint64_t i = 0; i < pages; i++)
		*(volatile uint64_t *)(WINDOW(me) + i * PAGE) = i;
	vcpu[me].end = rdtsc();
	__atomic_fetch_add(&done, 1, __ATOMIC_SEQ_CST);
}

/* The second vCPU's: spins between two rounds, so that it needs no one to wake it. */
void smp_main(uint32_t me)
{
	for (uint32_t seen = 0;;) {
		while (turn == seen)
			__builtin_ia32_pause();
		seen = turn;
		if (me < writers)
			write_all(me);
	}
}

/* One round of n vCPUs. Ticks of all of it. */
static uint64_t one_round(unsigned n, enum abi_command command)
{
	uint64_t first = ~0UL, last = 0;

	abi_command(command);
	done = 0;
	writers = n;
	turn++;
	write_all(0);
	while (done < n)
		__builtin_ia32_pause();
	for (unsigned i = 0; i < n; i++) {
		first = vcpu[i].begin < first ? vcpu[i].begin : first;
		last = vcpu[i].end > last ? vcpu[i].end : last;
	}
	return last - first;
}

/* True when two vCPUs reach `least` per cent of one's rate. */
static bool measure(const char *what, enum abi_command command, unsigned metrics, unsigned ratio, uint64_t least)
{
	uint64_t rounds = arg_number("rounds", 20), best[VCPUS + 1] = {0}, rate;

	for (uint64_t r = 0; r < rounds * VCPUS; r++) { /* by turns, so that both see the same machine */
		unsigned n = 1 + r % VCPUS;
		uint64_t ticks = one_round(n, command);

		if (!best[n] || ticks < best[n])
			best[n] = ticks;
	}
	for (unsigned n = 1; n <= VCPUS; n++)
		metric(metrics + n - 1, "ticks a fault, one vCPU or two", best[n] / (n * pages));
	rate = VCPUS * best[1] * HUNDRED / best[2];
	metric(ratio, "per cent of one vCPU's rate", rate);
	print("%s: two vCPUs get through %lu %% of what one does\n", what, rate);
	return rate >= least;
}

void image_main(void)
{
	uint64_t least = arg_number("least", 0);
	bool cold, fixup;

	pages = arg_range("pages", 2048, 1, 4096);
	if (abi_vcpus() < VCPUS) {
		skip("one vCPU: nothing to compare");
		finish();
	}
	for (unsigned i = 0; i < VCPUS; i++)
		paging_map(boot_root, WINDOW(i), memory_take(pages * PAGE, PAGE_2M), pages * PAGE, 1, PTE_P | PTE_W);
	__asm__ volatile("sidt %0" : "=m"(smp_idt));
	abi_vcpu_start(1, (uint32_t)(uint64_t)smp_entry);
	cold = measure("cold faults", ABI_MMU_ZAP, 1, 5, least);
	report(cold, "cold faults: at least %lu %%", least);
	if (abi_command(ABI_LOG_START) == ABI_REFUSED) {
		skip("fix-ups: no dirty log here");
		finish();
	}
	one_round(VCPUS, ABI_LOG_HARVEST);
	fixup = measure("fix-ups", ABI_LOG_HARVEST, 3, 6, least);
	report(fixup, "fix-ups: at least %lu %%", least);
	abi_command(ABI_LOG_STOP);
	finish();
}
