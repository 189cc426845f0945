/* SPDX-License-Identifier: MIT */
/* Local APICs and activity.c between threads. Each is a CPU with one vCPU and plays its run loop: turns, entries that deliver,
 * and a guest that sends to the others, ends interrupts and halts at random; vm.attend is what ends its sleep. When all have sent
 * what they had to, each goes on until its run loop would wait; what a lost notice left behind is found then. */
#include "tools/host/lapic_test.h"

#define CPUS LAPIC_TEST_VCPUS
#define VICTIM (CPUS - 1) /* vCPU 0 sends it INIT and start-ups */
#define VECTORS 4         /* of each sender */
#define ACTIONS 4000 /* of vCPU 0; the others do what they can meanwhile */
#define ROUNDS 100
#define SHORT_LIFE 40
#define LIVES 400
#define SLICE 16
#define ERROR_VECTOR 0x2f
#define WAITS 2000000 /* for a turn, before that is a hang */

struct cpu {
	atomic32 asked;                       /* for a turn */
	atomic64 sent[CPUS][VECTORS];         /* to this vCPU, by whom; before the request */
	atomic64 nmis;                        /* the same */
	atomic64 seen[CPUS][VECTORS], seen_nmis; /* what was sent when the last was delivered */
	uint64_t seed;
	unsigned actions, taken;
	bool hangs;
} __attribute__((aligned(64)));

static struct cpu cpu[CPUS];
static atomic32 begun, finished;
static atomic32 last; /* fell asleep as the last */
static uint8_t startup;
static unsigned life;
static bool all_may_sleep;

static uint8_t vector_of(unsigned sender, unsigned k)
{
	return (uint8_t)(0x30 + 0x40 * k + 4 * sender);
}

/* As hv/run.c has it. */
static void attend(struct vcpu *v)
{
	if (v->index == host_cpu() && v->activity == VCPU_RUNNABLE && !load_relaxed(&v->signals))
		return;
	store_release(&cpu[v->index].asked, 1);
}

static void deliver(struct vcpu *v, int vector)
{
	struct cpu *c = &cpu[v->index];

	c->taken++;
	for (unsigned i = 0; i < CPUS; i++)
		for (unsigned k = 0; k < VECTORS; k++)
			if (vector_of(i, k) == vector)
				store_relaxed(&c->seen[i][k], load_relaxed(&c->sent[i][k]));
}

/* As hv/inject.c has it, for a guest with interrupts on, and NMIs besides. */
static void before_entry(struct vcpu *v)
{
	struct cpu *c = &cpu[v->index];
	int vector;

	xchg_seq(&v->attention, 0);
	if (load_relaxed(&v->signals) & ~SIGNAL_NMI) {
		vcpu_attract(v);
		return;
	}
	if (fetch_and_seq(&v->signals, ~SIGNAL_NMI) & SIGNAL_NMI)
		store_relaxed(&c->seen_nmis, load_relaxed(&c->nmis));
	if (!vm_interrupt_pending(v))
		return;
	vector = vm_interrupt_acknowledge(v);
	if (vector >= 0)
		deliver(v, vector);
	if (vm_interrupt_pending(v))
		store_relaxed(&v->attention, 1); /* the window opens at once */
}

/* As hv/exit.c has it. False: this was the last one awake. */
static bool halt(struct vcpu *v, bool interrupts)
{
	v->activity = interrupts ? VCPU_HALTED : VCPU_ASLEEP;
	if (interrupts || !vm_fall_asleep(v))
		return true;
	store_relaxed(&last, v->index + 1);
	vm_end_fail(vm, "all are asleep");
	return false;
}

/* Not before the last of its kind was delivered: one that is lost is not made up for by the next. */
static void send_interrupt(struct vcpu *v, unsigned to, unsigned k)
{
	if (to != VICTIM && load_relaxed(&cpu[to].seen[v->index][k]) != load_relaxed(&cpu[to].sent[v->index][k]))
		return;
	count_add(&cpu[to].sent[v->index][k], 1);
	page_out(v, PAGE_ICR_HIGH, to << 24);
	page_out(v, PAGE_ICR, vector_of(v->index, k));
}

static void send_nmi(struct vcpu *v, unsigned to)
{
	if (to != VICTIM && load_relaxed(&cpu[to].seen_nmis) != load_relaxed(&cpu[to].nmis))
		return;
	fetch_add_seq(&cpu[to].nmis, 1);
	page_out(v, PAGE_ICR_HIGH, to << 24);
	page_out(v, PAGE_ICR, 0x4400);
}

