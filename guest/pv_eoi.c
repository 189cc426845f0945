/* SPDX-License-Identifier: MIT */
/* The end of an interrupt by a bit in the guest's memory: where it is set the guest clears it, and that is its EOI; else it
 * writes to the local APIC's register, which exits.
 *
 * The bit is set only while exactly one interrupt is in service, by an edge, and none is requested. So what the EOI would lead
 * to is nothing: no level for the I/O APIC, nothing that waits to be delivered. It may stay unknown until somebody looks.
 *
 * Why it is safe. The bit is written by this CPU while the vCPU is outside the guest, and cleared by the vCPU inside: the two
 * never meet. (Other vCPUs of the guest may write there as well; then it is their guest's interrupts that are lost.) What the
 * APIC has in service is read in two ways only: to decide what to deliver, on the way into the guest or out of a halt, and by the
 * guest, through its registers. Both look at the bit first, pv_eoi_sync(), and what they find is what the register would have
 * said, for between the clearing and the look no request was delivered.
 *   A request that comes while the bit is set, of any priority and from any CPU, makes the vCPU exit and look, as it would
 * without the bit (lapic_request, vcpu.attention). If the guest has cleared it by then the EOI is done, and the request is
 * delivered. If not, either the request interrupts the handler, and two are in service; or it waits for the EOI: in both cases
 * pv_eoi_settle() takes the bit back before the entry, and the EOI exits. A request that comes after that look sets attention
 * again, and the vCPU is not in the guest or is kicked. So no request waits for an EOI that nobody is told of.
 *   The look itself must leave attention as it is: it comes after attention was cleared for it, and if it were set again, the next
 * sender would take it that the vCPU was told.
 *   An EOI by the register while the bit is set takes the bit back too: else it would end the next interrupt. */
#include "guest/lapic_inside.h"

static gpa_t flag_at(const struct vcpu *v)
{
	return gpa(v->pv.eoi & ~3UL);
}

static void write_flag(struct vcpu *v, uint8_t flag)
{
	v->pv.eoi_offered = mmu_write(v->mmu.mmu, flag_at(v), &flag, sizeof flag) && flag;
}

void pv_eoi_sync(struct vcpu *v)
{
	uint8_t flag;

	if (!mmu_read(v->mmu.mmu, flag_at(v), &flag, sizeof flag) || flag & PV_EOI_OFFERED)
		return;
	v->pv.eoi_offered = false;
	lapic_end(v); /* no notice: what was requested since the bit was set has given one */
}

void pv_eoi_withdraw(struct vcpu *v)
{
	write_flag(v, 0);
}

void pv_eoi_settle(struct vcpu *v)
{
	bool may = lapic_eoi_may_wait(v);

	if (may != v->pv.eoi_offered)
		write_flag(v, may ? PV_EOI_OFFERED : 0);
}
