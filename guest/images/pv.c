/* SPDX-License-Identifier: MIT */
/* pv: KVM's paravirtual interface (Linux, Documentation/virt/kvm/x86), each part for itself, with a second vCPU where there is one.
 *
 *   interrupts=1000      of each kind
 *   rounds=100           of TLB flushes
 *   clocks=20000         readings of the clock by each vCPU
 *
 * clock   never runs backwards, whichever vCPU reads it by its own TSC, keeps up with the PIT, and tells the RTC's time
 * eoi     interrupts are delivered once each, one by one and two at a time
 * tlb     a vCPU that halts is told to flush by a bit in memory, and then uses the new translation
 * ipi     one hypercall interrupts both
 * A part that CPUID does not show is skipped; its MSR must then fault, and without any part so must VMCALL.
 *
 * Metrics, exits of all vCPUs in hundredths: 1 an interrupt to itself whose end is a cleared bit, 2 one whose end is a write to
 * the APIC; 3 a TLB flush of a vCPU that halts, 4 of 100 translations, those that are stale without it; 5 an interrupt to two
 * vCPUs by a hypercall, 6 by the APIC.
 */
#include "guest/images/lib.h"

#define SIGNATURE 0x40000100u
#define FEATURES 0x40000101u
#define HAS_CLOCK (1u << 3)
#define HAS_STEAL (1u << 5)
#define HAS_EOI (1u << 6)
#define HAS_TLB (1u << 9)
#define HAS_IPI (1u << 11)
#define STABLE (1u << 24)
#define MSR_WALL 0x4b564d00u
#define MSR_CLOCK 0x4b564d01u
#define MSR_STEAL 0x4b564d03u
#define MSR_EOI 0x4b564d04u

#define MSR_APIC_BASE 0x1bu
#define X2APIC_ON 0xc00u
#define X2APIC_EOI 0x80bu
#define X2APIC_SVR 0x80fu
#define X2APIC_ICR 0x830u
#define X2APIC_SELF 0x83fu
#define SVR_ON 0x1ffu

#define IRQ_SELF 1
#define IRQ_OTHER 2
#define IRQ_WAKE 3
#define VCPUS 2
#define WINDOW PAGE_1G
#define MSEC 1000000UL /* nanoseconds */
#define PIT_HZ 1193182UL
#define TRIES 10
#define FOREVER 1000000000UL /* turns of a loop after which an interrupt is lost */

struct clock {
	volatile uint32_t version;
	uint32_t zero;
	uint64_t tsc, time;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, zeros[34];
} __attribute__((aligned(64)));
struct steal {
	volatile uint64_t time;
	volatile uint32_t version, flags;
	volatile uint8_t preempted;
	uint8_t zeros[47];
} __attribute__((aligned(64)));

extern void smp_entry(void);
extern struct {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed)) smp_idt;

enum task { TASK_NONE, TASK_CLOCK, TASK_LOOK, TASK_SPIN };

static struct clock clock[VCPUS];
static struct steal steal[VCPUS];
static struct { uint64_t flags, zeros[7]; } eoi[VCPUS] __attribute__((aligned(64)));
static struct { volatile uint32_t version, seconds, nanoseconds; } wall __attribute__((aligned(64)));
static uint32_t features;
static bool two, pv_eoi, amd;
static volatile uint64_t heard[16];
static volatile uint32_t turn, done, ready; /* the second vCPU's: asked for; through */
static volatile enum task task;
static volatile uint64_t looked, ran;
static volatile bool stop;
static uint64_t latest;

static uint32_t exits(void)
{
	return abi_in32(ABI_PORT_EXITS);
}

/* Without an exit: only the first vCPU has loaded TR. */
static unsigned me(void)
{
	uint16_t tr;

	__asm__ volatile("str %0" : "=r"(tr));
	return tr == 0;
}

static void on_irq(unsigned irq)
{
	unsigned i = me();
	bool offered = false;

	__atomic_fetch_add(&heard[irq], 1, __ATOMIC_SEQ_CST);
	if (pv_eoi && features & HAS_EOI)
		__asm__ volatile("btrq $0, %0; setc %1" : "+m"(eoi[i].flags), "=r"(offered) : : "cc", "memory");
	if (!offered)
		wrmsr(X2APIC_EOI, 0);
}

static void apic_on(unsigned i)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | X2APIC_ON);
	wrmsr(X2APIC_SVR, SVR_ON);
	if (features & HAS_CLOCK)
		wrmsr(MSR_CLOCK, (uint64_t)&clock[i] | 1);
	if (features & HAS_STEAL)
		wrmsr(MSR_STEAL, (uint64_t)&steal[i] | 1);
	if (features & HAS_EOI)
		wrmsr(MSR_EOI, (uint64_t)&eoi[i] | 1);
}

