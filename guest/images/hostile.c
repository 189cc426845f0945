/* SPDX-License-Identifier: MIT */
/* hostile: misbehaves in one way, named by the command line. What must happen then:
 *
 *   do=vmx               VMX and SVM instructions: each is #UD; passes
 *   do=rsvd              reserved bits in control registers, MSRs and page tables: #GP, #PF; passes
 *   do=user              what a process of the guest's may try: XSETBV; CPUID at the very end of compatibility mode's
 *                        4 GiB, of which the next instruction is at 0; passes
 *   do=mmio              reads and writes memory that is not there: ends as a crash, or reads all ones and passes
 *   do=mmio-unknown      accesses it by FXSAVE, which a hypervisor need not emulate: ends as a crash, or passes
 *   do=mmio-stack        an exception with the stack there: ends as a crash, or as a triple fault
 *   do=jump              jumps there: ends as a crash, or runs into #UD (all ones) and passes
 *   do=triple            an exception with an empty IDT: ends as a crash
 *   do=nopf              a page fault with an empty IDT: ends as a crash
 *   do=root              loads CR3 with page tables that are not there: ends as a crash
 *   do=spin              interrupts off, for ever: ends by its limit=
 */
#include "guest/images/lib.h"

#define NOWHERE 0x20000000UL /* 512 MiB: mapped, but no RAM there in a guest with less */
#define WINDOW PAGE_1G
#define NON_CANONICAL (1UL << 62)
#define ALL_ONES (~0UL)

#define CR0_PE (1UL << 0)
#define CR0_NW (1UL << 29)
#define CR0_CD (1UL << 30)
#define CR4_PAE (1UL << 5)
#define CR4_VMXE (1UL << 13)
#define CR4_OSXSAVE (1UL << 18)
#define EFER_LME (1UL << 8)
#define MSR_APIC_BASE 0x1bu
#define MSR_PAT 0x277u
#define MSR_LSTAR 0xc0000082u
#define MSR_FS_BASE 0xc0000100u
#define MSR_NOT_THERE 0x12345678u
#define PAT_TYPE_RSVD 2
#define CPUID_XSAVE (1u << 26)
#define CPUID_VMX (1u << 5)

/* Something tried, with two arguments, and the exception that must come of it. */
struct attempt {
	const char *name;
	uint64_t (*try)(uint64_t, uint64_t);
	uint64_t a, b;
	int vector;
	uint32_t error;
};

static void attempt(const struct attempt *it)
{
	struct fault fault;

	trap_try(&fault, it->try, it->a, it->b);
	report(fault.vector == it->vector && fault.error == it->error, "%s: %s, error %x", it->name,
		vector_name(fault.vector), fault.error);
}

/* ---- do=vmx ---- */

extern char vmx_code[], vmx_names[];

__asm__(R"(
	.macro	vmx_try name:req, instruction:vararg
	.pushsection .rodata
	.asciz	"\name"
	.popsection
	.balign	16
	\instruction
	ret
	.endm

	.pushsection .rodata
vmx_names:
	.popsection
	.text
	.balign	16
vmx_code:
	vmx_try	VMXON, vmxon (%rdi)
	vmx_try	VMXOFF, vmxoff
	vmx_try	VMCLEAR, vmclear (%rdi)
	vmx_try	VMPTRLD, vmptrld (%rdi)
	vmx_try	VMPTRST, vmptrst (%rdi)
	vmx_try	VMREAD, vmread %rax, %rdx
	vmx_try	VMWRITE, vmwrite %rax, %rdx
	vmx_try	VMLAUNCH, vmlaunch
	vmx_try	VMRESUME, vmresume
	vmx_try	INVEPT, invept (%rdi), %rax
	vmx_try	INVVPID, invvpid (%rdi), %rax
	vmx_try	VMFUNC, vmfunc
	vmx_try	VMCALL, vmcall
	vmx_try	VMRUN, vmrun
	vmx_try	VMLOAD, vmload
	vmx_try	VMSAVE, vmsave
	vmx_try	VMMCALL, vmmcall
	vmx_try	CLGI, clgi
	vmx_try	STGI, stgi
	vmx_try	INVLPGA, invlpga
	.text
)");

