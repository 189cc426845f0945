/* SPDX-License-Identifier: MIT */
/* hv/vmx_audit.c: a VMCS that is right, and the same with one rule of the manual broken at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "guest/cr.h"
#include "hv/vmx_audit.h"
#include "hv/vmx_vmcs.h"

#define FIELDS 0x7000
#define PHYS_BITS 40
#define CR4_VMXE (1UL << 13)
#define ATTR_CODE64 (0xbu | SEG_S | SEG_P | SEG_L | SEG_G)
#define ATTR_CODE32 (0xbu | SEG_S | SEG_P | SEG_DB | SEG_G)
#define ATTR_DATA (0x3u | SEG_S | SEG_P | SEG_DB | SEG_G)
#define INJECT(type, vector) (INTERRUPTION_VALID | (type) | (vector))

static uint64_t field[FIELDS], pdpte[4];
static const struct vmx_cap cap = {
	.pin = {0x16, 0xff},
	.cpu = {0x04006172, 0xfff9fffe},
	.secondary = {0, 0x001fffff},
	.exit = {0x36dfb, 0x7fffff},
	.entry = {0x11fb, 0xffff},
	.cr0_must = CR0_PE | CR0_NE | CR0_PG,
	.cr0_may = 0xffffffff,
	.cr4_must = CR4_VMXE,
	.cr4_may = 0x3727ff,
	.phys_bits = PHYS_BITS,
};

static uint64_t read_field(const void *context, uint32_t n)
{
	(void)context;
	assert_true(n < FIELDS);
	return field[n];
}

static uint64_t read_pdpte(const void *context, unsigned i)
{
	(void)context;
	return pdpte[i];
}

static const struct vmx_view view = {.read = read_field, .pdpte = read_pdpte, .cap = &cap};

static void segment(enum seg s, uint16_t selector, uint64_t base, uint32_t limit, uint32_t attr)
{
	field[VMCS_GUEST_SELECTOR(s)] = selector;
	field[VMCS_GUEST_BASE(s)] = base;
	field[VMCS_GUEST_LIMIT(s)] = limit;
	field[VMCS_GUEST_ATTR(s)] = attr;
}

/* A 64-bit kernel under a 64-bit hypervisor. */
static int good(void **state)
{
	(void)state;
	memset(field, 0, sizeof field);
	field[VMCS_PIN_CONTROLS] = cap.pin.must | PIN_EXTERNAL_INTERRUPT | PIN_NMI;
	field[VMCS_CPU_CONTROLS] = cap.cpu.must | CPU_MSR_BITMAPS | CPU_SECONDARY | CPU_HLT | CPU_INVLPG;
	field[VMCS_SECONDARY_CONTROLS] = SECONDARY_VPID | SECONDARY_RDTSCP;
	field[VMCS_VPID] = 1;
	field[VMCS_MSR_BITMAP] = 0x5000;
	field[VMCS_EXIT_CONTROLS] = cap.exit.must | EXIT_CTL_HOST_64BIT | EXIT_CTL_LOAD_EFER;
	field[VMCS_ENTRY_CONTROLS] = cap.entry.must | ENTRY_CTL_LOAD_DEBUG | ENTRY_CTL_IA32E | ENTRY_CTL_LOAD_EFER;
	field[VMCS_LINK_POINTER] = LINK_POINTER_NONE;
	field[VMCS_HOST_CR0] = CR0_PE | CR0_NE | CR0_PG | CR0_WP;
	field[VMCS_HOST_CR3] = 0x229000;
	field[VMCS_HOST_CR4] = CR4_PAE | CR4_VMXE;
	field[VMCS_HOST_EFER] = EFER_LMA | EFER_LME | EFER_NXE;
	field[VMCS_HOST_CS] = 0x10;
	field[VMCS_HOST_SS] = 0x18;
	field[VMCS_HOST_TR] = 0x20;
	field[VMCS_HOST_RIP] = 0x208000;
	field[VMCS_GUEST_CR0] = CR0_PE | CR0_NE | CR0_PG | CR0_WP | CR0_ET;
	field[VMCS_GUEST_CR3] = 0x300000;
	field[VMCS_GUEST_CR4] = CR4_PAE | CR4_VMXE;
	field[VMCS_GUEST_EFER] = EFER_LMA | EFER_LME | EFER_NXE;
	field[VMCS_GUEST_DR7] = 0x400;
	segment(CS, 0x10, 0, 0xffffffff, ATTR_CODE64);
	for (enum seg s = SS; s <= GS; s++)
		segment(s, 0x18, 0, 0xffffffff, ATTR_DATA);
	segment(ES, 0, 0, 0, SEG_UNUSABLE);
	segment(LDTR, 0, 0, 0, SEG_UNUSABLE);
	segment(TR, 0x20, 0x1000, 0x67, 0xb | SEG_P);
	field[VMCS_GUEST_RFLAGS] = RFLAGS_FIXED | RFLAGS_IF;
	field[VMCS_GUEST_RIP] = 0xffffffff81000000;
	return 0;
}

