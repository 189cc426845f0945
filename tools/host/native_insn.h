/* SPDX-License-Identifier: MIT */
/* One instruction on the real CPU, in 64-bit user mode: its registers are loaded, it runs in a page of its own, and what
 * it left is stored, the fault too that it ended with. To be included first, for the names of its registers. */
#ifndef TOOLS_HOST_NATIVE_INSN_H
#define TOOLS_HOST_NATIVE_INSN_H

#define _GNU_SOURCE
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define NATIVE_CODE 0x0f000000UL /* low, so that 32-bit addresses reach everything */
#define NATIVE_NO_FAULT ~0u

struct native_state {
	uint64_t gpr[16]; /* as instructions encode them */
	uint64_t flags, rip;
	uint32_t vector, error;
	uint64_t cr2;
};

/* The assembly's. */
struct native_state *native_now;
uint64_t native_stack, native_rax, native_rsp, native_target;
void native_enter(struct native_state *s);
extern char native_leave[], native_abandon[];

__asm__(R"(
	.text
native_enter:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rdi, native_now(%rip)
	mov	%rsp, native_stack(%rip)
	push	128(%rdi)
	popfq
	mov	0(%rdi), %rax
	mov	8(%rdi), %rcx
	mov	16(%rdi), %rdx
	mov	24(%rdi), %rbx
	mov	32(%rdi), %rsp
	mov	40(%rdi), %rbp
	mov	48(%rdi), %rsi
	mov	64(%rdi), %r8
	mov	72(%rdi), %r9
	mov	80(%rdi), %r10
	mov	88(%rdi), %r11
	mov	96(%rdi), %r12
	mov	104(%rdi), %r13
	mov	112(%rdi), %r14
	mov	120(%rdi), %r15
	mov	56(%rdi), %rdi
	jmp	*native_target(%rip)
native_leave:
	mov	%rsp, native_rsp(%rip)
	mov	%rax, native_rax(%rip)
	mov	native_now(%rip), %rax
	mov	native_stack(%rip), %rsp
	pushfq
	pop	128(%rax)
	mov	%rcx, 8(%rax)
	mov	%rdx, 16(%rax)
	mov	%rbx, 24(%rax)
	mov	%rbp, 40(%rax)
	mov	%rsi, 48(%rax)
	mov	%rdi, 56(%rax)
	mov	%r8, 64(%rax)
	mov	%r9, 72(%rax)
	mov	%r10, 80(%rax)
	mov	%r11, 88(%rax)
	mov	%r12, 96(%rax)
	mov	%r13, 104(%rax)
	mov	%r14, 112(%rax)
	mov	%r15, 120(%rax)
	mov	native_rax(%rip), %rcx
	mov	%rcx, 0(%rax)
	mov	native_rsp(%rip), %rcx
	mov	%rcx, 32(%rax)
native_abandon:
	mov	native_stack(%rip), %rsp
	cld
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
)");

static inline void native_fault(int number, siginfo_t *info, void *context)
{
	static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9,
		REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)info;
	if ((uint64_t)g[REG_RIP] - NATIVE_CODE >= 4096) { /* not the instruction's: a bug of the test's */
		signal(number, SIG_DFL);
		return;
	}
	for (unsigned i = 0; i < 16; i++)
		native_now->gpr[i] = (uint64_t)g[order[i]];
	native_now->flags = (uint64_t)g[REG_EFL];
	native_now->rip = (uint64_t)g[REG_RIP];
	native_now->vector = (uint32_t)g[REG_TRAPNO];
	native_now->error = (uint32_t)g[REG_ERR];
	native_now->cr2 = (uint64_t)g[REG_CR2];
	g[REG_RIP] = (greg_t)(uintptr_t)native_abandon;
}

/* Once. False: this machine does not allow it. */
static inline bool native_prepare(void)
{
	static uint8_t stack[64 << 10];
	struct sigaction action = {.sa_sigaction = native_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	void *page = mmap((void *)NATIVE_CODE, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	return page == (void *)NATIVE_CODE && !sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, 0) &&
		!sigaction(SIGSEGV, &action, 0) && !sigaction(SIGBUS, &action, 0) && !sigaction(SIGILL, &action, 0);
}

/* Runs the instruction of n bytes at p, put at NATIVE_CODE. s->vector is NATIVE_NO_FAULT when it was carried out. */
static inline void native_run(struct native_state *s, const uint8_t *p, unsigned n)
{
	static const uint8_t jump[] = {0xff, 0x25, 0, 0, 0, 0}; /* to the address behind it */
	uint8_t *code = (uint8_t *)NATIVE_CODE;
	uint64_t out = (uint64_t)(uintptr_t)native_leave;

	memcpy(code, p, n);
	memcpy(code + n, jump, sizeof jump);
	memcpy(code + n + sizeof jump, &out, sizeof out);
	native_target = NATIVE_CODE;
	s->vector = NATIVE_NO_FAULT;
	s->rip = NATIVE_CODE + n;
	native_enter(s);
}

#endif