static void send_startup(struct vcpu *v)
{
	startup = (uint8_t)(startup % 255 + 1);
	page_out(v, PAGE_ICR_HIGH, (uint32_t)VICTIM << 24);
	page_out(v, PAGE_ICR, 0xc500);
	page_out(v, PAGE_ICR, 0x8500);
	page_out(v, PAGE_ICR, 0x4600 | startup);
	if (startup & 1)
		page_out(v, PAGE_ICR, 0x4600 | startup);
}

/* Writes no register that has its value already: each may have it look for interrupts anew. */
static void end_all(struct vcpu *v)
{
	if (page_in(v, PAGE_TPR))
		page_out(v, PAGE_TPR, 0);
	while (page_in(v, PAGE_PPR))
		page_out(v, PAGE_EOI, 0);
}

/* One thing that the guest does. */
static void act(struct vcpu *v)
{
	struct cpu *c = &cpu[v->index];
	uint64_t r = host_random(&c->seed);
	unsigned to = r >> 8 & 3;

	if (page_in(v, PAGE_SVR) != TEST_SVR_ON) /* after a start-up */
		software_enable(v);
	c->actions++;
	switch (r & 15) {
	case 0 ... 3:
		send_interrupt(v, to, r >> 10 & 3);
		return;
	case 4:
		send_nmi(v, to);
		return;
	case 5:
		if (v->index == 0 && !all_may_sleep)
			send_startup(v);
		return;
	case 6:
		lapic_send(vm, &(struct apic_message){.destination = to, .vector = 5});
		page_out(v, PAGE_LVT_ERROR, ERROR_VECTOR);
		page_out(v, PAGE_ESR, 0);
		return;
	case 7:
		page_out(v, PAGE_LVT_LINT0, v->index ? TEST_MASKED : 0x700 | (r & TEST_MASKED));
		vm_tick(vm, host_clock());
		return;
	case 8:
		page_out(v, PAGE_TPR, r >> 16 & 0x70);
		return;
	case 9 ... 11:
		page_out(v, PAGE_EOI, 0);
		return;
	case 12 ... 13:
		end_all(v);
		if (v->index && !all_may_sleep)
			halt(v, true);
		return;
	default:
		if (v->index || all_may_sleep)
			halt(v, false);
		else
			send_nmi(v, to);
	}
}

/* Entries, until the run loop is asked for a turn. done: the guest has nothing more to do than to end its interrupts. */
static void slice(struct vcpu *v, bool done)
{
	for (unsigned i = 0; i < SLICE && v->activity == VCPU_RUNNABLE && !load_acquire(&cpu[v->index].asked); i++) {
		if (load_relaxed(&v->attention)) {
			before_entry(v);
		} else if (!done) {
			act(v);
		} else {
			end_all(v);
			host_relax();
			return;
		}
	}
}

static void turn(struct vcpu *v)
{
	xchg_seq(&cpu[v->index].asked, 0); /* before anything is looked at */
	if (load_relaxed(&v->attention))
		vcpu_attend(v);
}

static bool idle(const struct vcpu *v)
{
	return v->activity != VCPU_RUNNABLE || !load_relaxed(&v->attention);
}

static void run(void *arg)
{
	struct cpu *c = &cpu[host_cpu()];
	struct vcpu *v = vcpu(host_cpu());
	const unsigned actions = *(unsigned *)arg;
	bool told = false;

	fetch_add_seq(&begun, 1);
	while (load_acquire(&begun) < CPUS)
		host_relax();
	for (unsigned waits = 0; vm_running(vm);) {
		bool over = load_acquire(&finished) == CPUS, asked = load_acquire(&c->asked);

		/* vCPU 0, which does not sleep, goes first: who sleeps then is woken no more. */
		if (!told && (v->index ? load_acquire(&finished) > 0 : c->actions >= actions)) {
			told = true;
			if (v->index == 0 && !all_may_sleep)
				send_startup(v);
			fetch_add_seq(&finished, 1);
		}
		turn(v);
		if (v->activity != VCPU_RUNNABLE) {
			if (!asked && over && !all_may_sleep)
				return;
			c->hangs = ++waits > WAITS;
			if (c->hangs)
				return;
			host_relax();
			continue;
		}
		waits = 0;
		if (all_may_sleep && (told || c->actions >= actions) && !load_relaxed(&v->attention)) {
			halt(v, false);
			continue;
		}
		slice(v, told);
		if (!all_may_sleep && told && over && !asked && idle(v) && !load_acquire(&c->asked))
			return;
	}
}