/* The same guest in 32-bit protected mode without paging of its own. */
static void good_32bit(void)
{
	good(0);
	field[VMCS_ENTRY_CONTROLS] &= ~(uint64_t)ENTRY_CTL_IA32E;
	field[VMCS_GUEST_EFER] = EFER_NXE;
	segment(CS, 0x10, 0, 0xffffffff, ATTR_CODE32);
	field[VMCS_GUEST_RIP] = 0x100000;
	for (unsigned i = 0; i < 4; i++)
		pdpte[i] = 0x400001 + 0x1000 * i;
}

static void good_ones_pass(void **state)
{
	(void)state;
	assert_null(vmx_audit(&view));
	good_32bit();
	assert_null(vmx_audit(&view));
}

/* One broken field, and words of the rule that must be named. */
struct broken {
	uint32_t at;
	uint64_t value;
	const char *rule;
};

static void check_broken(const struct broken *b, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const char *rule;

		good(0);
		field[b[i].at] = b[i].value;
		rule = vmx_audit(&view);
		if (!rule || !strstr(rule, b[i].rule))
			fail_msg("field 0x%x = 0x%lx: got \"%s\", not \"%s\"", b[i].at, b[i].value,
				rule ? rule : "passes", b[i].rule);
	}
}
#define CHECK_BROKEN(table) check_broken(table, sizeof table / sizeof *table)

static void control_rules(void **state)
{
	static const struct broken table[] = {
		{VMCS_PIN_CONTROLS, PIN_EXTERNAL_INTERRUPT | PIN_NMI, "pin-based"},
		{VMCS_PIN_CONTROLS, 0x16 | PIN_NMI, "exit"},
		{VMCS_PIN_CONTROLS, 0x16 | PIN_EXTERNAL_INTERRUPT | PIN_VIRTUAL_NMI, "virtual NMIs without"},
		{VMCS_CPU_CONTROLS, CPU_MSR_BITMAPS | CPU_SECONDARY, "processor-based"},
		{VMCS_CPU_CONTROLS, 0x04006172 | CPU_SECONDARY, "MSR bitmap"},
		{VMCS_CPU_CONTROLS, 0x04006172 | CPU_MSR_BITMAPS | CPU_IO_BITMAPS, "I/O bitmaps"},
		{VMCS_CPU_CONTROLS, 0x04006172 | CPU_MSR_BITMAPS | CPU_TPR_SHADOW, "TPR shadow"},
		{VMCS_CPU_CONTROLS, 0x04006172 | CPU_MSR_BITMAPS | CPU_NMI_WINDOW, "NMI-window"},
		{VMCS_SECONDARY_CONTROLS, 1u << 30, "secondary"},
		{VMCS_SECONDARY_CONTROLS, SECONDARY_VIRTUAL_INTERRUPTS, "APIC virtualisation"},
		{VMCS_SECONDARY_CONTROLS, SECONDARY_EPT, "EPT"},
		{VMCS_SECONDARY_CONTROLS, SECONDARY_UNRESTRICTED_GUEST, "unrestricted"},
		{VMCS_VPID, 0, "VPID 0"},
		{VMCS_CR3_TARGET_COUNT, 5, "CR3 targets"},
		{VMCS_MSR_BITMAP, 0x5001, "MSR bitmap"},
		{VMCS_MSR_BITMAP, 1UL << PHYS_BITS, "MSR bitmap"},
		{VMCS_EXIT_CONTROLS, EXIT_CTL_HOST_64BIT, "VM-exit controls"},
		{VMCS_ENTRY_CONTROLS, ENTRY_CTL_IA32E, "VM-entry controls"},
		{VMCS_ENTRY_CONTROLS, 0x11fb | ENTRY_CTL_SMM, "SMM"},
		{VMCS_EXIT_MSR_LOAD_COUNT, 1, "MSR areas"},
		{VMCS_ENTRY_MSR_LOAD_COUNT, 1, "MSR areas"},
	};

	(void)state;
	CHECK_BROKEN(table);
}

