/* SPDX-License-Identifier: MIT */
/* signals: what APICs send besides interrupts. NMIs, to this vCPU and to another; INIT and start-up.
 *
 *   rounds=200     of each
 *
 * self     an NMI is taken once each, with interrupts off
 * blocked  one that comes while another is handled waits for the IRET, and no longer
 * wake     one ends a HLT with interrupts off, of a vCPU that nothing else can wake
 * spin     a vCPU that spins takes them, one or more at a time
 * restart  INIT stops a vCPU wherever it is, first in the handler of an NMI, and a start-up has it begin in real mode at the page it
 *          names
 * held     the same where its last act waits for the other vCPU to stand still
 * asleep   an interrupt that comes at STI ends the HLT behind it
 */
#include "guest/images/lib.h"

#define MSR_APIC_BASE 0x1bu
#define X2APIC_ON 0xc00u
#define X2APIC_EOI 0x80bu
#define X2APIC_SVR 0x80fu
#define X2APIC_ICR 0x830u
#define X2APIC_LVT_TIMER 0x832u
#define X2APIC_INITIAL 0x838u
#define SVR_ON 0x1ffu
#define ICR_NMI 0x4400u
#define ICR_INIT 0x4500u
#define ICR_STARTUP 0x4600u

#define VECTOR_NMI 2
#define IRQ_TIMER 1
#define TRAMPOLINE 0x8000UL /* below 1 MiB, a page's start */
#define MAGIC_AT 0x100 /* in that page: what the code there counts */
#define TRIES 1000u
#define PATIENCE 200000000UL /* turns of a loop after which it is lost */

extern void smp_entry(void);
extern struct { uint16_t limit; uint64_t base; } __attribute__((packed)) smp_idt;

static volatile uint64_t taken[2]; /* NMIs, by vCPU */
static volatile uint64_t nested, early, woken, timers;
static volatile bool send_another, halt, linger;

/* cli; mov %cs, %ax; mov %ax, %ds; mov %ax, %ss; mov $0x800, %sp; pushf; push %cs; push $1f; iret; 1: incl MAGIC_AT */
static const uint8_t trampoline[] = {0xfa, 0x8c, 0xc8, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x08, 0x9c, 0x0e, 0x68, 0x10, 0x00, 0xcf, 0x66,
	0xff, 0x06, MAGIC_AT & 0xff, MAGIC_AT >> 8};
/* Behind it: 1: hlt; jmp 1b; or mov $ABI_PORT_COMMAND, %dx; mov $ABI_MMU_AUDIT, %eax; 1: out %eax, %dx; jmp 1b */
static const uint8_t stop[] = {0xf4, 0xeb, 0xfd};
static const uint8_t audits[] = {0xba, ABI_PORT_COMMAND & 0xff, ABI_PORT_COMMAND >> 8, 0x66, 0xb8, ABI_MMU_AUDIT, 0, 0, 0, 0x66, 0xef, 0xeb, 0xfc};

__asm__(".globl nmi_stub\nnmi_stub:\n"
	"push %rax; push %rcx; push %rdx; push %rsi; push %rdi; push %r8; push %r9; push %r10; push %r11\n"
	"call on_nmi\n"
	"pop %r11; pop %r10; pop %r9; pop %r8; pop %rdi; pop %rsi; pop %rdx; pop %rcx; pop %rax\n"
	"iretq\n");
extern char nmi_stub[];

static void send(unsigned to, uint32_t icr)
{
	wrmsr(X2APIC_ICR, (uint64_t)to << 32 | icr);
}

static void apic_on(void)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | X2APIC_ON);
	wrmsr(X2APIC_SVR, SVR_ON);
}

void on_nmi(void);
void on_nmi(void)
{
	uint16_t tr;
	unsigned me;

	__asm__ volatile("str %0" : "=r"(tr));
	me = tr == 0;
	taken[me]++;
	while (me && linger)
		__asm__ volatile("pause");
	if (me || !send_another)
		return;
	send_another = false;
	send(0, ICR_NMI);
	for (unsigned i = 0; i < 1000; i++) {
		if (i % 100 == 0)
			cpuid(0, 0); /* an exit: it could come now */
		early += taken[0] != 1;
	}
	nested++;
}

static void on_timer(unsigned irq)
{
	timers += irq == IRQ_TIMER;
	wrmsr(X2APIC_EOI, 0);
}

void smp_main(uint32_t me);
void smp_main(uint32_t me)
{
	(void)me;
	apic_on();
	for (;;) {
		woken++;
		if (halt)
			__asm__ volatile("hlt" : : : "memory");
		else
			__asm__ volatile("pause" : : : "memory");
	}
}

/* Waits until *what is not `was`. */
static bool changes(const volatile uint64_t *what, uint64_t was)
{
	for (uint64_t i = 0; i < PATIENCE; i++) {
		if (*what != was)
			return true;
		__asm__ volatile("pause");
	}
	return false;
}

