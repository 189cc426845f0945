/* SPDX-License-Identifier: MIT */
/* hv/svm_exit.c: what exits mean, with and without next-RIP save and decode assists. */
#include <string.h>

#include "hv/svm.h"
#include "tools/host/vcpu_test.h"

#define HERE 0x1000UL
#define NEXT (HERE + 3)
#define STALE_INFO (~0UL) /* where the processor would have written nothing */
#define EVENT(type, vector) (EVENT_VALID | (type) << EVENT_TYPE_SHIFT | (vector))

struct svm_cap svm_cap;
static struct vmcb vmcb;
static struct svm_vcpu backend = {.vmcb = &vmcb};
static struct vcpu v;

static int fresh(void **state)
{
	(void)state;
	svm_cap = (struct svm_cap){.asids = 2};
	memset(&vmcb, 0, sizeof vmcb);
	vmcb.exceptions = 1u << VECTOR_PF | 1u << VECTOR_DB | 1u << VECTOR_GP | 1u << VECTOR_AC;
	v = (struct vcpu){.backend = &backend, .rip = HERE};
	return 0;
}

static void all_assists(void)
{
	svm_cap.next_rip = svm_cap.decode_assists = true;
	vmcb.next_rip = NEXT;
}

static struct exit decode(uint64_t code, uint64_t info1, uint64_t info2, bool injected)
{
	struct exit e;

	memset(&e, 0xee, sizeof e);
	vmcb.exit_code = code;
	vmcb.exit_info1 = info1;
	vmcb.exit_info2 = info2;
	v.event.type = EVENT_NONE;
	svm_exit_decode(&v, injected, &e);
	return e;
}

static void page_faults(void **state)
{
	struct exit e = decode(SVM_EXIT_EXCEPTION + VECTOR_PF, 7, 0xffff800000001000, false);

	(void)state;
	assert_int_equal(e.reason, EXIT_PAGE_FAULT);
	assert_int_equal(e.page_fault.error, 7);
	assert_true(e.page_fault.gva.v == 0xffff800000001000);
}

static void debug_bits_are_taken_once(void **state)
{
	struct exit e;

	(void)state;
	vmcb.dr6 = DR6_FIXED | DR6_BS | 2;
	e = decode(SVM_EXIT_EXCEPTION + VECTOR_DB, 0, 0, false);
	assert_int_equal(e.reason, EXIT_EXCEPTION);
	assert_int_equal(e.exception.vector, VECTOR_DB);
	assert_true(!e.exception.soft && !e.exception.has_error);
	assert_int_equal(e.exception.dr6, DR6_BS | 2);
	assert_int_equal(vmcb.dr6, DR6_FIXED);
}

/* Only a #GP(0) of its own may be an SVM instruction's. */
static void general_protection(void **state)
{
	struct exit e = decode(SVM_EXIT_EXCEPTION + VECTOR_GP, 0, 0, false);

	(void)state;
	assert_int_equal(e.reason, EXIT_INSTRUCTION);
	assert_int_equal(e.decodes, EXIT_EXCEPTION);
	e = decode(SVM_EXIT_EXCEPTION + VECTOR_GP, 0x18, 0, false);
	assert_int_equal(e.reason, EXIT_EXCEPTION);
	assert_true(e.exception.has_error);
	assert_int_equal(e.exception.error, 0x18);
	vmcb.exit_int_info = EVENT(EVENT_TYPE_INTERRUPT, 0x20);
	e = decode(SVM_EXIT_EXCEPTION + VECTOR_GP, 0, 0, true);
	assert_int_equal(e.reason, EXIT_EXCEPTION);
	assert_int_equal(v.event.type, EVENT_INTERRUPT);
}