static void injection_rules(void **state)
{
	static const struct broken table[] = {
		{VMCS_ENTRY_INTERRUPTION, INJECT(1u << 8, 0x20), "interruption type"},
		{VMCS_ENTRY_INTERRUPTION, INJECT(INTERRUPTION_OTHER, 0), "interruption type"},
		{VMCS_ENTRY_INTERRUPTION, INJECT(INTERRUPTION_EXTERNAL, 0x20) | 1u << 13, "interruption type"},
		{VMCS_ENTRY_INTERRUPTION, INJECT(INTERRUPTION_NMI, 3), "vector against"},
		{VMCS_ENTRY_INTERRUPTION, INJECT(INTERRUPTION_EXCEPTION, 32), "vector against"},
		{VMCS_ENTRY_INTERRUPTION, INJECT(INTERRUPTION_EXCEPTION, 13), "deliver-error-code"},
		{VMCS_ENTRY_INTERRUPTION, INJECT(INTERRUPTION_EXCEPTION | INTERRUPTION_HAS_ERROR, 6),
			"deliver-error-code"},
		{VMCS_ENTRY_INTERRUPTION, INJECT(INTERRUPTION_SOFT_INTERRUPT, 0x80), "instruction length"},
	};

	(void)state;
	CHECK_BROKEN(table);
	good(0);
	field[VMCS_ENTRY_INTERRUPTION] = INJECT(INTERRUPTION_EXCEPTION | INTERRUPTION_HAS_ERROR, 14);
	field[VMCS_ENTRY_ERROR_CODE] = 2;
	assert_null(vmx_audit(&view));
	field[VMCS_ENTRY_ERROR_CODE] = 0x10000;
	assert_non_null(strstr(vmx_audit(&view), "error code"));
	good(0);
	field[VMCS_ENTRY_INTERRUPTION] = INJECT(INTERRUPTION_EXTERNAL, 0x20);
	assert_null(vmx_audit(&view));
	field[VMCS_GUEST_RFLAGS] = RFLAGS_FIXED;
	assert_non_null(strstr(vmx_audit(&view), "RFLAGS.IF=0"));
	field[VMCS_GUEST_RFLAGS] |= RFLAGS_IF;
	field[VMCS_INTERRUPTIBILITY] = BLOCKING_STI;
	assert_non_null(strstr(vmx_audit(&view), "while blocked"));
	field[VMCS_ENTRY_INTERRUPTION] = INJECT(INTERRUPTION_NMI, 2);
	field[VMCS_INTERRUPTIBILITY] = BLOCKING_MOV_SS;
	assert_non_null(strstr(vmx_audit(&view), "NMI injected"));
}

static void host_rules(void **state)
{
	static const struct broken table[] = {
		{VMCS_HOST_CR0, CR0_PE | CR0_PG, "host CR0"},
		{VMCS_HOST_CR4, CR4_PAE, "host CR4"},
		{VMCS_HOST_CR4, CR4_VMXE, "IA-32e"},
		{VMCS_HOST_CR3, 1UL << PHYS_BITS, "host CR3"},
		{VMCS_EXIT_CONTROLS, 0x36dfb, "IA-32e"},
		{VMCS_HOST_EFER, EFER_LMA | EFER_NXE, "host EFER"},
		{VMCS_HOST_EFER, EFER_LMA | EFER_LME | 2, "host EFER"},
		{VMCS_HOST_CS, 0, "host CS"},
		{VMCS_HOST_TR, 0, "host CS or TR"},
		{VMCS_HOST_SS, 0x1b, "RPL"},
		{VMCS_HOST_DS, 0x1c, "RPL or TI"},
		{VMCS_HOST_GS_BASE, 1UL << 47, "canonical"},
		{VMCS_HOST_IDTR_BASE, 1UL << 63, "canonical"},
		{VMCS_HOST_RIP, 1UL << 60, "canonical"},
	};

	(void)state;
	CHECK_BROKEN(table);
}

