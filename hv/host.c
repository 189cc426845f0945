/* SPDX-License-Identifier: MIT */
/* mm/host.h on the metal. */
#include "hv/apic.h"
#include "hv/cpu.h"
#include "guest/text.h"
#include "hv/log.h"
#include "hv/panic.h"
#include "hv/options.h"
#include "hv/x86.h"

#define PANIC_TEXT 512

static const char *const level_prefix[] = {
	[HOST_ERROR] = "umbra: error: ",
	[HOST_WARN] = "umbra: warning: ",
	[HOST_INFO] = "umbra: ",
	[HOST_DEBUG] = "umbra: debug: ",
};

unsigned host_cpu(void)
{
	return this_cpu_index();
}

unsigned host_cpus(void)
{
	return cpu_count();
}

/* By NMI: on Bochs a guest that was entered with RFLAGS.IF=0 takes no other interrupt until it changes IF. */
void host_kick(unsigned cpu)
{
	CHECK(apic_send_nmi(cpu_get(cpu)->apic_id));
}

void host_relax(void)
{
	cpu_relax();
}

uint64_t host_clock(void)
{
	return rdtsc();
}

uint64_t host_clock_hz(void)
{
	return apic_tsc_hz();
}

void host_log(enum host_level level, const char *fmt, ...)
{
	if (level > options.level)
		return;
	char line[LOG_LINE_MAX + 1];
	size_t at = text_format(line, sizeof(line), "%s", level_prefix[level]);
	va_list args;
	va_start(args, fmt);
	at += text_format_list(line + at, sizeof(line) - at, fmt, args);
	va_end(args);
	log_append(line, at, level == HOST_ERROR);
}

void host_print(const char *fmt, ...)
{
	char line[LOG_LINE_MAX + 1];
	va_list args;
	va_start(args, fmt);
	size_t bytes = text_format_list(line, sizeof(line), fmt, args);
	va_end(args);
	log_append(line, bytes, true);
}

_Static_assert(HOST_RAW <= LOG_LINE_MAX, "raw bytes are not cut");

void host_raw(const char *bytes, size_t n)
{
	log_append_raw(bytes, n);
}

void host_panic(const char *fmt, ...)
{
	char why[PANIC_TEXT];
	va_list args;
	va_start(args, fmt);
	text_format_list(why, sizeof(why), fmt, args);
	va_end(args);
	panic_at(NULL, why);
}
