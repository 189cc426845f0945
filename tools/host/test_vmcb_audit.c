/* SPDX-License-Identifier: MIT */
/* hv/svm_audit.c: a VMCB that is right, and the same with one rule of the manual broken at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "guest/cr.h"
#include "hv/svm_audit.h"

#define PHYS_BITS 40
#define EFER_SVME (1UL << 12)
#define ATTR_CODE64 (0x9bu | VMCB_SEG_L)
#define ATTR_CODE32 (0x9bu | VMCB_SEG_DB)
#define INJECT(type, vector) (EVENT_VALID | (type) << EVENT_TYPE_SHIFT | (vector))
#define CRS 0x119u
#define INTR_MASKING INT_CTL_V_INTR_MASKING

static const struct svm_cap cap = {.asids = 16, .phys_bits = PHYS_BITS};

/* A 64-bit kernel. */
static struct vmcb good(void)
{
	struct vmcb m = {
		.cr_read = CRS,
		.cr_write = CRS,
		.dr_read = 0xffff,
		.dr_write = 0xffff,
		.exceptions = 1u << VECTOR_PF | 1u << VECTOR_DB | 1u << VECTOR_AC | 1u << VECTOR_MC | 1u << VECTOR_GP,
		.intercept1 = ~INTERCEPT1_VINTR,
		.intercept2 = ~0u,
		.iopm = 0x10000,
		.msrpm = 0x20000,
		.asid = 1,
		.int_ctl = INTR_MASKING,
		.efer = EFER_SVME | EFER_NXE | EFER_LME | EFER_LMA,
		.cr0 = CR0_PE | CR0_PG | CR0_WP | CR0_NE | CR0_ET,
		.cr3 = 0x300000000,
		.cr4 = CR4_PAE,
		.dr6 = DR6_FIXED,
		.dr7 = DR7_FIXED,
		.rflags = RFLAGS_FIXED | RFLAGS_IF,
		.rip = 0xffffffff81000000,
	};

	m.seg[CS].attr = ATTR_CODE64;
	m.tr.attr = 0x8b;
	return m;
}

/* The same guest in 32-bit protected mode without paging of its own. */
static struct vmcb good_32bit(void)
{
	struct vmcb m = good();

	m.efer &= ~(EFER_LME | EFER_LMA);
	m.seg[CS].attr = ATTR_CODE32;
	m.cr3 = 0x300000;
	m.rip = 0x100000;
	return m;
}

static void good_ones_pass(void **state)
{
	struct vmcb m = good();

	(void)state;
	assert_null(svm_audit(&m, &cap));
	m = good_32bit();
	assert_null(svm_audit(&m, &cap));
	m.intercept1 |= INTERCEPT1_VINTR;
	m.int_ctl |= INT_CTL_V_IRQ | INT_CTL_V_PRIORITY | INT_CTL_V_IGNORE_TPR;
	m.tlb_control = TLB_FLUSH_ALL;
	m.cpl = 3;
	assert_null(svm_audit(&m, &cap));
}

/* One broken field (width: 1, 2, 4, 8 bytes), and words of the rule that must be named. */
struct broken {
	size_t at;
	unsigned width;
	uint64_t value;
	const char *rule;
};
#define FIELD(name) offsetof(struct vmcb, name), sizeof(((struct vmcb *)0)->name)

static void check_broken(struct vmcb (*make)(void), const struct broken *b, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct vmcb m = make();
		const char *rule;

		memcpy((char *)&m + b[i].at, &b[i].value, b[i].width);
		rule = svm_audit(&m, &cap);
		if (!rule || !strstr(rule, b[i].rule))
			fail_msg("field at 0x%zx = 0x%lx: got \"%s\", not \"%s\"", b[i].at, b[i].value,
				rule ? rule : "passes", b[i].rule);
	}
}
#define CHECK_BROKEN(make, table) check_broken(make, table, sizeof table / sizeof *table)

