/* SPDX-License-Identifier: MIT */
/* Epoch-based RCU.
 *
 * Reader. Entering the outermost section of a kind on a CPU exchanges the epoch into that CPU's word of the kind;
 * leaving it stores 0. Nothing else is written, and no line that another reader writes.
 * Writer. Unlinks the object, then advances the epoch; the new value is the object's tag. The object is free when
 * every CPU's word is 0 or not less than the tag.
 *
 * Why it is safe. Both sides store, then load what the other stored, and both stores are locked RMWs: the reader's
 * exchange of its word comes before its loads of links, the writer's unlink before its fetch_add, that before its
 * loads of the words. Take a reader whose word the writer found not in its way.
 *   - It read 0 because the exchange had not happened yet: then the fetch_add, and the unlink before it, came before
 *     the exchange, and every load of the section sees the unlink.
 *   - It read 0 because the section had ended: the store of 0 is a release, the writer's load an acquire: the reader's
 *     last access came before the free.
 *   - It read a value >= tag: the reader loaded the epoch after the fetch_add, and sees the unlink as above; any
 *     earlier section of that CPU has ended. A reader that loads the epoch and is held up before its exchange shows
 *     an old value: that delays frees, and frees nothing early. The fetch_add must be a full barrier after the
 *     unlink: with a plain load of the epoch the unlink may still be in the store buffer (the model rcu finds it).
 *     C11 alone orders seq_cst accesses among themselves only; that the links' acquire loads stay behind the exchange
 *     is the "locked RMW" of mm/atomic.h.
 *
 * Promised: a grace period ends once every section that was open when it began has ended; guest mode, halted and idle
 * CPUs are outside sections and hold up nothing; any CPU may judge any tag. Not promised: any bound on the wait
 * behind a section that does not end (rcu_wait reports it as our bug after a minute), or that a grace period sees
 * sections of interrupt handlers: they have none.
 */
#include "mm/rcu.h"

#define RCU_STALL_SECONDS 60

struct rcu_cpu rcu_cpus[HOST_MAX_CPUS];
atomic64 rcu_epoch = {1};

uint64_t rcu_tag(void)
{
	/* locked RMW: the unlink before it, the loads of the words after it; partner: the exchange in rcu_read_lock */
	return fetch_add_seq(&rcu_epoch, 1) + 1;
}

/* The first CPU whose section of a kind in mask may have seen what was retired under tag; host_cpus() when none. */
static unsigned rcu_holder(uint64_t tag, unsigned mask)
{
	unsigned cpus = host_cpus();

	for (unsigned cpu = 0; cpu < cpus; cpu++)
		for (unsigned kind = 0; kind < RCU_KINDS; kind++) {
			uint64_t word;

			if (!(mask & 1u << kind))
				continue;
			/* seq_cst (an acquire): after rcu_tag; partners: the exchange and the release of 0 */
			word = load_seq(&rcu_cpus[cpu].word[kind]);
			if (word && word < tag)
				return cpu;
		}
	return cpus;
}

bool rcu_passed(uint64_t tag, unsigned mask)
{
	return rcu_holder(tag, mask) == host_cpus();
}

void rcu_wait(unsigned mask)
{
	uint64_t tag = rcu_tag();
	uint64_t start = host_clock();

	CHECK(!rcu_in_section());
	while (!rcu_passed(tag, mask)) {
		host_relax();
		if (host_clock() - start > RCU_STALL_SECONDS * host_clock_hz())
			host_panic("CPU %u is in an RCU section for %u seconds", rcu_holder(tag, mask),
				RCU_STALL_SECONDS);
	}
}
