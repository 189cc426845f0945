/* SPDX-License-Identifier: MIT */
/* The replicas, kept up by harvests from another core than the guest's, the continuous audit, and the end of a guest, which
 * needs the last harvest. All of it runs on guests.walker_cpu, so that nothing here meets itself. */
#include "guest/gdb_watch.h"
#include "guest/text.h"
#include "hv/gdb_stub.h"
#include "hv/irqoff.h"
#include "hv/latency.h"
#include "hv/log.h"
#include "hv/options.h"
#include "hv/runner.h"
#include "mm/page.h"
#include "mm/rcu.h"

#define BUSY_US 200     /* another harvest has the turn: try again so much later; also between two rows of steps */
#define AUDIT_STEPS 16  /* of audit=continuous, in a row */
#define PASS_US 20000   /* between two of its passes */
#define RESTARTED "restarted by the monitor" /* a guest's end that is no verdict */

static void print_longest(const struct vm *vm)
{
	const char *where;
	uint64_t exits = 0, emulated = 0;

	for (unsigned i = 0; i < vm->vcpus; i++) {
		exits += vcpu_exits(vm->vcpu[i]);
		emulated += load_relaxed(&vm->vcpu[i]->emulated);
	}
	host_log(HOST_INFO, "%s: longest page fault %lu us, lock hold %lu us, interrupts off %lu us; %lu VM exits",
		vm->config.name, ticks_us(mmu_faults(&vm->mmu).worst_fault),
		ticks_us(load_relaxed(&vm->mmu.lock.longest)), ticks_us(irqoff_longest(&where)), exits);
	if (emulated)
		host_log(HOST_INFO, "%s: %lu instructions emulated; %lu accesses to memory that is not there",
			vm->config.name, emulated, load_relaxed(&vm->mmio.unclaimed));
}

/* Frames that no guest has but by the slabs, which they share. While others run it is not quite still: frames go to the slabs. */
static uint64_t pages(void)
{
	return page_free_count() + slab_pages();
}

/* restart=: after its last life a guest has left as many free as after its first. */
static void compare_pages(struct guest *g, const char *name)
{
	uint64_t after, until = host_clock() + host_clock_hz();

	if (!load_relaxed(&g->lives)) {
		g->pages = pages();
		g->left = load_relaxed(&guests.left);
	}
	if (g->again || !load_relaxed(&g->lives) || !g->counted)
		return;
	if (load_relaxed(&guests.left) != g->left) {
		host_print("PAGES %s not compared: another guest ended meanwhile", name);
		guests.failed = true;
		return;
	}
	do
		after = pages();
	while (after != g->pages && host_clock() < until);
	host_print("PAGES %s free before=%lu after=%lu, made anew %u times", name, g->pages, after, load_relaxed(&g->lives));
	guests.failed |= after != g->pages;
}

/* The vCPUs have stopped, with their handlers. False: another harvest has the turn. */
static bool end_guest(struct guest *g)
{
	struct vm *vm = g->vm;
	uint64_t differing = 0, violations = 0;
	gfn_t first;
	unsigned index = (unsigned)(g - guests.guest);
	char name[CONFIG_NAME];
	bool pass;

	if (vm->has_replica && replica_round(&vm->replica, 0) == LOG_BUSY)
		return false;
	if (options.audit != OPTION_AUDIT_OFF)
		violations = mmu_audit(&vm->mmu);
	if (violations == MMU_AUDIT_BUSY)
		return false;
	log_wait_room();
	vm_console_flush(vm);
	print_longest(vm);
	report_exits(g);
	if (options.audit == OPTION_AUDIT_CONTINUOUS)
		host_log(HOST_INFO, "%s: audited %lu times while it ran", vm->config.name, g->passes);
	if (violations) {
		host_log(HOST_ERROR, "%s: the audit of its MMU found %lu violations", vm->config.name, violations);
		guests.failed = true;
	}
	if (vm->has_replica) {
		differing = replica_compare(&vm->replica, &first);
		vm_print_replica(vm, differing, first);
	}
	if (text_equal(vm->reason, RESTARTED)) {
		host_print("umbra: %s: " RESTARTED, vm->config.name);
		pass = !differing;
		g->again++;
	} else {
		pass = vm_print_verdict(vm, !differing);
	}
	if (!pass)
		guests.failed = true;
	store_relaxed(&g->passed, pass); /* before ended */
	if (!g->again)
		gdb_stub_guest_over(index, pass);
	text_copy(name, sizeof name, vm->config.name);
	gdb_watch_forget(&vm->mmu); /* another guest's may lie there next; until here gdb sees that this one ends, and adds none */
	store_release(&vm->state, VM_ENDED);
	store_release(&g->ended, 1); /* partner: table_poll */
	rcu_wait(RCU_MASK_ALL);
	latency_guest_over(index, name, vmset_destroy_vm(vm));
	compare_pages(g, name);
	if (g->again && guest_again(g, name)) {
		g->again--;
		return true;
	}
	guests.failed |= g->again != 0;
	fetch_sub_seq(&guests.left, 1);
	return true;
}