#define VMX_INSTRUCTIONS 20
#define VMX_BYTES 16

static uint64_t try_cr4(uint64_t value, uint64_t unused)
{
	(void)unused;
	cr4_write(value);
	return 0;
}

static void do_vmx(void)
{
	static uint64_t operand[2];
	const char *name = vmx_names;

	for (unsigned i = 0; i < VMX_INSTRUCTIONS; i++) {
		char *code = vmx_code + i * VMX_BYTES;
		struct fault fault;

		trap_try(&fault, (uint64_t(*)(uint64_t, uint64_t))code, (uint64_t)operand, 0);
		report(fault.vector == VECTOR_UD && fault.rip == (uint64_t)code, "%s: %s", name,
			vector_name(fault.vector));
		while (*name++)
			;
	}
	if (!(cpuid(1, 0).c & CPUID_VMX)) {
		struct attempt vmxe = {"CR4.VMXE", try_cr4, cr4_read() | CR4_VMXE, 0, VECTOR_GP, 0};

		attempt(&vmxe);
	}
}

/* ---- do=rsvd ---- */

static uint64_t try_cr0(uint64_t value, uint64_t unused)
{
	(void)unused;
	cr0_write(value);
	return 0;
}

static uint64_t try_cr3(uint64_t value, uint64_t unused)
{
	(void)unused;
	cr3_write(value);
	return 0;
}

static uint64_t try_cr8(uint64_t value, uint64_t unused)
{
	(void)unused;
	__asm__ volatile("mov %0, %%cr8" : : "r"(value));
	return 0;
}

static uint64_t try_dr7(uint64_t value, uint64_t unused)
{
	(void)unused;
	__asm__ volatile("mov %0, %%dr7" : : "r"(value));
	return 0;
}