static void to_itself(uint64_t rounds)
{
	for (uint64_t i = 0; i < rounds; i++) {
		uint64_t before = taken[0];

		send(0, ICR_NMI);
		if (!changes(&taken[0], before) || taken[0] != before + 1)
			deviation("NMI %lu: %lu were taken", i, taken[0] - before);
	}
	report(deviations() == 0, "self: %lu NMIs are taken once each", rounds);
	for (uint64_t i = 0; i < rounds; i++) {
		uint64_t before = nested;

		taken[0] = 0;
		send_another = true;
		send(0, ICR_NMI);
		if (!changes(&nested, before) || !changes(&taken[0], 1))
			deviation("round %lu: one of two is lost", i);
	}
	report(deviations() == 0 && early == 0, "blocked: a second NMI waits for the IRET");
}

static void to_another(uint64_t rounds)
{
	uint64_t before, sent = 0;

	abi_vcpu_start(1, (uint32_t)(uint64_t)smp_entry);
	report(changes(&woken, 0), "the second vCPU runs");
	before = taken[1];
	for (uint64_t i = 0; i < rounds; i++, sent++) {
		uint64_t at = taken[1];

		send(1, ICR_NMI);
		if (!changes(&taken[1], at))
			deviation("NMI %lu is lost", i);
	}
	report(deviations() == 0 && taken[1] - before <= sent, "spin: %lu NMIs are taken", sent);
	halt = true;
	for (uint64_t i = 0; i < rounds; i++) {
		uint64_t turns = woken;
		unsigned tries = 0;

		/* One that comes just before the HLT is over when that begins: then the next ends it. */
		do {
			uint64_t at = taken[1];

			send(1, ICR_NMI);
			if (!changes(&taken[1], at))
				deviation("NMI %lu is lost", i);
			for (volatile unsigned k = 0; k < 5000 && woken == turns; k++)
				;
		} while (woken == turns && ++tries < TRIES);
		if (tries == TRIES)
			deviation("%u NMIs wake nobody", TRIES);
	}
	report(deviations() == 0, "wake: %lu NMIs end a HLT with interrupts off", rounds);
	halt = false;
	send(1, ICR_NMI);
}

/* The second vCPU is in the handler of an NMI, and stays there. */
static void stay_in_nmi(void)
{
	uint64_t before = taken[1];

	linger = true;
	send(1, ICR_NMI);
	report(changes(&taken[1], before), "the second vCPU handles an NMI");
}

static void restart(const char *name, const uint8_t *behind, size_t bytes, uint64_t rounds)
{
	volatile uint64_t *count = (volatile uint64_t *)(TRAMPOLINE + MAGIC_AT);

	memcpy((void *)TRAMPOLINE, trampoline, sizeof trampoline);
	memcpy((void *)(TRAMPOLINE + sizeof trampoline), behind, bytes);
	*count = 0;
	for (uint64_t i = 0; i < rounds; i++) {
		send(1, ICR_INIT);
		send(1, ICR_STARTUP | TRAMPOLINE >> 12);
		send(1, ICR_STARTUP | TRAMPOLINE >> 12); /* it runs: ignored */
		if (!changes(count, i) || *count != i + 1)
			deviation("round %lu: it has begun %lu times", i, *count);
	}
	report(deviations() == 0, "%s: %lu times by INIT and start-up", name, rounds);
}

static void asleep(uint64_t rounds)
{
	irq_handler = on_timer;
	wrmsr(X2APIC_LVT_TIMER, VECTOR_IRQ + IRQ_TIMER);
	for (uint64_t i = 0; i < rounds; i++) {
		uint64_t before = timers;

		wrmsr(X2APIC_INITIAL, 1 + rand_below(20000)); /* one shot: about when HLT comes */
		while (timers == before) /* an interrupt before STI is none: they are off */
			__asm__ volatile("sti; hlt; cli" : : : "memory");
	}
	report(true, "asleep: %lu HLTs were ended", rounds);
}

void image_main(void)
{
	uint64_t rounds = arg_number("rounds", 200);
	uint16_t *gate;
	uint64_t at = (uint64_t)nmi_stub;

	__asm__ volatile("sidt %0" : "=m"(smp_idt));
	gate = (uint16_t *)(smp_idt.base + VECTOR_NMI * 16);
	gate[0] = (uint16_t)at;
	gate[3] = (uint16_t)(at >> 16);
	apic_on();
	to_itself(rounds);
	if (abi_vcpus() < 2) {
		skip("one vCPU: nobody to signal");
	} else {
		to_another(rounds);
		stay_in_nmi();
		restart("restart", stop, sizeof stop, rounds);
		restart("held", audits, sizeof audits, rounds / 4 + 1);
		restart("restart", stop, sizeof stop, 1);
	}
	asleep(rounds);
}