static void control_rules(void **state)
{
	static const struct broken table[] = {
		{FIELD(intercept2), ~INTERCEPT2_VMRUN, "VMRUN is not"},
		{FIELD(asid), 0, "ASID"},
		{FIELD(asid), 16, "ASID"},
		{FIELD(msrpm), 0x20800, "permission map"},
		{FIELD(msrpm), (1UL << PHYS_BITS) - PAGE_SIZE, "permission map"},
		{FIELD(iopm), (1UL << PHYS_BITS) - 2 * PAGE_SIZE, "permission map"},
		{FIELD(iopm), 1UL << 52, "permission map"},
		{FIELD(tlb_control), 2, "TLB control"},
		{FIELD(tlb_control), TLB_FLUSH_ASID, "TLB control"},
		{FIELD(intercept1), ~INTERCEPT1_INTR, "exit"},
		{FIELD(intercept1), ~INTERCEPT1_NMI, "exit"},
		{FIELD(intercept1), ~INTERCEPT1_IO, "exit"},
		{FIELD(intercept1), ~INTERCEPT1_MSR, "exit"},
		{FIELD(intercept1), ~INTERCEPT1_INVLPG, "exit"},
		{FIELD(intercept1), ~INTERCEPT1_SHUTDOWN, "exit"},
		{FIELD(intercept2), ~INTERCEPT2_VMLOAD, "exit"},
		{FIELD(intercept2), ~INTERCEPT2_CLGI, "exit"},
		{FIELD(intercept2), ~INTERCEPT2_XSETBV, "exit"},
		{FIELD(exceptions), ~(1u << VECTOR_PF), "#PF"},
		{FIELD(exceptions), ~(1u << VECTOR_AC), "#PF"},
		{FIELD(cr_read), CRS & ~(1u << 4), "CR0, CR3"},
		{FIELD(cr_write), CRS & ~(1u << 3), "CR0, CR3"},
		{FIELD(dr_write), 0xff7f, "debug registers"},
		{FIELD(int_ctl), 0, "do not mask"},
		{FIELD(int_ctl), INTR_MASKING | INT_CTL_AVIC, "AVIC"},
		{FIELD(int_ctl), INTR_MASKING | INT_CTL_VGIF, "virtual GIF"},
		{FIELD(int_ctl), INTR_MASKING | INT_CTL_V_IRQ, "virtual interrupt"},
		{FIELD(np_enable), 1, "nested paging"},
		{FIELD(lbr_control), 1, "branch records"},
		{FIELD(clean), 1, "clean bits"},
	};

	(void)state;
	CHECK_BROKEN(good, table);
}

static void register_rules(void **state)
{
	static const struct broken table[] = {
		{FIELD(efer), EFER_NXE | EFER_LME | EFER_LMA, "SVME"},
		{FIELD(cr0), CR0_PE | CR0_PG | CR0_WP | CR0_NW, "CR0.NW"},
		{FIELD(cr0), CR0_PE | CR0_PG | CR0_WP | 1UL << 32, "above bit 31"},
		{FIELD(cr3), 1UL << PHYS_BITS, "CR3"},
		{FIELD(cr4), CR4_PAE | 1UL << 15, "CR4 reserved"},
		{FIELD(cr4), CR4_PAE | 1UL << 40, "CR4 reserved"},
		{FIELD(dr6), DR6_FIXED | 1UL << 32, "DR6"},
		{FIELD(dr7), DR7_FIXED | 1UL << 40, "DR7"},
		{FIELD(efer), EFER_SVME | EFER_NXE | EFER_LME | EFER_LMA | 1UL << 1, "EFER reserved"},
		{FIELD(efer), EFER_SVME | EFER_NXE | EFER_LME | EFER_LMA | 1UL << 32, "EFER reserved"},
		{FIELD(cr4), 0, "without CR4.PAE"},
		{FIELD(cr0), CR0_PG | CR0_WP, "without CR0.PE"},
		{FIELD(seg[CS].attr), ATTR_CODE64 | VMCB_SEG_DB, "CS.L with CS.D"},
		{FIELD(cr0), CR0_PE | CR0_PG, "WP are 1"},
		{FIELD(cr0), CR0_PE | CR0_WP, "WP are 1"},
		{FIELD(cr4), CR4_PAE | CR4_PGE, "PGE"},
		{FIELD(cr4), CR4_PAE | 1UL << 17, "PCIDE"},
		{FIELD(efer), EFER_SVME | EFER_LME | EFER_LMA, "NXE"},
		{FIELD(efer), EFER_SVME | EFER_NXE | EFER_LME, "LMA"},
	};
	static const struct broken table_32bit[] = {
		{FIELD(cr0), CR0_PE | CR0_WP, "WP are 1"},
		{FIELD(cr4), 0, "CR4.PAE"},
		{FIELD(cr3), 1UL << 32, "above 4 GiB"},
		{FIELD(rip), 1UL << 32, "RIP"},
	};

	(void)state;
	CHECK_BROKEN(good, table);
	CHECK_BROKEN(good_32bit, table_32bit);
}