static void instructions_without_help(void **state)
{
	static const struct {
		uint32_t code;
		uint64_t info;
		enum exit_reason reason;
	} table[] = {
		{SVM_EXIT_CPUID, STALE_INFO, EXIT_CPUID},
		{SVM_EXIT_HLT, STALE_INFO, EXIT_HLT},
		{SVM_EXIT_WBINVD, STALE_INFO, EXIT_NOP},
		{SVM_EXIT_XSETBV, STALE_INFO, EXIT_XSETBV},
		{SVM_EXIT_MSR, 0, EXIT_RDMSR},
		{SVM_EXIT_MSR, 1, EXIT_WRMSR},
		{SVM_EXIT_INVLPG, STALE_INFO, EXIT_INVLPG},
		{SVM_EXIT_ICEBP, STALE_INFO, EXIT_EXCEPTION},
		{SVM_EXIT_CR_READ + 8, STALE_INFO, EXIT_CR_READ},
		{SVM_EXIT_CR_WRITE + 3, STALE_INFO, EXIT_CR_WRITE},
		{SVM_EXIT_DR_READ + 7, STALE_INFO, EXIT_DR_READ},
		{SVM_EXIT_DR_WRITE, STALE_INFO, EXIT_DR_WRITE},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
		struct exit e = decode(table[i].code, table[i].info, STALE_INFO, false);

		assert_int_equal(e.reason, EXIT_INSTRUCTION);
		assert_int_equal(e.decodes, table[i].reason);
		if (table[i].code < SVM_EXIT_DR_READ)
			assert_int_equal(e.cr.number, table[i].code & 15);
		else if (table[i].code < SVM_EXIT_EXCEPTION)
			assert_int_equal(e.dr.number, table[i].code & 15);
	}
}

static void next_rip_gives_lengths(void **state)
{
	struct exit e;

	(void)state;
	svm_cap.next_rip = true;
	vmcb.next_rip = NEXT;
	e = decode(SVM_EXIT_CPUID, 0, 0, false);
	assert_int_equal(e.reason, EXIT_CPUID);
	assert_int_equal(e.length, 3);
	e = decode(SVM_EXIT_MSR, 1, 0, false);
	assert_int_equal(e.reason, EXIT_WRMSR);
	/* Operands it does not give. */
	assert_int_equal(decode(SVM_EXIT_INVLPG, STALE_INFO, 0, false).reason, EXIT_INSTRUCTION);
	assert_int_equal(decode(SVM_EXIT_CR_WRITE + 3, STALE_INFO, 0, false).reason, EXIT_INSTRUCTION);
}

static void assists_give_operands(void **state)
{
	struct exit e;

	(void)state;
	all_assists();
	e = decode(SVM_EXIT_INVLPG, 0x7000, 0, false);
	assert_int_equal(e.reason, EXIT_INVLPG);
	assert_int_equal(e.page_fault.gva.v, 0x7000);
	assert_int_equal(e.length, 3);
	e = decode(SVM_EXIT_CR_WRITE + 3, REGISTER_MOV | R12, 0, false);
	assert_int_equal(e.reason, EXIT_CR_WRITE);
	assert_int_equal(e.cr.number, 3);
	assert_int_equal(e.cr.gpr, R12);
	assert_false(e.cr.from_value);
	e = decode(SVM_EXIT_CR_READ + 8, REGISTER_MOV | RBX, 0, false);
	assert_int_equal(e.reason, EXIT_CR_READ);
	assert_int_equal(e.cr.number, 8);
	e = decode(SVM_EXIT_DR_WRITE + 6, R9, 0, false);
	assert_int_equal(e.reason, EXIT_DR_WRITE);
	assert_int_equal(e.dr.number, 6);
	assert_int_equal(e.dr.gpr, R9);
	assert_int_equal(e.length, 3);
	/* CLTS, LMSW and SMSW are no MOV. */
	e = decode(SVM_EXIT_CR_WRITE, 0, 0, false);
	assert_int_equal(e.reason, EXIT_INSTRUCTION);
	assert_int_equal(e.decodes, EXIT_CR_WRITE);
}

static void input_and_output(void **state)
{
	uint64_t info = 0x3f8UL << IOIO_PORT_SHIFT | 1u << IOIO_SIZE_SHIFT;
	struct exit e = decode(SVM_EXIT_IO, info, HERE + 1, false);

	(void)state;
	assert_int_equal(e.reason, EXIT_IO);
	assert_int_equal(e.length, 1);
	assert_int_equal(e.io.port, 0x3f8);
	assert_int_equal(e.io.size, 1);
	assert_true(e.io.write && !e.io.string && !e.io.rep);
	e = decode(SVM_EXIT_IO, 4u << IOIO_SIZE_SHIFT | IOIO_IN | IOIO_STRING | IOIO_REP, HERE + 2, false);
	assert_int_equal(e.reason, EXIT_INSTRUCTION);
	assert_int_equal(e.decodes, EXIT_IO);
	assert_int_equal(e.io.size, 4);
	assert_true(!e.io.write && e.io.string && e.io.rep);
}

