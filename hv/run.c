/* SPDX-License-Identifier: MIT */
#include "hv/run.h"
#include "guest/cpuid.h"
#include "guest/text.h"
#include "guest/vmset.h"
#include "hv/builtin.h"
#include "hv/cpu.h"
#include "hv/fpu.h"
#include "hv/gdb_stub.h"
#include "hv/heartbeat.h"
#include "hv/latency.h"
#include "hv/memory.h"
#include "hv/options.h"
#include "hv/place.h"
#include "hv/platform.h"
#include "hv/runner.h"
#include "hv/x86.h"

#define MILLISECONDS 1000UL
#define CPUS_TEXT (5 * MMU_MAX_VCPUS + 1)

_Static_assert(VMSET_MAX >= BOOTINFO_MAX_MODULES, "every boot module can be handed over");

static struct cpuid_model model;
static struct vmset set;
static struct guest guest[VMSET_MAX];
static struct vmset_module module[VMSET_MAX]; /* what the guests are made of */
static unsigned modules;

static struct cpuid_regs host_cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid c = cpuid(leaf, subleaf);

	if (leaf == 1 && !guests.backend->has_xsave())
		c.ecx &= ~CPUID_1_ECX_XSAVE;
	return (struct cpuid_regs){c.eax, c.ebx, c.ecx, c.edx};
}

static void init_memory(void)
{
	static const enum slab_mode mode[] = {
		[OPTION_SLAB_NORMAL] = SLAB_NORMAL, [OPTION_SLAB_LIFO] = SLAB_LIFO, [OPTION_SLAB_POISON] = SLAB_POISON};
	static struct page_range usable[MEMORY_MAX_RANGES];
	const struct range *ranges;
	unsigned n = memory_ranges(&ranges);

	for (unsigned i = 0; i < n; i++)
		usable[i] = (struct page_range){ranges[i].start, ranges[i].end - ranges[i].start};
	page_init(usable, n);
	slab_set_mode(mode[options.slab]);
	mmu_global_init();
}

/* The extension on this CPU, and its FPU for guests. */
static void init_cpu(void)
{
	const char *why;

	if (!guests.backend->cpu_on(&why))
		host_panic("CPU %u: %s: %s is missing", host_cpu(), guests.backend->name, why);
	if (host_cpu() == 0)
		cpuid_init(&model, host_cpuid, guests.backend->has_rdtscp());
	fpu_cpu_on(&model);
}

static void init_log_test(void)
{
	log_test.stop_ticks = options.walker_stop * (host_clock_hz() / MILLISECONDS);
	log_test.skip = options.walker_skip;
}

static void take_modules(const struct bootinfo *info)
{
	modules = info->modules;
	for (unsigned i = 0; i < modules; i++) {
		const struct bootinfo_module *m = &info->module[i];

		module[i] = (struct vmset_module){.data = host_virt(hpa(m->range.start)),
			.bytes = m->range.end - m->range.start,
			.string = m->string,
			.refused = m->refused};
	}
}

static void take_builtin(void)
{
	host_log(HOST_INFO, "no boot module: the built-in guests run");
	modules = BUILTIN_COUNT;
	for (unsigned i = 0; i < modules; i++)
		module[i] = (struct vmset_module){.data = builtins[i].start,
			.bytes = (uint64_t)(builtins[i].end - builtins[i].start),
			.string = builtins[i].string};
}

static void attend(struct vcpu *v)
{
	/* On this CPU, a vCPU that can run looks before its next entry, but at signals. */
	if (v->cpu == host_cpu() && v->activity == VCPU_RUNNABLE && !load_relaxed(&v->signals))
		return;
	runner_attend(v->cpu);
}

/* Gives a guest's vCPUs, which have their CPUs, what the hardware needs. False: memory is out. */
static bool equip(struct vm *vm)
{
	vm->attend = attend;
	for (unsigned i = 0; i < vm->vcpus; i++) {
		vm->vcpu[i]->model = &model;
		if (guests.backend->vcpu_create(vm->vcpu[i]))
			continue;
		while (i--)
			guests.backend->vcpu_destroy(vm->vcpu[i]);
		return false;
	}
	return true;
}

