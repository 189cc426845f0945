/* SPDX-License-Identifier: MIT */
/* guest/startup.c, and the way of a vCPU from SIPI to long mode: when it is interpreted. */
#include "tools/host/interpret_test.h"

#include "hv/vmx_audit.h"
#include "hv/vmx_vmcs.h"

#define STEPS 1000
#define CHECKS 1000000u

/* ---- reset ---- */

static void startup_state(void **state)
{
	struct vcpu *v = &((struct vcpu_test *)*state)->v;

	v->cr3 = 0x1000;
	v->star = 5;
	v->tsc_offset = 7;
	assert_int_equal(cr_write_efer(v, EFER_NXE, &why), CR_DONE);
	assert_int_equal(vcpu_reset_startup(v, 0x9a, &why), CR_DONE);
	assert_int_equal(v->seg[CS].selector, 0x9a00);
	assert_int_equal(v->seg[CS].base, 0x9a000);
	assert_int_equal(v->seg[CS].limit, 0xffff);
	assert_int_equal(v->seg[CS].attr, ATTR_DATA16);
	assert_int_equal(v->rip, 0);
	assert_int_equal(v->rflags, RFLAGS_FIXED);
	assert_int_equal(v->cr0, CR0_ET);
	assert_int_equal(v->cr3 | v->cr4 | v->efer, 0);
	assert_int_equal(v->gpr[RDX], v->model->basic[1].eax);
	assert_int_equal(v->star, 5);
	assert_int_equal(v->tsc_offset, 7);
	assert_int_equal(v->idtr.base, 0);
	assert_int_equal(v->activity, VCPU_RUNNABLE);
	assert_true(v->interpret && v->changed & VCPU_CONTROL);
	assert_int_equal(vcpu_reset_init(v, &why), CR_DONE);
	assert_int_equal(v->activity, VCPU_OFF);
	assert_int_equal(v->seg[CS].base + v->rip, 0xfffffff0);
}

static void a_vcpu_that_never_ran_starts_as_after_power_up(void **state)
{
	struct vcpu *v = &((struct vcpu_test *)*state)->v;

	v->xcr0 = v->pat = v->cr0 = 0;
	assert_int_equal(vcpu_reset_startup(v, 1, &why), CR_DONE);
	assert_int_equal(v->cr0, CR0_CD | CR0_NW | CR0_ET);
	assert_true(v->pat && v->xcr0 == 1);
}

/* ---- from SIPI to long mode ---- */

/* At CODE; the tables at 0x9000, a code segment of 32 bits at 8, data at 10h, one of 64 bits at 18h. */
extern const uint8_t trampoline[], trampoline_end[];
__asm__(R"(
	.section .rodata
	.code16
trampoline:
	cli
	wbinvd
	mov	%cs, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	movl	$0x700, %esp
	pushfl
	popl	%eax
	movl	%eax, %ebx
	xorl	$0x200000, %eax
	pushl	%eax
	popfl
	pushfl
	popl	%eax
	xorl	%ebx, %eax
	jz	9f
	movl	$1, %eax
	cpuid
1:	lock btsl $0, trampoline_lock - trampoline
	jnc	2f
	pause
	movw	$0, trampoline_lock - trampoline
	jmp	1b
2:	lidtl	trampoline_idt - trampoline
	lgdtl	trampoline_gdt - trampoline
	movw	$1, %ax
	lmsw	%ax
	ljmpl	$8, $0x8000 + 3f - trampoline
9:	ud2
	.code32
3:	movw	$0x10, %dx
	movw	%dx, %ss
	movw	%dx, %ds
	movw	%dx, %es
	movw	%dx, %fs
	movw	%dx, %gs
	movl	$0x20, %eax
	movl	%eax, %cr4
	movl	$0x9000, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx
	rdmsr
	btsl	$8, %eax
	wrmsr
	movl	$0x80000001, %eax
	movl	%eax, %cr0
	ljmp	$0x18, $0x8000 + 4f - trampoline
	.code64
4:	movabs	$0x123456789abc, %rax
	hlt
trampoline_lock:
	.long	1
trampoline_idt:
	.word	0
	.long	0
trampoline_gdt:
	.word	31
	.long	0x8000 + 5f - trampoline
5:	.quad	0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff
trampoline_end:
	.code64
	.text
)");

/* What the hypervisor does for it. */
static void carry_out(struct vcpu *v)
{
	uint64_t value;
	enum cr_outcome o = CR_DONE;

	switch (insn.op) {
	case INSN_CPUID:
		cpuid_execute(v);
		break;
	case INSN_RDMSR:
		assert_true(msr_read(v, (uint32_t)v->gpr[RCX], &value));
		v->gpr[RAX] = (uint32_t)value;
		break;
	case INSN_WRMSR:
		o = msr_write(v, (uint32_t)v->gpr[RCX], (uint32_t)v->gpr[RAX], &why);
		break;
	case INSN_LMSW:
		o = cr_write_cr0(v, (v->cr0 & ~0xeUL) | (v->gpr[insn.rm] & 0xf), &why);
		break;
	case INSN_TO_CR:
		value = v->gpr[insn.rm];
		o = insn.reg == 0 ? cr_write_cr0(v, value, &why)
		    : insn.reg == 3 ? cr_write_cr3(v, value, &why) : cr_write_cr4(v, value, &why);
		break;
	default:
		assert_int_equal(insn.op, INSN_WBINVD);
		break;
	}
	assert_int_equal(o, CR_DONE);
	vcpu_skip(v, insn.length);
}