static uint64_t try_xcr0(uint64_t value, uint64_t unused)
{
	(void)unused;
	__asm__ volatile("xsetbv" : : "c"(0), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
	return 0;
}

static uint64_t try_wrmsr(uint64_t msr, uint64_t value)
{
	wrmsr((uint32_t)msr, value);
	return 0;
}

static uint64_t try_rdmsr(uint64_t msr, uint64_t unused)
{
	(void)unused;
	return rdmsr((uint32_t)msr);
}

static uint64_t try_invlpg(uint64_t va, uint64_t unused)
{
	(void)unused;
	invlpg(va);
	return 0;
}

/* Reads WINDOW with `bits` set in its entry at `level`. */
static uint64_t try_entry(uint64_t level, uint64_t bits)
{
	uint64_t *entry = paging_entry(boot_root, WINDOW, (unsigned)level, false);

	*entry |= bits;
	paging_load(boot_root);
	return *(volatile uint64_t *)WINDOW;
}

static void do_rsvd(void)
{
	uint64_t rsvd = 1UL << 51, cr0 = cr0_read(), efer = rdmsr(MSR_EFER);
	bool xsave = cpuid(1, 0).c & CPUID_XSAVE;
	uint64_t cr4 = cr4_read() | (xsave ? CR4_OSXSAVE : 0);
	const struct attempt registers[] = {
		{"CR0 above bit 31", try_cr0, cr0 | 1UL << 32, 0, VECTOR_GP, 0},
		{"CR0.NW without CD", try_cr0, (cr0 & ~CR0_CD) | CR0_NW, 0, VECTOR_GP, 0},
		{"CR0.PG without PE", try_cr0, cr0 & ~CR0_PE, 0, VECTOR_GP, 0},
		{"CR3 above the physical width", try_cr3, (uint64_t)boot_root | rsvd, 0, VECTOR_GP, 0},
		{"CR4 reserved bit 31", try_cr4, cr4 | 1UL << 31, 0, VECTOR_GP, 0},
		{"CR4 above bit 31", try_cr4, cr4 | 1UL << 40, 0, VECTOR_GP, 0},
		{"CR4.PAE cleared in long mode", try_cr4, cr4 & ~CR4_PAE, 0, VECTOR_GP, 0},
		{"CR8 above 15", try_cr8, 16, 0, VECTOR_GP, 0},
		{"DR7 above bit 31", try_dr7, 1UL << 32, 0, VECTOR_GP, 0},
		{"EFER reserved bit 2", try_wrmsr, MSR_EFER, efer | 1 << 2, VECTOR_GP, 0},
		{"EFER above bit 31", try_wrmsr, MSR_EFER, efer | 1UL << 63, VECTOR_GP, 0},
		{"EFER.LME cleared with paging on", try_wrmsr, MSR_EFER, efer & ~EFER_LME, VECTOR_GP, 0},
		{"FS base not canonical", try_wrmsr, MSR_FS_BASE, NON_CANONICAL, VECTOR_GP, 0},
		{"LSTAR not canonical", try_wrmsr, MSR_LSTAR, NON_CANONICAL, VECTOR_GP, 0},
		{"PAT reserved type", try_wrmsr, MSR_PAT, PAT_TYPE_RSVD, VECTOR_GP, 0},
		{"APIC base above the physical width", try_wrmsr, MSR_APIC_BASE, rsvd, VECTOR_GP, 0},
		{"writing an MSR that is not there", try_wrmsr, MSR_NOT_THERE, 0, VECTOR_GP, 0},
		{"reading an MSR that is not there", try_rdmsr, MSR_NOT_THERE, 0, VECTOR_GP, 0},
		{"XSETBV without x87", try_xcr0, 0, 0, xsave ? VECTOR_GP : VECTOR_UD, 0},
		{"INVLPG of a non-canonical address", try_invlpg, NON_CANONICAL, 0, FAULT_NONE, 0},
	};
	const struct attempt entries[] = {
		{"a reserved address bit, level 1", try_entry, 1, rsvd, VECTOR_PF, PF_P | PF_RSVD},
		{"a reserved address bit, level 2", try_entry, 2, rsvd, VECTOR_PF, PF_P | PF_RSVD},
		{"a reserved address bit, level 3", try_entry, 3, rsvd, VECTOR_PF, PF_P | PF_RSVD},
		{"a 2 MiB page at no multiple of 2 MiB", try_entry, 2, PTE_PS | 1UL << 13, VECTOR_PF, PF_P | PF_RSVD},
	};
	uint64_t frame = memory_take(PAGE, PAGE);

	if (cpu_phys_bits() > 51) {
		skip("the physical addresses have no reserved bit");
		return;
	}
	cr4_write(cr4);
	for (unsigned i = 0; i < sizeof(registers) / sizeof(*registers); i++)
		attempt(&registers[i]);
	for (unsigned i = 0; i < sizeof(entries) / sizeof(*entries); i++) {
		paging_map(boot_root, WINDOW, frame, PAGE, 1, PTE_P | PTE_W);
		attempt(&entries[i]);
		*paging_entry(boot_root, WINDOW, (unsigned)entries[i].a, false) &= ~entries[i].b;
		paging_load(boot_root);
	}
	report(*(volatile uint64_t *)WINDOW == 0, "the page is there again");
}

/* ---- do=user ---- */

#define USER (1UL << 40)
#define LOW_END 0xfffff000UL /* the last page of 4 GiB */
#define XCR0_X87_SSE 3

static const uint8_t xsetbv_code[] = {0x31, 0xc9, 0x31, 0xd2, 0xb8, 1, 0, 0, 0, 0x0f, 0x01, 0xd1, 0xc3}; /* XCR0 = 1; ret */
static const uint8_t cpuid_code[] = {0x0f, 0xa2};

extern char wrap_code[], wrap_code_end[];
uint64_t wrap(uint64_t leaf, uint64_t unused);

__asm__(R"(
	.text
wrap:
	push	%rbx
	mov	%edi, %eax
	ljmp	*wrap_from
wrap_back:
	pop	%rbx
	ret
	.code32
wrap_code: /* at 0 */
	ljmp	$0x18, $wrap_back
wrap_code_end:
	.code64

	.pushsection .rodata
wrap_from:
	.long	0xfffffffe
	.word	0x08
	.popsection
)");

static void user_xsetbv(uint64_t *root)
{
	uint64_t code = memory_take(PAGE, PAGE);
	struct fault fault;
	uint32_t low;

	if (!(cpuid(1, 0).c & CPUID_XSAVE)) {
		skip("no XSAVE");
		return;
	}
	memcpy((void *)code, xsetbv_code, sizeof(xsetbv_code));
	paging_map(root, USER + 2 * PAGE, code, PAGE, 1, PTE_P | PTE_U);
	cr4_write(cr4_read() | CR4_OSXSAVE);
	try_xcr0(XCR0_X87_SSE, 0);
	access_try_user(&fault, ACCESS_FETCH, USER + 2 * PAGE, 0);
	__asm__ volatile("xgetbv" : "=a"(low) : "c"(0) : "rdx");
	report(fault.vector == VECTOR_GP && !fault.error && low == XCR0_X87_SSE, "XSETBV: %s, XCR0 %x",
		vector_name(fault.vector), low);
}

static void user_wrap(uint64_t *root)
{
	uint64_t code = memory_take(PAGE, PAGE), zero = 0, vendor;
	struct fault fault;

	memcpy((void *)(code + PAGE - sizeof(cpuid_code)), cpuid_code, sizeof(cpuid_code));
	paging_map(root, LOW_END, code, PAGE, 1, PTE_P);
	__asm__("" : "+r"(zero));
	memcpy((void *)zero, wrap_code, (size_t)(wrap_code_end - wrap_code));
	vendor = trap_try(&fault, wrap, 0, 0);
	report(fault.vector == FAULT_NONE && vendor == cpuid(0, 0).a, "CPUID at the end of 4 GiB: %s at %lx",
		vector_name(fault.vector), fault.rip);
}

static void do_user(void)
{
	uint64_t *root = paging_new();

	user_setup(root, USER);
	paging_load(root);
	user_xsetbv(root);
	user_wrap(root);
}

/* ---- the ones that do not come back ---- */

static void do_mmio(void)
{
	volatile uint64_t *nowhere = (volatile uint64_t *)NOWHERE;

	*nowhere = 0;
	report(*nowhere == ALL_ONES, "memory that is not there reads all ones and keeps nothing");
}

static void do_mmio_unknown(void)
{
	__asm__ volatile("fxsave (%0)" : : "r"(NOWHERE) : "memory");
	report(true, "FXSAVE to memory that is not there");
}

static void do_mmio_stack(void)
{
	__asm__ volatile("mov %0, %%rsp\n\tud2" : : "r"(NOWHERE));
}

static void do_jump(void)
{
	struct fault fault;

	access_try(&fault, ACCESS_FETCH, NOWHERE, 0);
	report(fault.vector == VECTOR_UD && fault.rip == NOWHERE, "a jump into nothing: %s at %lx",
		vector_name(fault.vector), fault.rip);
}

static void idt_clear(void)
{
	static const uint8_t empty[10];

	__asm__ volatile("lidt %0" : : "m"(empty));
}

static void do_triple(void)
{
	idt_clear();
	__asm__ volatile("ud2");
}

static void do_nopf(void)
{
	idt_clear();
	*(volatile uint64_t *)WINDOW = 0;
}

static void do_root(void)
{
	cr3_write(NOWHERE);
	report(false, "runs on with page tables that are not there");
}

static void do_spin(void)
{
	irq_off();
	for (;;)
		__asm__ volatile("");
}

void image_main(void)
{
	static const struct {
		const char *name;
		void (*act)(void);
	} acts[] = {{"vmx", do_vmx}, {"rsvd", do_rsvd}, {"user", do_user}, {"mmio", do_mmio}, {"mmio-unknown", do_mmio_unknown},
		{"mmio-stack", do_mmio_stack}, {"jump", do_jump}, {"triple", do_triple}, {"nopf", do_nopf}, {"root", do_root}, {"spin", do_spin}};

	for (unsigned i = 0; i < sizeof(acts) / sizeof(*acts); i++) {
		if (!arg_is("do", acts[i].name))
			continue;
		print("hostile: %s\n", acts[i].name);
		acts[i].act();
		return;
	}
	report(false, "do= takes vmx, rsvd, user, mmio, mmio-unknown, mmio-stack, jump, triple, nopf, root or spin");
}
