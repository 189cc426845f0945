/* SPDX-License-Identifier: MIT */
/* The clock in the guest's memory.
 *
 * All vCPUs' clocks are the same linear function of the host's TSC, from 0 when the guest was made, and so is the guest's own
 * TSC: that is why no page ever has to follow another. A page is written when it is named, when the vCPU's TSC is set, and when
 * gdb has had the guest stand still: devices go on then, so the clock does too, but its flag tells the guest why it was away. */
#include "guest/vm.h"

#define NANOSECONDS 1000000000UL

/* The shift brings the frequency into 1 … 2 GHz, so that the factor has all of its 32 bits; it is rounded to the nearest. */
void pv_clock_scale(uint64_t hz, uint32_t *mul, int8_t *shift)
{
	uint64_t unit = NANOSECONDS << 32, factor;
	unsigned left = 0, right = 0;

	CHECK(hz > 0);
	while (hz << left <= NANOSECONDS)
		left++;
	while (hz > 2 * NANOSECONDS << right)
		right++;
	hz <<= left;
	factor = (unit / hz << right) + ((unit % hz << right) + hz / 2) / hz;
	*mul = factor >> 32 ? UINT32_MAX : (uint32_t)factor;
	*shift = (int8_t)(left - right);
}

/* version and what follows it, as whoever reads without a lock wants it: odd, the rest, the next even number. False: no RAM. */
static bool publish(struct mmu *m, gpa_t at, uint32_t version, const void *rest, uint64_t offset, uint64_t bytes)
{
	uint32_t odd = (version + 1) | 1, even = odd + 1;

	/* exchanges: atomic, and full barriers */
	return mmu_xchg(m, at, &odd, sizeof odd) && mmu_write(m, gpa(at.v + offset), rest, bytes) &&
	       mmu_xchg(m, at, &even, sizeof even);
}

bool pv_clock_write(struct vcpu *v)
{
	gpa_t at = gpa(v->pv.clock & ~PV_MSR_ENABLE);
	struct mmu *m = v->mmu.mmu;
	struct pv_clock c;

	if (!v->pv.clock || !mmu_read(m, at, &c, sizeof c))
		return false;
	c.flags &= PV_CLOCK_STOPPED; /* until the guest clears it */
	if (v->pv.stopped)
		c.flags |= PV_CLOCK_STOPPED;
	if (!load_seq(&v->vm->tsc_apart)) /* partner: pv_tsc_moved */
		c.flags |= PV_CLOCK_STABLE;
	v->pv.stopped = false;
	c.tsc_timestamp = v->vm->created + v->tsc_offset;
	c.system_time = 0;
	pv_clock_scale(host_clock_hz(), &c.tsc_to_system_mul, &c.tsc_shift);
	return publish(m, at, c.version, &c.tsc_timestamp, offsetof(struct pv_clock, tsc_timestamp),
		sizeof c - offsetof(struct pv_clock, tsc_timestamp));
}

bool pv_wall_write(struct vcpu *v, uint64_t address)
{
	struct pv_wall w;
	gpa_t at = gpa(address);

	if (address & 3 || !mmu_read(v->mmu.mmu, at, &w, sizeof w))
		return false;
	w.seconds = (uint32_t)CMOS_EPOCH;
	w.nanoseconds = 0;
	return publish(v->mmu.mmu, at, w.version, &w.seconds, offsetof(struct pv_wall, seconds),
		sizeof w - offsetof(struct pv_wall, seconds));
}

/* Another's clock is good for this TSC too while the offsets of all are those that they were made with. */
void pv_tsc_moved(struct vcpu *v)
{
	struct vm *vm = v->vm;
	uint32_t me = 1u << v->index, before, after;

	if (v->tsc_offset == -vm->created) {
		before = fetch_and_seq(&vm->tsc_apart, ~me);
		after = before & ~me;
	} else {
		before = fetch_or_seq(&vm->tsc_apart, me);
		after = before | me;
	}
	for (unsigned i = 0; i < vm->vcpus; i++) {
		struct vcpu *o = vm->vcpu[i];

		if (o != v && !before == !after)
			continue;
		xchg_seq(&o->pv.clock_due, 1); /* partner: pv_slice_begin, which is to come soon */
		if (vm->attend)
			vm->attend(o);
	}
	if (v->pv.clock)
		pv_clock_write(v);
}
