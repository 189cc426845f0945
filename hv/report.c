/* SPDX-License-Identifier: MIT */
/* A guest's end by crash: what a person needs to see why. */
#include "guest/text.h"
#include "hv/log.h"
#include "hv/runner.h"

#define REASON_BYTES 96
#define CODE_BYTES 16
#define REPORT_LINE 480

static const char *const reason_names[EXIT_REASONS] = {
	[EXIT_OTHER] = "other",
	[EXIT_NONE] = "none",
	[EXIT_ASKED] = "not entered",
	[EXIT_INTERPRET] = "interpreted",
	[EXIT_PAGE_FAULT] = "page fault",
	[EXIT_EXCEPTION] = "exception",
	[EXIT_INTERRUPT] = "host interrupt",
	[EXIT_NMI] = "host NMI",
	[EXIT_INTERRUPT_WINDOW] = "interrupt window",
	[EXIT_NMI_WINDOW] = "NMI window",
	[EXIT_CPUID] = "CPUID",
	[EXIT_HLT] = "HLT",
	[EXIT_INVLPG] = "INVLPG",
	[EXIT_CR_READ] = "read of CR",
	[EXIT_CR_WRITE] = "write of CR",
	[EXIT_TR_WRITE] = "write of TR",
	[EXIT_DR_READ] = "read of DR",
	[EXIT_DR_WRITE] = "write of DR",
	[EXIT_IO] = "I/O",
	[EXIT_RDMSR] = "RDMSR",
	[EXIT_WRMSR] = "WRMSR",
	[EXIT_XSETBV] = "XSETBV",
	[EXIT_NOP] = "cache flush",
	[EXIT_UNDEFINED] = "undefined instruction",
	[EXIT_HYPERCALL] = "hypercall",
	[EXIT_PRIVILEGED] = "privileged instruction",
	[EXIT_TRIPLE_FAULT] = "triple fault",
	[EXIT_TASK_SWITCH] = "task switch",
	[EXIT_INSTRUCTION] = "unread instruction",
	[EXIT_ENTRY_FAILED] = "failed entry",
};

static const char *const seg_names[SEGS] = {"ES", "CS", "SS", "DS", "FS", "GS", "LDTR", "TR"};

static void print_registers(const struct vcpu *v)
{
	const char *name = v->vm->config.name;
	const uint64_t *g = v->gpr;

	host_log(HOST_ERROR, "%s: rip %016lx rflags %08lx cr0 %08lx cr2 %016lx cr3 %08lx cr4 %06lx efer %03lx", name,
		v->rip, v->rflags, v->cr0, v->cr2, v->cr3, v->cr4, v->efer);
	host_log(HOST_ERROR, "%s: rax %016lx rcx %016lx rdx %016lx rbx %016lx", name, g[RAX], g[RCX], g[RDX], g[RBX]);
	host_log(HOST_ERROR, "%s: rsp %016lx rbp %016lx rsi %016lx rdi %016lx", name, g[RSP], g[RBP], g[RSI], g[RDI]);
	host_log(HOST_ERROR, "%s: r8  %016lx r9  %016lx r10 %016lx r11 %016lx", name, g[R8], g[R9], g[R10], g[R11]);
	host_log(HOST_ERROR, "%s: r12 %016lx r13 %016lx r14 %016lx r15 %016lx", name, g[R12], g[R13], g[R14], g[R15]);
	for (unsigned i = 0; i < SEGS; i++)
		host_log(HOST_ERROR, "%s: %-4s %04x base %016lx limit %08x attributes %05x", name, seg_names[i],
			v->seg[i].selector, v->seg[i].base, v->seg[i].limit, v->seg[i].attr);
	host_log(HOST_ERROR, "%s: GDTR %016lx/%04x IDTR %016lx/%04x", name, v->gdtr.base, v->gdtr.limit, v->idtr.base,
		v->idtr.limit);
}

static void print_code(struct vcpu *v)
{
	const char *name = v->vm->config.name;
	uint64_t at = v->rip + (vcpu_64bit(v) ? 0 : v->seg[CS].base);
	char text[3 * CODE_BYTES + 1];
	uint8_t byte[CODE_BYTES];
	struct mmu_fault f;
	unsigned n = 0;
	gpa_t a;

	if (!vcpu_long_mode(v))
		at &= 0xffffffff;
	v->mmu.ac = true; /* it is we who look */
	while (n < CODE_BYTES && mmu_translate(&v->mmu, gva(at + n), 0, &a, &f) == MMU_RESUME &&
		mmu_read(v->mmu.mmu, a, &byte[n], 1))
		n++;
	text[0] = 0;
	for (unsigned i = 0; i < n; i++)
		text_format(text + 3 * i, sizeof text - 3 * i, "%02x ", byte[i]);
	host_log(HOST_ERROR, "%s: code at 0x%lx: %s", name, at, n ? text : "not readable");
}

enum runner_next report_crash(struct runner *r, struct exit *e, const char *fmt, ...)
{
	struct vcpu *v = r->v;
	char reason[REASON_BYTES];
	va_list args;

	va_start(args, fmt);
	text_format_list(reason, sizeof reason, fmt, args);
	va_end(args);
	log_wait_room();
	guests.backend->fetch(v, VCPU_ALL);
	if (e->reason != EXIT_NONE && e->reason != EXIT_INTERPRET)
		guests.backend->describe(v, e);
	host_log(HOST_ERROR, "%s: %s", r->vm->config.name, reason);
	host_log(HOST_ERROR, "%s: VM exit of vCPU %u: %s (%u), qualification 0x%lx, instruction length %u, exits so far %lu",
		r->vm->config.name, v->index, e->name, e->code, e->qualification, e->length, vcpu_exits(v));
	print_registers(v);
	print_code(v);
	vm_end_fail(r->vm, "crash: %s", reason);
	return NEXT_END;
}

static void report_msrs(const struct vm *vm)
{
	struct msr_unknown all = {.n = 0};
	char text[REPORT_LINE];

	for (unsigned i = 0; i < vm->vcpus; i++)
		msr_unknown_add(&all, &vm->vcpu[i]->unknown_msrs);
	if (!all.n)
		return;
	msr_unknown_print(&all, text, sizeof text);
	host_log(HOST_INFO, "%s: MSRs that it does not have: %s", vm->config.name, text);
}

const char *report_reason(enum exit_reason reason)
{
	return reason_names[reason];
}

void report_exits(const struct guest *g)
{
	struct mmu_faults f = mmu_faults(&g->vm->mmu);
	const char *name = g->vm->config.name;
	char text[REPORT_LINE] = "";
	size_t n = 0;

	for (unsigned i = 0; i < EXIT_REASONS; i++) {
		uint64_t count = 0;

		for (unsigned k = 0; k < g->runners; k++)
			count += load_relaxed(&g->runner[k].v->exits[i]);
		if (count)
			n += text_format(text + n, sizeof text - n, n ? ", %lu %s" : "%lu %s", count, reason_names[i]);
	}
	host_log(HOST_INFO, "%s: exits: %s", name, text);
	report_msrs(g->vm);
	host_log(HOST_INFO, "%s: page faults: %lu fixed up, %lu quick, %lu slow, %lu the guest's own", name, f.fixups, f.quick,
		f.faults - f.fixups - f.quick - f.injected, f.injected);
}