static void guest_control_rules(void **state)
{
	static const struct broken table[] = {
		{VMCS_GUEST_CR0, CR0_NE | CR0_PG | CR0_WP, "PG without"},
		{VMCS_GUEST_CR0, CR0_NE | CR0_WP, "unrestricted"},
		{VMCS_GUEST_CR0, CR0_PE | CR0_NE | CR0_WP, "unrestricted"},
		{VMCS_GUEST_CR0, CR0_PE | CR0_PG | CR0_WP, "fixed bits"},
		{VMCS_GUEST_CR0, CR0_PE | CR0_PG | CR0_NE, "CR0.WP"},
		{VMCS_GUEST_CR4, CR4_PAE, "CR4 fixed"},
		{VMCS_GUEST_CR4, CR4_VMXE, "CR4.PAE"},
		{VMCS_GUEST_CR4, CR4_PAE | CR4_VMXE | 1UL << 17, "PCIDE"},
		{VMCS_GUEST_CR4, CR4_PAE | CR4_VMXE | 1UL << 40, "CR4 fixed"},
		{VMCS_GUEST_CR3, 1UL << PHYS_BITS, "guest CR3"},
		{VMCS_GUEST_DEBUGCTL, 1UL << 20, "DEBUGCTL"},
		{VMCS_GUEST_DR7, 1UL << 32, "DR7"},
		{VMCS_GUEST_SYSENTER_EIP, 1UL << 47, "SYSENTER"},
		{VMCS_GUEST_SYSENTER_ESP, 1UL << 62, "SYSENTER"},
		{VMCS_GUEST_EFER, EFER_LME | EFER_LMA | EFER_NXE | 2, "EFER reserved"},
		{VMCS_GUEST_EFER, EFER_NXE, "LMA and LME"},
		{VMCS_GUEST_EFER, EFER_LMA | EFER_NXE, "LMA and LME"},
		{VMCS_GUEST_EFER, EFER_LME | EFER_LMA, "NXE"},
	};

	(void)state;
	CHECK_BROKEN(table);
}

static void segment_rules(void **state)
{
	static const struct broken table[] = {
		{VMCS_GUEST_ATTR(TR), 0x9 | SEG_P, "TR type"},
		{VMCS_GUEST_ATTR(TR), 0x3 | SEG_P, "TR type"},
		{VMCS_GUEST_ATTR(TR), 0xb | SEG_P | SEG_UNUSABLE, "TR"},
		{VMCS_GUEST_ATTR(TR), 0xb, "TR"},
		{VMCS_GUEST_SELECTOR(TR), 0x24, "TR"},
		{VMCS_GUEST_BASE(TR), 1UL << 47, "TR"},
		{VMCS_GUEST_LIMIT(TR), 0x100000, "TR"},
		{VMCS_GUEST_ATTR(LDTR), 0x3 | SEG_P, "LDTR"},
		{VMCS_GUEST_ATTR(CS), ATTR_DATA, "CS type"},
		{VMCS_GUEST_ATTR(CS), ATTR_CODE64 & ~SEG_S, "CS type"},
		{VMCS_GUEST_ATTR(CS), ATTR_CODE64 | 3 << SEG_DPL_SHIFT, "CS.DPL"},
		{VMCS_GUEST_ATTR(CS), ATTR_CODE64 & ~SEG_P, "CS"},
		{VMCS_GUEST_ATTR(CS), ATTR_CODE64 | SEG_DB, "CS.L with"},
		{VMCS_GUEST_ATTR(CS), ATTR_CODE64 | 1u << 8, "CS"},
		{VMCS_GUEST_BASE(CS), 1UL << 32, "CS"},
		{VMCS_GUEST_LIMIT(CS), 0xfffffffe, "CS"},
		{VMCS_GUEST_SELECTOR(CS), 0x13, "SS.RPL"},
		{VMCS_GUEST_SELECTOR(SS), 0x1b, "SS.RPL"},
		{VMCS_GUEST_ATTR(SS), ATTR_CODE32, "SS"},
		{VMCS_GUEST_BASE(SS), 1UL << 32, "SS"},
		{VMCS_GUEST_ATTR(DS), ATTR_DATA & ~1u, "data segment type"},
		{VMCS_GUEST_ATTR(DS), 0x9 | SEG_S | SEG_P | SEG_G, "data segment type"},
		{VMCS_GUEST_SELECTOR(DS), 0x1b, "DPL against RPL"},
		{VMCS_GUEST_BASE(FS), 1UL << 47, "FS or GS"},
		{VMCS_GUEST_BASE(DS), 1UL << 32, "data segment"},
		{VMCS_GUEST_GDTR_BASE, 1UL << 47, "GDTR"},
		{VMCS_GUEST_GDTR_LIMIT, 0x10000, "GDTR"},
		{VMCS_GUEST_IDTR_BASE, 1UL << 63, "IDTR"},
		{VMCS_GUEST_IDTR_LIMIT, 0x10000, "IDTR"},
	};

	(void)state;
	CHECK_BROKEN(table);
}