static void a_trampoline_reaches_long_mode(void **state)
{
	struct vcpu *v = real(state);
	unsigned n, enterable = 0;
	enum emulate_outcome o;

	put(v, CODE, trampoline, (unsigned)(trampoline_end - trampoline));
	put(v, 0x9000, (uint64_t[]){0xa003}, 8);
	put(v, 0xa000, (uint64_t[]){0xb003}, 8);
	put(v, 0xb000, (uint64_t[]){0x83}, 8);
	for (n = 0; n < STEPS; n++) {
		o = step(v);
		enterable += !v->interpret;
		if (o == EMULATE_EXIT && insn.op == INSN_HLT)
			break;
		if (o == EMULATE_EXIT)
			carry_out(v);
		else if (o != EMULATE_DONE)
			fail_msg("%lx: outcome %u, fault %u", v->rip, o, fault.vector);
	}
	assert_true(v->gpr[RAX] == 0x123456789abc);
	assert_true(vcpu_64bit(v));
	assert_false(v->interpret);
	assert_in_range(enterable, 10, 20); /* since the last of SS and the others was loaded */
	assert_int_equal(v->event.type, EVENT_NONE);
}

/* ---- when it is needed ---- */

static uint64_t read_field(const void *context, uint32_t n)
{
	const struct vcpu *v = context;

	for (unsigned s = 0; s < SEGS; s++) {
		if (n == VMCS_GUEST_SELECTOR(s))
			return v->seg[s].selector;
		if (n == VMCS_GUEST_BASE(s))
			return v->seg[s].base;
		if (n == VMCS_GUEST_LIMIT(s))
			return v->seg[s].limit;
		if (n == VMCS_GUEST_ATTR(s))
			return v->seg[s].attr;
	}
	if (n == VMCS_ENTRY_CONTROLS)
		return vcpu_long_mode(v) ? ENTRY_CTL_IA32E : 0;
	return n == VMCS_GUEST_RFLAGS ? v->rflags : 0;
}

/* Segments as they come of real mode, of tables and of nothing but chance: the entry checks decide. */
static void needed_is_what_the_entry_checks_refuse(void **state)
{
	static const uint32_t attr[] = {ATTR_DATA16, ATTR_CODE16, SEG_UNUSABLE, 0x8b, 0x82, 0xc093, 0xa09b, 0xf3, 0x83, 0x9f};
	static const uint32_t limit[] = {0xffff, 0xffffffff, 0x7fffe};
	struct vcpu *v = &((struct vcpu_test *)*state)->v;
	uint64_t seed = 12, right = 0;
	const struct segment reset[2] = {v->seg[LDTR], v->seg[TR]};

	for (unsigned n = 0; n < CHECKS; n++) {
		const struct vmx_view view = {.read = read_field, .context = v};
		bool tidy = host_random(&seed) % 2;

		for (unsigned s = 0; s < SEGS; s++) {
			uint64_t x = host_random(&seed);

			if (tidy && x % 8)
				v->seg[s] = s >= LDTR ? reset[s - LDTR]
					: (struct segment){.limit = 0xffff, .attr = s == CS ? ATTR_CODE16 : ATTR_DATA16};
			else
				v->seg[s] = (struct segment){
					.selector = (uint16_t)(x >> 32 & (s >= LDTR ? 0xfff8 : x >> 62 ? 0xfffc : 0xffff)),
					.limit = limit[(x >> 20) % 3],
					.attr = attr[(x >> 8) % 10] ^ (x >> 24 & 3 ? 0 : 1u << (x >> 56) % 8),
				};
		}
		v->efer = host_random(&seed) % 2 ? EFER_LME | EFER_LMA : 0;
		if (interpret_needed(v) != !!vmx_audit_segments(&view))
			fail_msg("case %u: %s", n, vmx_audit_segments(&view));
		right += !interpret_needed(v);
	}
	assert_true(right > CHECKS / 100);
	vcpu_reset_multiboot(v, 0, 0, 0);
	assert_false(interpret_needed(v));
	v->cr0 = CR0_ET;
	assert_true(interpret_needed(v));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		vcpu_unit_test(startup_state),
		vcpu_unit_test(a_vcpu_that_never_ran_starts_as_after_power_up),
		vcpu_unit_test(a_trampoline_reaches_long_mode),
		vcpu_unit_test(needed_is_what_the_entry_checks_refuse),
	};

	return cmocka_run_group_tests_name("startup", tests, 0, 0);
}