static void send(unsigned to, unsigned irq)
{
	wrmsr(X2APIC_ICR, (uint64_t)to << 32 | (VECTOR_IRQ + irq));
}

/* ---- the clock ---- */

static uint64_t clock_by(const struct clock *c)
{
	uint32_t version;
	uint64_t t;

	do {
		unsigned __int128 ticks;

		version = c->version;
		__asm__ volatile("" : : : "memory");
		ticks = rdtsc() - c->tsc;
		ticks = c->shift < 0 ? ticks >> -c->shift : ticks << c->shift;
		t = c->time + (uint64_t)(ticks * c->mul >> 32);
		__asm__ volatile("" : : : "memory");
	} while (version % 2 || version != c->version);
	return t;
}

/* Both vCPUs, at once: by their own page and by the first one's. */
static void read_clocks(unsigned i)
{
	uint64_t n = arg_number("clocks", 20000);

	while (n--) {
		uint64_t before = __atomic_load_n(&latest, __ATOMIC_SEQ_CST), now = clock_by(&clock[n % 2 ? i : 0]);

		if (now < before)
			deviation("vCPU %u: %lu ns after %lu ns", i, now, before);
		while (before < now && !__atomic_compare_exchange_n(&latest, &before, now, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			;
	}
}

static void ask(enum task what, bool wake)
{
	task = what;
	turn++;
	if (wake)
		send(1, IRQ_WAKE);
}

static bool answered(void)
{
	for (uint64_t n = 0; n < FOREVER; n++) {
		if (done == turn)
			return true;
		__builtin_ia32_pause();
	}
	deviation("the second vCPU does not answer");
	return false;
}

static void pit_wait(uint32_t count)
{
	abi_out8(0x61, (uint8_t)((abi_in8(0x61) & ~3) | 1));
	abi_out8(0x43, 0xb0); /* channel 2, both bytes, mode 0 */
	abi_out8(0x42, (uint8_t)count);
	abi_out8(0x42, (uint8_t)(count >> 8));
	while (!(abi_in8(0x61) & 0x20))
		;
}

static unsigned cmos(unsigned index)
{
	unsigned value;

	abi_out8(0x70, (uint8_t)index);
	value = abi_in8(0x71);
	return (value >> 4) * 10 + (value & 15);
}

static void test_clock(void)
{
	uint64_t best = ~0UL, least = ~0UL, seconds, rtc, ticks = 20 * PIT_HZ / 1000;

	ask(TASK_CLOCK, true);
	read_clocks(0);
	if (two)
		answered();
	report(!deviations(), "the clock goes forwards, read by %s", two ? "two vCPUs" : "one vCPU");
	report(!(features & STABLE) || clock[0].flags & 1, "it is said to be the same for all");
	for (unsigned i = 0; i < TRIES; i++) {
		uint64_t start = clock_by(&clock[0]), took;

		pit_wait((uint32_t)ticks);
		took = clock_by(&clock[0]) - start;
		best = took < best ? took : best;
		least = took < least ? took : least;
	}
	report(least >= 20 * MSEC - MSEC / 50 && best < 22 * MSEC, "20 ms by the PIT are %lu us", best / 1000);
	wrmsr(MSR_WALL, (uint64_t)&wall);
	while (abi_out8(0x70, 0xa), abi_in8(0x71) & 0x80)
		;
	rtc = cmos(2) * 60 + cmos(0);
	seconds = (wall.seconds + clock_by(&clock[0]) / 1000000000UL) % 3600;
	report((seconds - rtc + 3600) % 3600 <= 1 && wall.version % 2 == 0, "it tells the RTC's time");
}

/* Exits for an interrupt to itself, in hundredths. */
static uint64_t self_interrupts(uint64_t n)
{
	uint32_t before = exits(), after;
	uint64_t old = heard[IRQ_SELF];

	irq_on();
	for (uint64_t i = 0; i < n; i++)
		wrmsr(X2APIC_SELF, VECTOR_IRQ + IRQ_SELF);
	irq_off();
	after = exits();
	if (heard[IRQ_SELF] - old != n)
		deviation("%lu interrupts, %lu heard", n, heard[IRQ_SELF] - old);
	return (after - before - 1) * 100 / n;
}

static void two_at_a_time(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		uint64_t a = heard[IRQ_SELF], b = heard[IRQ_OTHER];

		wrmsr(X2APIC_SELF, VECTOR_IRQ + IRQ_SELF);
		wrmsr(X2APIC_SELF, VECTOR_IRQ + IRQ_OTHER);
		irq_on();
		__asm__ volatile("nop; nop" : : : "memory");
		for (uint64_t k = 0; k < FOREVER && (heard[IRQ_SELF] == a || heard[IRQ_OTHER] == b); k++)
			__builtin_ia32_pause();
		irq_off();
		if (heard[IRQ_SELF] != a + 1 || heard[IRQ_OTHER] != b + 1)
			deviation("of two interrupts, %lu and %lu were heard", heard[IRQ_SELF] - a, heard[IRQ_OTHER] - b);
	}
}

static void test_eoi(uint64_t n)
{
	uint64_t plain, offered;

	pv_eoi = false;
	plain = self_interrupts(n);
	two_at_a_time(n / 10);
	report(!deviations(), "%lu interrupts ended by the APIC", n);
	metric(2, "exits in hundredths, an interrupt ended by the APIC", plain);
	if (!(features & HAS_EOI)) {
		skip("no end of interrupts by a bit");
		return;
	}
	pv_eoi = true;
	offered = self_interrupts(n);
	two_at_a_time(n / 10);
	report(!deviations(), "%lu interrupts ended by a bit", n);
	metric(1, "exits in hundredths, an interrupt ended by a bit", offered);
	report(offered + 50 < plain, "a bit saves an exit");
}

static bool halts(void)
{
	for (uint64_t n = 0; n < FOREVER; n++) {
		if (steal[1].preempted & 1)
			return true;
		__builtin_ia32_pause();
	}
	deviation("a vCPU that halts does not say so");
	return false;
}

/* The second vCPU looks, halts, and looks again after the entry was changed. Returns exits of telling it to flush. */
static uint64_t one_flush(uint64_t *entry, uint64_t frame, uint64_t is, bool tell, uint64_t *stale, bool *told)
{
	uint8_t was = 1;
	uint32_t before, after;

	ask(TASK_LOOK, true);
	if (!answered() || !halts())
		return 0;
	*(volatile uint64_t *)entry = *entry; /* its first write after a flush exits */
	before = exits();
	*(volatile uint64_t *)entry = frame | PTE_P | PTE_W | PTE_A | PTE_D;
	*told = tell && __atomic_compare_exchange_n(&steal[1].preempted, &was, 3, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	after = exits();
	ask(TASK_LOOK, true);
	if (!answered())
		return 0;
	*stale = looked != is;
	if (ran)
		deviation("a vCPU that runs is said not to");
	return after - before - 1;
}

static void test_flush(uint64_t rounds)
{
	uint64_t frame[2], *entry, total = 0, stale = 0, all_stale = 0, flushed = 0, without_exit = 0;

	for (unsigned i = 0; i < 2; i++) {
		frame[i] = memory_take(PAGE, PAGE);
		*(uint64_t *)frame[i] = 0xa + i;
	}
	paging_map(boot_root, WINDOW, frame[0], PAGE, 1, PTE_P | PTE_W | PTE_A | PTE_D);
	entry = paging_entry(boot_root, WINDOW, 1, false);
	for (uint64_t i = 1; i <= rounds; i++) {
		bool told;

		one_flush(entry, frame[i % 2], 0xa + i % 2, false, &stale, &told);
		all_stale += stale;
	}
	metric(4, "of 100 translations, stale without a flush", all_stale * 100 / rounds);
	for (uint64_t i = 1; i <= rounds; i++) {
		bool told;
		uint64_t cost = one_flush(entry, frame[i % 2], 0xa + i % 2, true, &stale, &told);

		if (told && stale)
			deviation("round %lu: the old translation after a flush: %lx", i, looked);
		if (told)
			total += cost;
		flushed += told;
		without_exit += told && !cost;
	}
	report(!deviations() && flushed, "%lu of %lu flushes by a bit in memory, each of effect", flushed, rounds);
	metric(3, "exits in hundredths, a flush of a vCPU that halts", total * 100 / (flushed | !flushed));
	report(without_exit * 2 > flushed, "most of them cost no exit");
}

static int64_t hypercall(uint64_t number, uint64_t low, uint64_t high, uint64_t first, uint64_t icr)
{
	int64_t result;

	if (amd)
		__asm__ volatile("vmmcall" : "=a"(result) : "a"(number), "b"(low), "c"(high), "d"(first), "S"(icr) : "memory");
	else
		__asm__ volatile("vmcall" : "=a"(result) : "a"(number), "b"(low), "c"(high), "d"(first), "S"(icr) : "memory");
	return result;
}

static uint64_t both(uint64_t n, bool by_call)
{
	uint32_t before = exits(), after;

	irq_on();
	for (uint64_t i = 0; i < n; i++) {
		uint64_t old = heard[IRQ_OTHER];

		if (!by_call) {
			send(0, IRQ_OTHER);
			send(1, IRQ_OTHER);
		} else if (hypercall(10, 3, 0, 0, VECTOR_IRQ + IRQ_OTHER) != 2) {
			deviation("not two were interrupted");
		}
		for (uint64_t k = 0; k < FOREVER && heard[IRQ_OTHER] < old + 2; k++)
			__builtin_ia32_pause();
		if (heard[IRQ_OTHER] != old + 2)
			deviation("an interrupt to two was heard %lu times", heard[IRQ_OTHER] - old);
	}
	irq_off();
	after = exits();
	return (after - before - 1) * 100 / n;
}

static void test_ipi(uint64_t n)
{
	stop = false;
	ask(TASK_SPIN, true);
	metric(6, "exits in hundredths, an interrupt to two by the APIC", both(n, false));
	metric(5, "exits in hundredths, an interrupt to two by a hypercall", both(n, true));
	stop = true;
	answered();
	report(!deviations(), "%lu interrupts to two by a hypercall", n);
	report(hypercall(10, 1, 0, 1, VECTOR_IRQ + IRQ_WAKE) == 1, "an interrupt from an APIC id on");
	report(hypercall(10, ~3UL, ~0UL, 0, VECTOR_IRQ + IRQ_WAKE) == 0, "an interrupt to nobody");
	report(hypercall(10, 3, 0, 0, 5 << 8) == -22, "INIT by a hypercall is refused");
	report(hypercall(0x1234, 0, 0, 0, 0) == -1000, "an unknown hypercall is refused");
}

/* ---- the second vCPU ---- */

void smp_main(uint32_t index)
{
	apic_on(index);
	ready = 1;
	for (uint32_t seen = 0;;) {
		while (turn == seen)
			irq_wait();
		seen = turn;
		switch (task) {
		case TASK_CLOCK:
			read_clocks(index);
			break;
		case TASK_LOOK:
			ran = features & HAS_STEAL ? steal[index].preempted : 0;
			looked = *(volatile uint64_t *)WINDOW;
			break;
		case TASK_SPIN:
			irq_on();
			while (!stop)
				__builtin_ia32_pause();
			irq_off();
			break;
		case TASK_NONE:
			break;
		}
		done = seen;
	}
}

static uint64_t try_wrmsr(uint64_t msr, uint64_t value)
{
	wrmsr((uint32_t)msr, value);
	return 0;
}

static uint64_t try_call(uint64_t a, uint64_t b)
{
	(void)a;
	(void)b;
	return (uint64_t)hypercall(10, 0, 0, 0, 0);
}

static void test_absent(uint32_t part, uint32_t msr, const char *name)
{
	struct fault fault;

	if (features & part)
		return;
	skip(name);
	trap_try(&fault, try_wrmsr, msr, 0);
	report(fault.vector == VECTOR_GP, "MSR %x: %s", msr, vector_name(fault.vector));
}

void image_main(void)
{
	uint64_t n = arg_range("interrupts", 1000, 10, 1000000);
	struct cpuid s = cpuid(SIGNATURE, 0);
	struct fault fault;

	if (s.b == 0x4b4d564b && s.c == 0x564b4d56 && s.d == 0x4d)
		features = cpuid(FEATURES, 0).a;
	amd = cpuid(0, 0).b == 0x68747541; /* "Auth…" */
	print("pv: features %x\n", features);
	test_absent(HAS_CLOCK, MSR_CLOCK, "no clock");
	test_absent(HAS_CLOCK, MSR_WALL, "no date");
	test_absent(HAS_STEAL, MSR_STEAL, "no steal time");
	test_absent(HAS_EOI, MSR_EOI, "no end of interrupts by a bit");
	if (!features) {
		skip("no hypercalls");
		trap_try(&fault, try_call, 0, 0);
		report(fault.vector == VECTOR_UD, "a hypercall: %s", vector_name(fault.vector));
	}
	abi_out8(0x21, 0xff);
	abi_out8(0xa1, 0xff);
	irq_handler = on_irq;
	apic_on(0);
	if (abi_vcpus() >= VCPUS) {
		__asm__ volatile("sidt %0" : "=m"(smp_idt));
		two = true;
		abi_vcpu_start(1, (uint32_t)(uint64_t)smp_entry);
		while (!ready)
			__builtin_ia32_pause();
	}
	if (features & HAS_CLOCK)
		test_clock();
	test_eoi(n);
	if (!two)
		skip("one vCPU: nobody to flush or to interrupt");
	else if (!(features & HAS_TLB))
		skip("no TLB flush by a bit");
	else
		test_flush(arg_range("rounds", 100, 1, 1000000));
	if (two && features & HAS_IPI)
		test_ipi(n);
	else if (two)
		skip("no interrupts by a hypercall");
}