static void flow_rules(void **state)
{
	static const struct broken table[] = {
		{VMCS_GUEST_RIP, 1UL << 47, "RIP"},
		{VMCS_GUEST_RFLAGS, RFLAGS_IF, "RFLAGS reserved"},
		{VMCS_GUEST_RFLAGS, RFLAGS_FIXED | 1u << 3, "RFLAGS reserved"},
		{VMCS_GUEST_RFLAGS, RFLAGS_FIXED | 1UL << 32, "RFLAGS reserved"},
		{VMCS_ACTIVITY, ACTIVITY_HLT, "activity"},
		{VMCS_INTERRUPTIBILITY, 1u << 5, "interruptibility"},
		{VMCS_INTERRUPTIBILITY, BLOCKING_SMI, "SMI"},
		{VMCS_INTERRUPTIBILITY, BLOCKING_STI | BLOCKING_MOV_SS, "by STI and by"},
		{VMCS_GUEST_PENDING_DEBUG, 1UL << 4, "pending debug"},
		{VMCS_LINK_POINTER, 0, "link pointer"},
	};

	(void)state;
	CHECK_BROKEN(table);
	good(0);
	field[VMCS_GUEST_RFLAGS] = RFLAGS_FIXED;
	field[VMCS_INTERRUPTIBILITY] = BLOCKING_STI;
	assert_non_null(strstr(vmx_audit(&view), "STI with RFLAGS.IF=0"));
	good(0);
	field[VMCS_GUEST_RFLAGS] |= RFLAGS_TF;
	field[VMCS_INTERRUPTIBILITY] = BLOCKING_MOV_SS;
	assert_non_null(strstr(vmx_audit(&view), "single step"));
	field[VMCS_GUEST_PENDING_DEBUG] = PENDING_DEBUG_BS;
	assert_null(vmx_audit(&view));
	field[VMCS_GUEST_RFLAGS] |= RFLAGS_VM;
	assert_non_null(vmx_audit(&view));
}

static void rules_of_32_bit_guests(void **state)
{
	static const uint64_t reserved[] = {2, 4, 0x20, 0x100, 1UL << PHYS_BITS, 1UL << 63};

	(void)state;
	good_32bit();
	field[VMCS_GUEST_RIP] = 1UL << 32;
	assert_non_null(strstr(vmx_audit(&view), "RIP"));
	good_32bit();
	field[VMCS_GUEST_CR4] = CR4_VMXE;
	assert_non_null(strstr(vmx_audit(&view), "CR4.PAE"));
	good_32bit();
	field[VMCS_GUEST_EFER] = EFER_NXE | EFER_LME;
	assert_non_null(strstr(vmx_audit(&view), "LMA and LME"));
	good_32bit();
	segment(TR, 0x20, 0x1000, 0x67, 0x3 | SEG_P);
	assert_null(vmx_audit(&view));
	for (unsigned i = 0; i < sizeof reserved / sizeof *reserved; i++) {
		good_32bit();
		pdpte[i % 4] |= reserved[i];
		assert_non_null(strstr(vmx_audit(&view), "PDPTE"));
		pdpte[i % 4] &= ~1UL;
		assert_null(vmx_audit(&view));
	}
}

static void virtual_8086_rules(void **state)
{
	(void)state;
	good_32bit();
	field[VMCS_GUEST_RFLAGS] |= RFLAGS_VM;
	assert_non_null(strstr(vmx_audit(&view), "virtual-8086"));
	for (enum seg s = ES; s <= GS; s++)
		segment(s, 0x1000, 0x10000, 0xffff, 0xf3);
	assert_null(vmx_audit(&view));
	segment(DS, 0x1000, 0x10010, 0xffff, 0xf3);
	assert_non_null(strstr(vmx_audit(&view), "virtual-8086"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(good_ones_pass, good),
		cmocka_unit_test(control_rules),
		cmocka_unit_test(injection_rules),
		cmocka_unit_test(host_rules),
		cmocka_unit_test(guest_control_rules),
		cmocka_unit_test(segment_rules),
		cmocka_unit_test(flow_rules),
		cmocka_unit_test(rules_of_32_bit_guests),
		cmocka_unit_test(virtual_8086_rules),
	};

	return cmocka_run_group_tests_name("vmcs_audit", tests, 0, 0);
}