static void interrupted_deliveries(void **state)
{
	(void)state;
	vmcb.exit_int_info = EVENT(EVENT_TYPE_EXCEPTION, VECTOR_PF) | EVENT_HAS_ERROR | 6UL << EVENT_ERROR_SHIFT;
	decode(SVM_EXIT_EXCEPTION + VECTOR_PF, 2, 0x8000, true);
	assert_int_equal(v.event.type, EVENT_EXCEPTION);
	assert_int_equal(v.event.vector, VECTOR_PF);
	assert_true(v.event.has_error);
	assert_int_equal(v.event.error, 6);
	/* Nobody injected it, and by itself it would have exited: a leftover. */
	decode(SVM_EXIT_EXCEPTION + VECTOR_PF, 2, 0x8000, false);
	assert_int_equal(v.event.type, EVENT_NONE);
	/* The guest's own #UD needs no injection. */
	vmcb.exit_int_info = EVENT(EVENT_TYPE_EXCEPTION, VECTOR_UD);
	decode(SVM_EXIT_EXCEPTION + VECTOR_PF, 2, 0x8000, false);
	assert_int_equal(v.event.vector, VECTOR_UD);
	/* INT3 and INT n run again. */
	vmcb.exit_int_info = EVENT(EVENT_TYPE_EXCEPTION, VECTOR_BP);
	decode(SVM_EXIT_EXCEPTION + VECTOR_PF, 2, 0x8000, false);
	assert_int_equal(v.event.type, EVENT_NONE);
	vmcb.exit_int_info = EVENT(EVENT_TYPE_SOFT_INTERRUPT, 0x80);
	decode(SVM_EXIT_EXCEPTION + VECTOR_PF, 2, 0x8000, false);
	assert_int_equal(v.event.type, EVENT_NONE);
	vmcb.exit_int_info = EVENT(EVENT_TYPE_EXCEPTION, VECTOR_UD) & ~(uint64_t)EVENT_VALID;
	decode(SVM_EXIT_EXCEPTION + VECTOR_PF, 2, 0x8000, true);
	assert_int_equal(v.event.type, EVENT_NONE);
}

static void others(void **state)
{
	struct exit e;

	(void)state;
	assert_int_equal(decode(SVM_EXIT_INTR, 0, 0, false).reason, EXIT_INTERRUPT);
	assert_int_equal(decode(SVM_EXIT_NMI, 0, 0, false).reason, EXIT_NMI);
	assert_int_equal(decode(SVM_EXIT_VINTR, 0, 0, false).reason, EXIT_INTERRUPT_WINDOW);
	assert_int_equal(decode(SVM_EXIT_VMMCALL, 0, 0, false).decodes, EXIT_HYPERCALL);
	assert_int_equal(decode(SVM_EXIT_VMLOAD, 0, 0, false).reason, EXIT_UNDEFINED);
	assert_int_equal(decode(SVM_EXIT_RDPMC, 0, 0, false).reason, EXIT_PRIVILEGED);
	assert_int_equal(decode(SVM_EXIT_SHUTDOWN, 0, 0, false).reason, EXIT_TRIPLE_FAULT);
	assert_int_equal(decode(SVM_EXIT_SMI, 0, 0, false).reason, EXIT_OTHER);
	e = decode(0x400, 0, 0, false);
	assert_int_equal(e.reason, EXIT_OTHER);
	svm_exit_describe(&v, &e);
	assert_string_equal(e.name, "unknown VM exit");
	e = decode(SVM_EXIT_INVALID, 0, 0, false);
	assert_int_equal(e.reason, EXIT_ENTRY_FAILED);
	svm_exit_describe(&v, &e);
	assert_string_equal(e.name, "VMRUN refused the VMCB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(page_faults, fresh),
		cmocka_unit_test_setup(debug_bits_are_taken_once, fresh),
		cmocka_unit_test_setup(general_protection, fresh),
		cmocka_unit_test_setup(instructions_without_help, fresh),
		cmocka_unit_test_setup(next_rip_gives_lengths, fresh),
		cmocka_unit_test_setup(assists_give_operands, fresh),
		cmocka_unit_test_setup(input_and_output, fresh),
		cmocka_unit_test_setup(interrupted_deliveries, fresh),
		cmocka_unit_test_setup(others, fresh),
	};

	return cmocka_run_group_tests_name("svm_exit", tests, NULL, NULL);
}