/* Places a guest's vCPUs and equips them. 0, or why not. */
static const char *prepare(struct guest *g, struct vm *vm, unsigned *chosen)
{
	const struct config *c = &vm->config;

	for (unsigned i = 0; i < c->cpus; i++)
		if (c->cpu[i] >= host_cpus())
			return "cpus= names a CPU that does not run";
	*g = (struct guest){.vm = vm};
	text_copy(g->name, sizeof g->name, c->name);
	if (text_equal(c->name, options.restart)) {
		g->again = options.restarts;
		g->counted = true;
	}
	for (; g->runners < vm->vcpus; g->runners++) {
		unsigned i = g->runners;
		struct vcpu *v = vm->vcpu[i];

		v->cpu = c->cpus ? c->cpu[i % c->cpus] : place_vcpu(host_cpus(), (*chosen)++);
		g->runner[i] = (struct runner){.guest = g, .vm = vm, .v = v, .cpu = v->cpu};
	}
	return equip(vm) ? 0 : "out of memory";
}

bool guest_again(struct guest *g, const char *name)
{
	struct vm *vm = vmset_again(module, modules, name);

	if (!vm)
		return false;
	for (unsigned i = 0; i < vm->vcpus; i++)
		vm->vcpu[i]->cpu = g->runner[i].cpu;
	if (!equip(vm)) {
		host_print("VERDICT %s FAIL refused: out of memory", name);
		vmset_destroy_vm(vm);
		return false;
	}
	g->vm = vm;
	g->next_round = g->next_audit = g->passes = 0;
	g->audit.mmu = 0;
	store_relaxed(&g->pauser, 0);
	for (unsigned i = 0; i < g->runners; i++) {
		struct runner *r = &g->runner[i];

		r->vm = vm;
		r->v = vm->vcpu[i];
		store_relaxed(&r->tick, 0);
		store_relaxed(&r->parked, 0);
		r->holds = false;
		r->paused_since = 0;
		r->retry_since = r->retry_exits = 0;
	}
	count_add(&g->lives, 1);
	store_release(&g->ended, 0); /* all of it is there; partners: whoever asks whether it has ended before looking at it */
	for (unsigned i = 0; i < g->runners; i++) {
		store_release(&g->runner[i].stopped, 0); /* partner: turn() in runner.c */
		runner_attend(g->runner[i].cpu);
	}
	return true;
}

/* "64 MiB on CPU 1, 2": where a guest is. */
static void announce(const struct guest *g)
{
	const struct vm *vm = g->vm;
	char cpus[CPUS_TEXT];
	size_t n = 0;

	for (unsigned i = 0; i < g->runners; i++)
		n += text_format(cpus + n, sizeof cpus - n, i ? ", %u" : "%u", g->runner[i].cpu);
	host_log(HOST_INFO, "guest %s: %lu MiB on CPU %s%s", vm->config.name, vm->config.mem >> 20, cpus,
		vm->has_replica ? ", harvested into a replica" : "");
}

static void prepare_all(void)
{
	unsigned chosen = 0;

	guests.guest = guest;
	guests.walker_cpu = place_walker(host_cpus());
	guests.failed = set.refused != 0;
	for (unsigned i = 0; i < set.vms; i++) {
		struct vm *vm = set.vm[i];
		const char *reason = prepare(&guest[guests.n], vm, &chosen);

		if (reason) {
			host_print("VERDICT %s FAIL refused: %s", vm->config.name, reason);
			vmset_destroy_vm(vm);
			guests.failed = true;
			continue;
		}
		announce(&guest[guests.n++]);
	}
	store_release(&guests.left, guests.n);
	for (unsigned i = 0; i < guests.n; i++)
		if (guest[i].again || !options.restarts)
			return;
	if (options.restarts) {
		host_log(HOST_ERROR, "option restart=%s: no guest of this name runs", options.restart);
		guests.failed = true;
	}
}

static void cpu_work(void *argument)
{
	init_cpu();
	runner_cpu_loop(argument);
}

_Noreturn void run_guests(const struct bootinfo *info)
{
	guests.backend = backend_pick();
	init_memory();
	init_cpu(); /* first here: it finds out what all CPUs have */
	init_log_test();
	mmu_phys_bits = model.phys_bits; /* before any guest's MMU */
	if (info->modules)
		take_modules(info);
	else
		take_builtin();
	vmset_create(&set, module, modules);
	prepare_all();
	gdb_stub_start();
	for (unsigned i = 1; i < host_cpus(); i++)
		CHECK(cpu_start_work(i, cpu_work, 0));
	if (host_cpus() == 1 && !heartbeat_start())
		host_log(HOST_WARN, "no I/O APIC: nothing may stop a guest that keeps interrupts off");
	runner_cpu_loop(0);
	latency_print();
	gdb_stub_finish();
	platform_finish(guests.failed ? "FAIL" : "PASS", guests.failed ? 1 : 0);
}