/* Real mode with paging, APM vol. 2, 15.9. */
static void real_mode_rules(void **state)
{
	struct vmcb m = good_32bit();

	(void)state;
	m.cr0 &= ~CR0_PE;
	m.event_inject = INJECT(EVENT_TYPE_EXCEPTION, 13);
	assert_null(svm_audit(&m, &cap));
	m.event_inject |= EVENT_HAS_ERROR;
	assert_non_null(strstr(svm_audit(&m, &cap), "error code against"));
	m.event_inject = 0;
	m.cpl = 3;
	assert_non_null(strstr(svm_audit(&m, &cap), "at CPL 0"));
}

static void injection_rules(void **state)
{
	static const struct broken table[] = {
		{FIELD(event_inject), INJECT(1u, 0x20), "event type"},
		{FIELD(event_inject), INJECT(5u, 0x20), "event type"},
		{FIELD(event_inject), INJECT(EVENT_TYPE_EXCEPTION, 2), "no exception"},
		{FIELD(event_inject), INJECT(EVENT_TYPE_EXCEPTION, 32), "no exception"},
		{FIELD(event_inject), INJECT(EVENT_TYPE_EXCEPTION, 13), "error code against"},
		{FIELD(event_inject), INJECT(EVENT_TYPE_EXCEPTION, 6) | EVENT_HAS_ERROR, "error code against"},
		{FIELD(event_inject), INJECT(EVENT_TYPE_INTERRUPT, 0x20) | EVENT_HAS_ERROR, "error code against"},
		{FIELD(event_inject), INJECT(EVENT_TYPE_EXCEPTION, 14) | EVENT_HAS_ERROR | 1UL << 48, "error code"},
	};
	struct vmcb m = good();

	(void)state;
	CHECK_BROKEN(good, table);
	m.event_inject = INJECT(EVENT_TYPE_EXCEPTION, 14) | EVENT_HAS_ERROR | 2UL << EVENT_ERROR_SHIFT;
	assert_null(svm_audit(&m, &cap));
	m.event_inject = INJECT(EVENT_TYPE_INTERRUPT, 0x20);
	assert_null(svm_audit(&m, &cap));
	m.int_state = INT_STATE_SHADOW;
	assert_non_null(strstr(svm_audit(&m, &cap), "while blocked"));
	m.int_state = 0;
	m.rflags = RFLAGS_FIXED;
	assert_non_null(strstr(svm_audit(&m, &cap), "while blocked"));
	m.event_inject &= ~(uint64_t)EVENT_VALID;

	/* QEMU's own emulation gets it as a virtual interrupt, under the same rules. */
	struct svm_cap tcg = cap;

	tcg.interrupts_twice = true;
	m.int_ctl |= INT_CTL_V_IRQ;
	assert_non_null(strstr(svm_audit(&m, &tcg), "which nothing blocks"));
	m.rflags |= RFLAGS_IF;
	assert_null(svm_audit(&m, &tcg));
	assert_non_null(strstr(svm_audit(&m, &cap), "which nothing blocks"));
	m.int_ctl &= ~INT_CTL_V_IRQ;
	m.rflags = RFLAGS_FIXED;
	assert_null(svm_audit(&m, &cap));
}

static void flow_rules(void **state)
{
	static const struct broken table[] = {
		{FIELD(cpl), 4, "CPL"},
		{FIELD(seg[CS].attr), ATTR_CODE64 & ~VMCB_SEG_P, "present"},
		{FIELD(seg[CS].attr), ATTR_CODE64 & ~SEG_S, "present"},
		{FIELD(tr.attr), 0x0b, "present"},
		{FIELD(rflags), RFLAGS_IF, "RFLAGS"},
		{FIELD(rflags), RFLAGS_FIXED | 1UL << 22, "RFLAGS"},
		{FIELD(rflags), RFLAGS_FIXED | RFLAGS_VM, "virtual-8086"},
		{FIELD(rip), 1UL << 47, "RIP"},
	};

	(void)state;
	CHECK_BROKEN(good, table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_ones_pass),
		cmocka_unit_test(control_rules),
		cmocka_unit_test(register_rules),
		cmocka_unit_test(injection_rules),
		cmocka_unit_test(real_mode_rules),
		cmocka_unit_test(flow_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
