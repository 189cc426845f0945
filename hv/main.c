/* SPDX-License-Identifier: MIT */
/* From the boot loader to the guests. */
#include "boot/bootinfo.h"
#include "hv/acpi.h"
#include "hv/apic.h"
#include "hv/console.h"
#include "hv/cpu.h"
#include "hv/log.h"
#include "hv/memory.h"
#include "hv/options.h"
#include "hv/paging.h"
#include "hv/platform.h"
#include "hv/preflight.h"
#include "hv/run.h"
#include "hv/smp.h"
#include "hv/support.h"
#include "hv/trap.h"
#include "hv/x86.h"

#define EXIT_FAIL 1
#define EXIT_UNSUPPORTED 3
#define ERROR_TEXT 700

static struct cpu boot_cpu;
static struct bootinfo bootinfo;
static struct acpi acpi;
static struct acpi_power acpi_power;

/* The identity map's first 4 GiB. */
static struct window low_memory(void)
{
	return (struct window){(const uint8_t *)host_direct_base, 0, 1ull << 32};
}

/* Input from outside that cannot be worked with: not a bug, so no panic. */
static _Noreturn void refuse(const char *what, const char *why)
{
	host_log(HOST_ERROR, "%s%s", what, why);
	platform_finish("FAIL", EXIT_FAIL);
}

static void log_support(const char *text)
{
	host_print("umbra: %s", text);
}

static _Noreturn void unsupported(const char *reason)
{
	support_print(log_support);
	host_print("UMBRA UNSUPPORTED %s", reason);
	platform_finish("FAIL", EXIT_UNSUPPORTED);
}

/* Draws on the screen of pixels when it lies in the memory that is mapped by now, which ends at `end`. */
static void show_frame(uint64_t end)
{
	const struct bootinfo_frame *f = &bootinfo.frame;
	static bool shown;
	if (!shown && f->address && f->address + (uint64_t)f->line_bytes * f->height <= end) {
		console_frame(f, host_virt(hpa(f->address)));
		shown = true;
	}
}

static void read_bootinfo(uint32_t loader_magic, uint64_t address)
{
	const char *error = loader_magic == MULTIBOOT2_LOADER_MAGIC
		? bootinfo_multiboot2(&bootinfo, low_memory(), address)
		: bootinfo_pvh(&bootinfo, low_memory(), address);
	console_init(bootinfo.vga_text);
	if (loader_magic != MULTIBOOT2_LOADER_MAGIC)
		console_putc('\n'); /* QEMU's firmware leaves its last line open */
	show_frame(1ull << 32);
	if (!error)
		error = bootinfo_bundle(&bootinfo, low_memory());
	support_init(&bootinfo);
	acpi_power_parse(&acpi_power, low_memory(), &bootinfo);
	platform_set_power(&acpi_power);
	if (error)
		refuse("boot information: ", error);
}

static void read_options(void)
{
	static char error[ERROR_TEXT];
	bool good = options_parse(&options, bootinfo.cmdline, error, sizeof(error));
	console_select(options.console_com1, options.console_vga);
	platform_set_end(options.end);
	host_log(HOST_INFO, "loaded by %s, %u modules, command line '%s'", bootinfo.loader, bootinfo.modules,
		bootinfo.cmdline);
	if (!good)
		refuse("", error);
}

static void read_acpi(void)
{
	const char *error = acpi_parse(&acpi, low_memory(), &bootinfo);
	if (error)
		host_log(HOST_WARN, "%s: only this processor is used", error);
}

static void start_clock(void)
{
	if (!apic_init())
		unsupported("no local APIC");
	boot_cpu.apic_id = apic_id();
	if (!apic_calibrate())
		unsupported("the 8254 timer does not count, so the TSC cannot be measured");
}

static void check_processor(void)
{
	const char *reason = preflight();
	if (reason)
		unsupported(reason);
}

static void start_processors(void)
{
	if (!smp_start(&acpi, options.cpus, memory_low_page(&bootinfo)))
		unsupported("the virtualisation extension is locked off by the firmware on some processors only");
}

static void map_memory(void)
{
	const char *error = paging_init(&bootinfo);
	if (error)
		refuse("memory: ", error);
	show_frame(PAGING_LIMIT);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winfinite-recursion"
static void overflow_stack(void *argument)
{
	overflow_stack(argument);
	asm volatile("" : : : "memory"); /* so that the call stays one */
}
#pragma GCC diagnostic pop

/* What the tests of the panic, trap and hang reports ask for. */
static void misbehave(void)
{
	switch (options.test) {
	case OPTION_TEST_NONE:
		return;
	case OPTION_TEST_PANIC:
		host_panic("test=panic was asked for");
	case OPTION_TEST_TRAP:
		*(volatile char *)host_virt(hpa(0)) = 0;
		return;
	case OPTION_TEST_OVERFLOW:
		if (cpu_count() > 1)
			cpu_start_work(cpu_count() - 1, overflow_stack, NULL);
		else
			overflow_stack(NULL);
		/* fall through */
	case OPTION_TEST_HANG:
		irq_disable();
		for (;;)
			cpu_relax();
	}
}

_Noreturn void umbra_main(uint32_t loader_magic, uint64_t info_address)
{
	trap_init();			/* so that a bug in what follows shows itself */
	cpu_init(&boot_cpu, 0);		/* GS first: every log line and trap asks which CPU this is */
	cpu_add(&boot_cpu);
	read_bootinfo(loader_magic, info_address);	/* copied: the loader's memory is free after this; console, power */
	read_options();			/* they choose the console */
	memory_init(&bootinfo);		/* saves the modules before anything else is written */
	read_acpi();			/* reads page 0, so before paging */
	map_memory();			/* page 0 away, text read-only, RAM above 4 GiB */
	start_clock();			/* starting processors needs delays */
	check_processor();		/* before the others: without VMX or SVM they are not needed */
	start_processors();		/* so that every guest finds its CPU */
	irq_enable();
	log_flush(false);		/* making large guests takes time, in which nobody moves the log */
	misbehave();			/* only when asked to, by a test */
	run_guests(&bootinfo);
}
