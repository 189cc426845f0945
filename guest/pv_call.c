/* SPDX-License-Identifier: MIT */
#include "guest/lapic_inside.h"

#define ICR_VECTOR 0xffu
#define ICR_MODE_SHIFT 8
#define ICR_SHORTHANDS (3u << 18)
#define ICR_LOGICAL (1u << 11)

/* An interrupt to the vCPUs whose bits are set in low and high, of `bits` bits each, from APIC id `first` on. Returns how many
 * took it. */
static int64_t send_ipi(struct vcpu *v, uint64_t low, uint64_t high, uint64_t first, uint64_t icr, unsigned bits)
{
	struct apic_message m = {.vector = icr & ICR_VECTOR, .delivery = icr >> ICR_MODE_SHIFT & 7};
	int64_t taken = 0;

	if (icr & (ICR_SHORTHANDS | ICR_LOGICAL) || (m.delivery != APIC_FIXED && m.delivery != APIC_NMI))
		return -PV_CALL_EINVAL;
	for (unsigned i = 0; i < v->vm->vcpus; i++) {
		uint64_t bit = i - first;

		if (i < first || bit >= 2 * bits || !((bit < bits ? low >> bit : high >> (bit - bits)) & 1))
			continue;
		m.destination = i;
		taken += lapic_send(v->vm, &m);
	}
	return taken;
}

bool pv_call(struct vcpu *v)
{
	unsigned bits = vcpu_64bit(v) ? 64 : 32;
	uint64_t mask = bits == 64 ? ~0UL : UINT32_MAX, *r = v->gpr;
	int64_t result = -PV_CALL_ENOSYS;

	if (!v->vm->config.pv)
		return false;
	if (vcpu_cpl(v))
		result = -PV_CALL_EPERM;
	else if ((r[RAX] & mask) == PV_CALL_SEND_IPI && v->vm->config.pv & CONFIG_PV_IPI)
		result = send_ipi(v, r[RBX] & mask, r[RCX] & mask, r[RDX] & mask, r[RSI] & mask, bits);
	r[RAX] = (uint64_t)result & mask;
	return true;
}
