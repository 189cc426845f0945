/* SPDX-License-Identifier: MIT */
/* realmode: its vCPU goes to real mode and back, twice: interrupts, faults and traps by the interrupt vector table, limits,
 * unreal mode, strings, calls, arithmetic, I/O, CPUID, the timer's interrupt, single steps. The tests are realmode_engine.S's.
 *
 *   limits=on            off: the machine checks no limits there (QEMU's own emulation)
 *
 * Metrics: 1 TSC ticks per instruction in real mode, of an addition and a LOOP.
 */
#include "guest/images/lib.h"

#define RESULTS 0x30000UL
#define COST (RESULTS + 0x44)
#define TIMED 2000
#define LIMIT_TEST 7
#define METRIC_INSTRUCTION 1

static const char *const tests[] = {
	"CR0.PE is clear",
	"IRET takes the flags from the stack",
	"INT goes by the vector table, with interrupts off",
	"INT and IRET leave the stack as it was",
	"#DE of a division by 0",
	"and nothing has changed",
	"#UD of UD2",
	"#GP of a word beyond the limit",
	"INT3 and INTO are traps",
	"#BR of BOUND, outside the bounds alone",
	"unreal mode: a segment of 4 GiB",
	"REP STOS",
	"REP MOVS",
	"REPE CMPS, downwards",
	"REPE SCAS ends at the difference",
	"a near call",
	"a far call",
	"RET that pops arguments",
	"PUSHA, POPA",
	"ENTER, LEAVE",
	"MUL",
	"IDIV of a negative number",
	"DAA",
	"LOOP",
	"IN",
	"REP OUTS",
	"CPUID",
	"the timer's interrupt ends HLT",
	"single steps",
	"LOCK BTS",
	"straight into long mode",
};

void image_main(void)
{
	const volatile uint8_t *result = (const volatile uint8_t *)RESULTS;

	for (unsigned i = 0; i < sizeof tests / sizeof *tests; i++)
		if (i == LIMIT_TEST && arg_is("limits", "off"))
			skip("limits are not checked here");
		else
			report(result[i] == 1, "%s", tests[i]);
	metric(METRIC_INSTRUCTION, "TSC ticks per instruction", *(const volatile uint32_t *)COST / TIMED);
}