static void begin(bool sleep)
{
	all_may_sleep = sleep;
	vm->attend = attend;
	memset(cpu, 0, sizeof cpu);
	store_relaxed(&begun, 0);
	store_relaxed(&finished, 0);
	store_relaxed(&last, 0);
	for (unsigned i = 0; i < CPUS; i++) {
		struct vcpu *v = vcpu(i);

		cpu[i].seed = 0x9e3779b97f4a7c15UL * (i + 1 + life++);
		vcpu_reset_multiboot(v, 0, 0, 0);
		lapic_init(v);
		page_out(v, PAGE_LVT_LINT0, TEST_MASKED);
		software_enable(v);
		store_relaxed(&v->attention, 0);
		page_out(v, PAGE_LVT_ERROR, ERROR_VECTOR);
		store_relaxed(&v->asleep, 0);
		store_relaxed(&v->signals, 0);
	}
	store_relaxed(&vm->awake, CPUS);
	store_release(&vm->state, VM_RUNNING);
	store_relaxed(&vm->claimed, 0);
}

/* All that was requested, one after the other. */
static void drain(struct vcpu *v)
{
	do
		end_all(v);
	while ((lapic_pending(v) >= 0 && (deliver(v, take(v)), true)));
}

static void check_round(void)
{
	unsigned awake = 0;

	assert_true(vm_running(vm));
	for (unsigned i = 0; i < CPUS; i++) {
		struct vcpu *v = vcpu(i);
		bool asleep = v->activity == VCPU_ASLEEP || v->activity == VCPU_OFF;

		assert_false(cpu[i].hangs);
		assert_int_equal(load_relaxed(&v->asleep), asleep);
		assert_int_equal(load_relaxed(&v->signals), 0);
		awake += !asleep;
		if (!asleep)
			assert_int_equal(lapic_pending(v), -1);
		if (i == VICTIM)
			continue;
		assert_int_equal(load_relaxed(&cpu[i].seen_nmis), load_relaxed(&cpu[i].nmis));
		drain(v);
		for (unsigned from = 0; from < CPUS; from++)
			for (unsigned k = 0; k < VECTORS; k++)
				assert_int_equal(load_relaxed(&cpu[i].seen[from][k]), load_relaxed(&cpu[i].sent[from][k]));
	}
	assert_int_equal(load_relaxed(&vm->awake), awake);
	/* The last start-up came behind the last INIT. */
	assert_int_not_equal(vcpu(VICTIM)->activity, VCPU_OFF);
	assert_int_equal(load_relaxed(&vcpu(VICTIM)->startup), startup);
}

static void nothing_is_lost(void **state)
{
	unsigned actions = ACTIONS, taken = 0;

	(void)state;
	for (unsigned n = 0; n < ROUNDS; n++) {
		begin(false);
		host_run_cpus(CPUS, run, &actions);
		check_round();
		for (unsigned i = 0; i < CPUS; i++)
			taken += cpu[i].taken;
	}
	assert_true(taken > ROUNDS * 100);
}

/* All may sleep so that NMIs alone wake them: the guest ends when the last does, and not before. */
static void the_last_one_asleep_is_the_last(void **state)
{
	unsigned actions = SHORT_LIFE;

	(void)state;
	for (unsigned n = 0; n < LIVES; n++) {
		begin(true);
		host_run_cpus(CPUS, run, &actions);
		assert_false(vm_running(vm));
		assert_int_equal(load_relaxed(&vm->awake), 0);
		for (unsigned i = 0; i < CPUS; i++) {
			assert_false(cpu[i].hangs);
			assert_int_equal(vcpu(i)->activity, VCPU_ASLEEP);
			assert_true(load_relaxed(&vcpu(i)->asleep) && load_relaxed(&vcpu(i)->signals) == 0);
			assert_int_equal(load_relaxed(&cpu[i].seen_nmis), load_relaxed(&cpu[i].nmis));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		lapic_unit_test(nothing_is_lost),
		lapic_unit_test(the_last_one_asleep_is_the_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
