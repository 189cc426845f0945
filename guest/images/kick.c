/* SPDX-License-Identifier: MIT */
/* kick: vCPU 0 has the machine drop translations thousands of times, while the other vCPUs spin and never leave the
 * guest by themselves: where a kick gets lost, the round never ends.
 *
 *   rounds=2000          drops: harvests, all shadow pages, now and then the RAM's mappings
 *   seed=1               of the random numbers
 *
 * The others have interrupts off. Each writes to a page of its own as a round begins, then executes CPUID, so that it is
 * on its way back into the guest when the drop comes, a short random time later. Those of odd index have CR8 = 15 and
 * then read one word until the next round: nothing but a kick gets them out of the guest, for a harvest takes away nothing
 * that they use. The others go on writing, and a round is over once they have written again. What a vCPU has written
 * between two harvests the second must report.
 *
 * Metrics: 1 TSC ticks per round.
 */
#include "guest/images/lib.h"

#define METRIC_TICKS 1
#define VCPUS_MAX 8
#define DELAY_BITS 13 /* a delay takes fewer turns of a loop than 2 to the power of a random number up to this */
#define CR8_HIGHEST 15UL

void smp_main(uint32_t me);
extern char smp_entry[];
extern struct { uint16_t limit; uint64_t base; } __attribute__((packed)) smp_idt;
extern uint64_t smp_other_fault;

static uint64_t now; /* the round */
static uint64_t heard[VCPUS_MAX]; /* round + 1 */
static uint64_t *counter[VCPUS_MAX];
static uint64_t harvested[VCPUS_MAX]; /* what each had counted when a harvest had just returned */
static unsigned vcpus;

static uint64_t get(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static void put(uint64_t *p, uint64_t value) { __atomic_store_n(p, value, __ATOMIC_SEQ_CST); }
static void pause(void) { __asm__ volatile("pause"); }

void smp_main(uint32_t me)
{
	if (me % 2)
		__asm__ volatile("mov %0, %%cr8" : : "r"(CR8_HIGHEST));
	for (;;) {
		uint64_t round = get(&now);

		put(counter[me], *counter[me] + 1);
		put(&heard[me], round + 1);
		cpuid(0, 0);
		while (get(&now) == round)
			if (me % 2 == 0)
				put(counter[me], *counter[me] + 1);
	}
}

static void all_go_on(void)
{
	for (unsigned i = 1; i < vcpus; i++) {
		uint64_t seen = get(counter[i]);

		while (get(&heard[i]) != now + 1 || (i % 2 == 0 && get(counter[i]) == seen))
			pause();
	}
}

static void harvest(uint64_t round)
{
	uint64_t before[VCPUS_MAX];

	for (unsigned i = 1; i < vcpus; i++)
		before[i] = get(counter[i]);
	if (abi_command(ABI_LOG_HARVEST) == ABI_REFUSED)
		deviation("round %lu: the harvest was refused", round);
	for (unsigned i = 1; i < vcpus; i++) {
		if (before[i] != harvested[i] && !abi_dirty((uint32_t)((uint64_t)counter[i] / PAGE)))
			deviation("round %lu: vCPU %u went from %lu to %lu, and its page is not reported", round, i,
				harvested[i], before[i]);
		harvested[i] = get(counter[i]);
	}
}

static void drop(uint64_t round)
{
	uint32_t dice = rand_below(1000);

	if (dice < 700)
		harvest(round);
	else if (abi_command(dice < 995 ? ABI_MMU_ZAP : ABI_SLOT_RECREATE) == ABI_REFUSED && dice < 995)
		deviation("round %lu: shadow pages were not dropped", round);
}

void image_main(void)
{
	uint64_t rounds = arg_number("rounds", 2000), start;

	vcpus = abi_vcpus();
	if (vcpus < 2 || vcpus > VCPUS_MAX) {
		skip("one vCPU: nobody to kick");
		return;
	}
	__asm__ volatile("sidt %0" : "=m"(smp_idt));
	for (unsigned i = 1; i < vcpus; i++) {
		counter[i] = (uint64_t *)memory_take(PAGE, PAGE);
		abi_vcpu_start(i, (uint32_t)(uint64_t)smp_entry);
	}
	print("kick: %lu rounds, %u vCPUs to kick\n", rounds, vcpus - 1);
	all_go_on();
	abi_command(ABI_LOG_START);
	start = rdtsc();
	for (uint64_t round = 1; round <= rounds; round++) {
		put(&now, round);
		for (uint32_t i = rand_below(1UL << rand_below(DELAY_BITS + 1)); i; i--)
			pause();
		drop(round);
		all_go_on();
	}
	metric(METRIC_TICKS, "ticks per round", (rdtsc() - start) / (rounds | 1));
	abi_command(ABI_LOG_STOP);
	report(!deviations(), "%lu rounds, each kick was heard", rounds);
}
