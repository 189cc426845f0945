/* SPDX-License-Identifier: MIT */
/* A guest's end by crash: what a person needs to see why. */
#include "guest/text.h"
#include "hv/log.h"
#include "hv/runner.h"

#define REASON_BYTES 96
#define CODE_BYTES 16

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
		r->vm->config.name, v->index, e->name, e->code, e->qualification, e->length, load_relaxed(&v->exits));
	print_registers(v);
	print_code(v);
	vm_end_fail(r->vm, "crash: %s", reason);
	return NEXT_END;
}
