/* SPDX-License-Identifier: MIT */
/* steps IMAGE BEGIN END STACK SEED COUNT: what the code of a guest image does on this machine's own processor, one instruction after
 * the other. The loadable parts of IMAGE (an ELF64 file) are put where they belong in a process of this program's, which runs from
 * BEGIN to END in ring 3, traced, with RDI = SEED, RSP = STACK, the other general registers 0 and RFLAGS.IF = 1 alone. All numbers
 * but COUNT are hexadecimal.
 *
 * Printed is a line for each instruction but END's, COUNT at most: the general registers before it, as instructions number them, RIP,
 * RFLAGS, and those of RFLAGS' bits that the architecture defines there; then a line "sum", with RAX at END. All but the steps, which
 * are counted, hexadecimal. Exit status: 1 if the code does not get to END.
 *
 * Linux leaves RFLAGS.TF, by which it steps, in what PUSHF stores, and shows it behind POPF. It is taken away there: the code sets none,
 * and is to see none. */
#include <elf.h>
#include <errno.h>
#include <error.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <Zydis/Zydis.h>

#define PAGE 4096UL
#define STEPS_MAX 10000000
#define FLAGS_BEGIN 0x202
#define FLAG_TF 0x100ULL
/* The status flags, TF, IF and DF. RF is the processor's own: set where an iteration of a REP was a step. */
#define FLAGS_COMPARED 0xfd5

static void *file_map(const char *path, size_t *bytes)
{
	int file = open(path, O_RDONLY);
	off_t end = file < 0 ? -1 : lseek(file, 0, SEEK_END);
	void *map = end < (off_t)sizeof(Elf64_Ehdr) ? MAP_FAILED : mmap(0, (size_t)end, PROT_READ, MAP_PRIVATE, file, 0);

	if (map == MAP_FAILED)
		error(1, errno, "%s", path);
	*bytes = (size_t)end;
	return map;
}

/* A part of the image, and zeroes behind it. */
static void load(const uint8_t *file, size_t bytes, const Elf64_Phdr *p)
{
	uint64_t start = p->p_vaddr & -PAGE, end = (p->p_vaddr + p->p_memsz + PAGE - 1) & -PAGE;
	void *at;

	if (p->p_offset > bytes || p->p_filesz > bytes - p->p_offset)
		error(1, 0, "the image ends within a part");
	at = mmap((void *)start, end - start, PROT_READ | PROT_WRITE | PROT_EXEC,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (at != (void *)start)
		error(1, errno, "no memory at 0x%lx", start);
	memcpy((void *)p->p_vaddr, file + p->p_offset, p->p_filesz);
}

static void load_image(const char *path)
{
	size_t bytes;
	const uint8_t *file = file_map(path, &bytes);
	const Elf64_Ehdr *e = (const Elf64_Ehdr *)file;

	if (memcmp(e->e_ident, ELFMAG, SELFMAG) || e->e_ident[EI_CLASS] != ELFCLASS64 ||
		e->e_phoff + e->e_phnum * sizeof(Elf64_Phdr) > bytes)
		error(1, 0, "%s: no ELF64 file", path);
	for (unsigned i = 0; i < e->e_phnum; i++) {
		const Elf64_Phdr *p = (const Elf64_Phdr *)(file + e->e_phoff) + i;

		if (p->p_type == PT_LOAD)
			load(file, bytes, p);
	}
}

/* Stopped, ready to be traced. */
static pid_t start(void)
{
	pid_t child = fork();
	int status;

	if (!child) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		_exit(1);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0 || !WIFSTOPPED(status))
		error(1, errno, "no process to trace");
	return child;
}

/* Flags that are undefined behind an instruction, given those before it. A shift by CL may be one by 0, which leaves all as they are. */
static uint32_t undefined_behind(const ZydisDecodedInstruction *i, uint32_t before)
{
	const ZydisAccessedFlags *f = i->cpu_flags;
	bool by_cl = (i->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (i->opcode & ~1) == 0xd2) ||
		     (i->opcode_map == ZYDIS_OPCODE_MAP_0F && (i->opcode == 0xa5 || i->opcode == 0xad));

	if (!by_cl)
		before &= ~(f->modified | f->set_0 | f->set_1);
	return before | f->undefined;
}

static void print(const struct user_regs_struct *r, uint32_t undefined)
{
	const uint64_t gpr[] = {r->rax, r->rcx, r->rdx, r->rbx, r->rsp, r->rbp, r->rsi, r->rdi, r->r8, r->r9, r->r10, r->r11, r->r12,
		r->r13, r->r14, r->r15};

	for (unsigned i = 0; i < sizeof gpr / sizeof *gpr; i++)
		printf("%lx ", gpr[i]);
	printf("%llx %llx %x\n", r->rip, r->eflags & ~FLAG_TF, FLAGS_COMPARED & ~undefined);
}

/* The instruction at `at`, which is this process's too. */
static void decode(uint64_t at, ZydisDecodedInstruction *i)
{
	ZydisDecoder decoder;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, 0, (const void *)at, ZYDIS_MAX_INSTRUCTION_LENGTH, i)))
		error(1, 0, "no instruction at 0x%lx", at);
}

static void step(pid_t child, struct user_regs_struct *r)
{
	int status;

	if (ptrace(PTRACE_SINGLESTEP, child, 0, 0) || waitpid(child, &status, 0) < 0)
		error(1, errno, "a step at 0x%llx", r->rip);
	if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP)
		error(1, 0, "a step at 0x%llx ends with status 0x%x", r->rip, status);
	if (ptrace(PTRACE_GETREGS, child, 0, r))
		error(1, errno, "registers");
}

static void hide_trap_flag(pid_t child, uint64_t rsp)
{
	long word = ptrace(PTRACE_PEEKDATA, child, rsp, 0);

	if (ptrace(PTRACE_POKEDATA, child, rsp, word & ~(long)FLAG_TF))
		error(1, errno, "the stack at 0x%lx", rsp);
}

int main(int argc, char **argv)
{
	struct user_regs_struct r;
	uint64_t number[4], most;
	uint32_t undefined = 0;
	unsigned steps = 0;
	pid_t child;

	if (argc != 7)
		error(2, 0, "usage: steps IMAGE BEGIN END STACK SEED COUNT");
	for (unsigned i = 0; i < 4; i++)
		number[i] = strtoul(argv[2 + i], 0, 16);
	most = strtoul(argv[6], 0, 10);
	load_image(argv[1]);
	child = start();
	if (ptrace(PTRACE_GETREGS, child, 0, &r))
		error(1, errno, "registers");
	r = (struct user_regs_struct){.rip = number[0], .rsp = number[2], .rdi = number[3], .eflags = FLAGS_BEGIN, .cs = r.cs, .ss = r.ss,
		.orig_rax = -1UL, .fs_base = r.fs_base};
	if (ptrace(PTRACE_SETREGS, child, 0, &r))
		error(1, errno, "registers");
	for (; r.rip != number[1] && steps < STEPS_MAX; steps++) {
		ZydisDecodedInstruction i;

		if (steps < most)
			print(&r, undefined);
		decode(r.rip, &i);
		undefined = undefined_behind(&i, undefined);
		step(child, &r);
		if (i.mnemonic == ZYDIS_MNEMONIC_PUSHF || i.mnemonic == ZYDIS_MNEMONIC_PUSHFQ)
			hide_trap_flag(child, r.rsp);
	}
	printf("sum %llx steps %u\n", r.rax, steps);
	kill(child, SIGKILL);
	return r.rip != number[1];
}
