/* SPDX-License-Identifier: MIT */
#include "hv/latency.h"
#include "guest/text.h"
#include "hv/irqoff.h"
#include "hv/runner.h"
#include "mm/rcu.h"

atomic32 latency_begun;

/* Of guests that are over, by their numbers. */
static struct guest_holds {
	char name[CONFIG_NAME];
	struct vm_holds longest;
} over[VMSET_MAX];

void latency_begin(void)
{
	if (xchg_seq(&latency_begun, 1)) /* partner: itself, on another CPU */
		return;
	page_forget_hold();
	slab_forget_holds();
	rcu_read_lock(RCU_WALK); /* guests that end meanwhile stay */
	for (unsigned i = 0; i < guests.n; i++) {
		struct vm *vm;

		if (load_acquire(&guests.guest[i].ended)) /* partner: end_guest */
			continue;
		vm = guests.guest[i].vm;
		lock_forget(&vm->mmu.lock);
		lock_forget(&vm->bus.lock);
	}
	rcu_read_unlock(RCU_WALK);
}

static uint64_t longer(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

void latency_guest_over(unsigned index, const char *name, struct vm_holds holds)
{
	struct guest_holds *g = &over[index];

	text_copy(g->name, sizeof g->name, name);
	g->longest.mmu = longer(g->longest.mmu, holds.mmu);
	g->longest.bus = longer(g->longest.bus, holds.bus);
	g->longest.table = longer(g->longest.table, holds.table);
}

static void print_lock(const char *name, uint64_t ticks)
{
	host_print("LATENCY lock %s %lu ticks", name, ticks);
}

void latency_print(void)
{
	struct slab_holds slab = slab_holds();
	const char *where;
	uint64_t ticks;

	if (!load_acquire(&latency_begun))
		return;
	for (unsigned i = 0; i < guests.n; i++) {
		host_print("LATENCY lock %s.mmu %lu ticks", over[i].name, over[i].longest.mmu);
		host_print("LATENCY lock %s.bus %lu ticks", over[i].name, over[i].longest.bus);
		host_print("LATENCY lock %s.table %lu ticks", over[i].name, over[i].longest.table);
	}
	print_lock("pages", page_longest_hold());
	print_lock("slab-cpu", slab.cpu);
	print_lock("slab-cache", slab.cache);
	print_lock("slab-registry", slab.registry);
	ticks = irqoff_longest(&where);
	host_print("LATENCY irqs-off %lu ticks at %s", ticks, where);
}