/* audit=continuous: a few steps of the pass under way. Returns the TSC of the next ones. */
static uint64_t audit(struct guest *g, uint64_t now)
{
	enum audit_outcome o = AUDIT_MORE;

	if (options.audit != OPTION_AUDIT_CONTINUOUS)
		return RUNNER_NEVER;
	if (now < g->next_audit)
		return g->next_audit;
	if (!g->audit.mmu)
		audit_begin(&g->audit, &g->vm->mmu);
	for (unsigned i = 0; i < AUDIT_STEPS && o == AUDIT_MORE; i++)
		o = audit_step(&g->audit);
	if (o == AUDIT_DONE) {
		g->passes++;
		g->audit.mmu = 0;
	}
	if (g->audit.violations && vm_running(g->vm)) {
		vm_end_fail(g->vm, "audit: %lu violations of the MMU's invariants", g->audit.violations);
		for (unsigned i = 0; i < g->runners; i++)
			runner_attend(g->runner[i].cpu);
	}
	return g->next_audit = host_clock() + us_ticks(o == AUDIT_DONE ? PASS_US : BUSY_US);
}

static bool stopped(const struct guest *g)
{
	for (unsigned i = 0; i < g->runners; i++)
		if (!load_acquire(&g->runner[i].stopped)) /* partner: stop() in runner.c */
			return false;
	return true;
}

bool guest_restart(struct guest *g, uint32_t life, const char **why)
{
	*why = 0;
	if (load_relaxed(&g->lives) != life)
		return true;
	if (load_relaxed(&g->ended)) {
		if (!load_relaxed(&guests.left))
			*why = "the machine is about to end";
		else if (guest_again(g, g->name))
			fetch_add_seq(&guests.left, 1);
		else
			*why = "it cannot be made anew";
		guests.failed |= *why != 0;
		return true;
	}
	vm_end_fail(g->vm, RESTARTED);
	for (unsigned i = 0; i < g->runners; i++)
		runner_attend(g->runner[i].cpu);
	return false;
}

/* A guest whose vCPUs run. Returns the TSC of the next thing to do. */
static uint64_t attend(struct guest *g, uint64_t now)
{
	uint64_t next = audit(g, now);

	if (!g->vm->has_replica)
		return next;
	if (now >= g->next_round) {
		bool busy = replica_round(&g->vm->replica, 0) == LOG_BUSY;

		g->next_round = host_clock() + us_ticks(busy ? BUSY_US : g->vm->config.period_us);
	}
	return g->next_round < next ? g->next_round : next;
}

uint64_t walker_poll(uint64_t now)
{
	uint64_t next = RUNNER_NEVER;

	for (unsigned i = 0; i < guests.n; i++) {
		struct guest *g = &guests.guest[i];
		uint64_t again = RUNNER_NEVER;

		if (load_relaxed(&g->ended))
			continue;
		if (!stopped(g))
			again = attend(g, now);
		else if (!end_guest(g))
			again = now + us_ticks(BUSY_US);
		next = again < next ? again : next;
	}
	return next;
}
