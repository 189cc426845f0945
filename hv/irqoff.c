/* SPDX-License-Identifier: MIT */
#include "hv/irqoff.h"

void irqoff_longer(uint32_t ticks, const char *where)
{
	struct cpu *c = this_cpu();

	store_relaxed(&c->irqoff_where, (uint64_t)where);
	store_relaxed(&c->irqoff, ticks);
}

void irqoff_start(void)
{
	store_relaxed(&this_cpu()->irqoff, 0);
}

uint64_t irqoff_longest(const char **where)
{
	uint64_t longest = 0;

	*where = "none";
	for (unsigned i = 0; i < cpu_count(); i++) {
		struct cpu *c = cpu_get(i);
		uint32_t ticks = load_relaxed(&c->irqoff);

		if (ticks != IRQOFF_NOT_YET && ticks > longest) {
			longest = ticks;
			*where = (const char *)load_relaxed(&c->irqoff_where);
		}
	}
	return longest;
}
