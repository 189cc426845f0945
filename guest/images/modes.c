/* SPDX-License-Identifier: MIT */
/* modes: every paging mode (off, 32-bit without and with 4 MiB pages, PAE, 4-level) and every switch between them that
 * the architecture has, paging on and off and from mode to mode while it is on.
 *
 *   rounds=8 steps=400   rounds of random switches, and random steps in each of them
 *   high=0               1: 4 MiB and 2 MiB pages also lie above 4 GiB (PSE-36), where the guest must have 4 MiB of RAM
 *   seed=1               of the random numbers
 *
 * A script of steps (loads of control registers and EFER, reads, writes and calls at CPL 0 and 3, stores to entries,
 * INVLPG) is written beside a model that says what each must do: value read, #PF error code and CR2, #GP of what may not
 * be loaded, A and D in the tables. Then 32-bit code carries it out, and answers, tables and memory are compared. Tables
 * are filled at random (rights, NX, G, A, D, reserved bits, large pages); the directory of 32-bit paging and the PDPTEs
 * lie in one page, and the same page directories serve PAE and 4-level paging. 4-level paging is tried from 32-bit code,
 * at CPL 0 only. QEMU's own TCG (7.2), without a hypervisor, deviates in PAE paging: it has no PDPTE registers.
 */
#include "guest/images/modes.h"

#define STEPS_MAX 1024
#define WINDOWS 2
#define WINDOW_PAGES 2048u
#define USER_AT 0xc00000u
#define ENTRIES32 1024u
#define ENTRIES 512u
#define PDPT_GOOD 0xfe0u /* offsets in T_TOP: the PDPTEs in use, and others */
#define PDPT_RSVD 0xfc0u
#define PDPT_HIGH 0xfa0u
#define PDPT_HOLE 0xf80u
#define SEL_CODE32 0x08
#define SEL_CODE 0x18
#define GATE_INTERRUPT 0x8e00u
#define GATE_CPL3 0x6000u
#define STUB_BYTES 16
#define STUBS 33

struct pseudo {
	uint16_t limit;
	uint32_t base, zero;
} __attribute__((packed));

void engine_run(struct step *steps, uint32_t count);
extern char engine_stubs32[], engine_stubs64[], engine_user[], engine_user_end[], engine_tss[];
extern struct pseudo engine_idt32, engine_idt64;
extern uint64_t engine_tss_descriptor;
extern uint32_t engine_user_at;

static const uint32_t window[WINDOWS] = {0x04000000, 0xc0000000};
static const char *const mode_name[MODES] = {"off", "32-bit", "32-bit PSE", "PAE", "4-level"};
static struct step *steps, *answer;
static unsigned count;
static uint64_t idt32[256], idt64[512];
static uint32_t cr0_base, cr4_base, efer_base;
static bool has_smep, has_smap, high;

static void *page_at(unsigned page) { return (void *)(tables + page * PAGE); }
static uint64_t link_to(unsigned page) { return (tables + page * PAGE) | PTE_P | PTE_W | PTE_U | PTE_A; }

/* ---- the script ---- */

static bool step(enum op op, uint32_t a, uint32_t b)
{
	struct step s = {.op = op, .a = a, .b = b};

	if (count == STEPS_MAX || !model_step(&s))
		return false;
	answer[count] = s;
	steps[count++] = (struct step){.op = op, .a = a, .b = b};
	return true;
}

/* Drops every translation, global ones too. */
static void flush_all(void)
{
	step(OP_CR4, now.cr4 ^ CR4_PGE, 0);
	step(OP_CR4, now.cr4 ^ CR4_PGE, 0);
}

static uint32_t mode_cr4(enum mode to)
{
	uint32_t value = now.cr4 & ~(CR4_PAE | CR4_PSE);

	if (to >= MODE_PAE)
		return value | CR4_PAE | (chance(50) ? CR4_PSE : 0);
	return value | (to == MODE_PSE ? CR4_PSE : 0);
}

/* Goes to a mode by the shortest way. */
static void go(enum mode to)
{
	enum mode from = machine_mode();
	uint32_t cr4;
	bool flushes;

	if (from == to)
		return;
	if (from != MODE_OFF && (to == MODE_OFF || to == MODE_LONG || from == MODE_LONG)) {
		step(OP_CR0, now.cr0 & ~CR0_PG, 0);
		step(OP_IDT, (uint32_t)(uint64_t)&engine_idt32, 0);
		if (to == MODE_OFF)
			return;
	}
	if (machine_mode() != MODE_OFF) {
		cr4 = mode_cr4(to);
		flushes = (cr4 ^ now.cr4) & CR4_PAE && !(now.cr4 & CR4_PGE); /* all but global ones; PSE: none */
		step(OP_CR4, cr4, 0);
		if (!flushes)
			flush_all();
		return;
	}
	step(OP_CR4, mode_cr4(to), 0);
	step(OP_CR3, (uint32_t)tables + (to == MODE_LONG ? T_PML4 * PAGE : PDPT_GOOD), 0);
	step(OP_EFER, efer_base | (chance(75) ? EFER_NXE : 0) | (to == MODE_LONG ? EFER_LME : 0), 0);
	step(OP_CR0, now.cr0 | CR0_PG, 0);
	if (to == MODE_LONG)
		step(OP_IDT, (uint32_t)(uint64_t)&engine_idt64, 0);
}

static uint32_t random_page(void)
{
	static const uint16_t edges[] = {0, 1, 511, 512, 1023, 1024, 1535, 2047};

	return chance(60) ? edges[rand_below(8)] : rand_below(WINDOW_PAGES);
}

static uint32_t random_va(void)
{
	if (machine_mode() == MODE_OFF)
		return (uint32_t)(pool[0] + rand_below(POOL_PAGES) * PAGE);
	return window[rand_below(WINDOWS)] + random_page() * PAGE;
}

static void step_access(void)
{
	bool user = chance(40) && machine_mode() != MODE_OFF && machine_mode() != MODE_LONG;
	unsigned access = rand_below(3);
	uint32_t va = random_va() + (access == ACCESS_FETCH ? CODE_OFFSET : 0);

	step((enum op)((user ? OP_USER_READ : OP_READ) + access), va, (uint32_t)rand64());
}

/* Stores to the entry that maps a page, from within the mode, and drops what was known of it: other rights, A and D
 * clear, not present, another page. */
static void step_entry(void)
{
	unsigned w = rand_below(WINDOWS), page = random_page();
	bool narrow = machine_mode() < MODE_PAE;
	uint64_t at = narrow ? tables + (T_PT32 + 2 * w) * PAGE + page * 4 : tables + (T_PT + 4 * w) * PAGE + page * 8;
	uint32_t value = *(uint32_t *)(model + (at - tables));

	if (machine_mode() == MODE_OFF)
		return;
	switch (rand_below(5)) {
	case 0:
		value ^= rand_below(4) << 1;
		break;
	case 1:
		value &= ~(PTE_A | PTE_D);
		break;
	case 2:
		value ^= PTE_P;
		break;
	case 3:
		value = (value & (PAGE - 1)) | ((uint32_t)pool[0] + (1 + rand_below(POOL_PAGES - 1)) * PAGE);
		break;
	default:
		if (narrow)
			return;
		value = (uint32_t)(*(uint64_t *)(model + (at - tables)) >> 32) ^ (uint32_t)(PTE_NX >> 32);
		at += 4;
	}
	step(OP_WRITE, (uint32_t)at, value);
	step(OP_INVLPG, window[w] + page * PAGE, 0);
}

/* Rights and A of a directory entry, after which everything is flushed. */
static void step_directory(void)
{
	unsigned w = rand_below(WINDOWS), page = random_page();
	uint64_t at = tables + T_TOP * PAGE + ((window[w] >> 22) + page / ENTRIES32) * 4;

	if (machine_mode() == MODE_OFF)
		return;
	if (machine_mode() >= MODE_PAE)
		at = tables + (T_PD + (window[w] >> 30)) * PAGE + ((window[w] >> 21) % ENTRIES + page / ENTRIES) * 8;
	step(OP_WRITE, (uint32_t)at, (*(uint32_t *)(model + (at - tables)) & ~(PTE_A | PTE_D)) ^ (rand_below(4) << 1));
	flush_all();
}

static void step_control(void)
{
	bool wp = chance(60), smap = has_smap && chance(40);
	uint32_t cr4 = now.cr4 & ~(CR4_SMEP | CR4_SMAP);

	if (machine_mode() == MODE_OFF)
		return;
	step(OP_FLAGS, FLAGS_FIXED | (has_smap && chance(50) ? (uint32_t)FLAGS_AC : 0), 0);
	if (!wp)
		step(OP_CR0, now.cr0 & ~CR0_WP, 0);
	step(OP_CR4, cr4 | (has_smep && chance(40) ? CR4_SMEP : 0) | (smap ? CR4_SMAP : 0), 0);
	if (wp)
		step(OP_CR0, now.cr0 | CR0_WP, 0);
	if (chance(20))
		flush_all();
}

static void steps_random(unsigned n)
{
	while (n--) {
		unsigned dice = rand_below(100);

		if (dice < 72)
			step_access();
		else if (dice < 88)
			step_entry();
		else if (dice < 91)
			step_directory();
		else if (dice < 97)
			step_control();
		else
			step(OP_CR3, now.cr3, 0);
	}
}

/* ---- tables ---- */

static uint64_t random_rights(void)
{
	return (chance(90) ? PTE_P : 0) | (chance(75) ? PTE_W : 0) | (chance(75) ? PTE_U : 0) |
		(chance(40) ? PTE_A | (chance(50) ? PTE_D : 0) : 0);
}

static uint64_t random_leaf(unsigned level)
{
	uint64_t to = level > 1 ? pool[rand_below(2)] : pool[0] + rand_below(POOL_PAGES) * PAGE;

	return to | random_rights() | (chance(30) ? PTE_G : 0) | (level > 1 ? PTE_PS : 0);
}

static uint32_t leaf32(unsigned level)
{
	uint64_t entry = random_leaf(level);

	if (level == 1)
		return (uint32_t)entry;
	return (uint32_t)entry | (uint32_t)(entry >> 32 & 0xff) << 13 | (chance(15) ? 1u << 21 : 0);
}

static uint64_t leaf_wide(unsigned level)
{
	uint64_t entry = random_leaf(level) | (chance(20) ? PTE_NX : 0);

	if (level > 1)
		entry += chance(50) ? PAGE_2M : 0;
	if (chance(level > 1 ? 15 : 3))
		entry |= level > 1 ? 1UL << 13 : cpu_phys_bits() < 52 ? 1UL << 51 : 0;
	return entry;
}

static void fill_windows(void)
{
	uint32_t *top = page_at(T_TOP), *pt32 = page_at(T_PT32);
	uint64_t *pt = page_at(T_PT), *pd = page_at(T_PD);

	for (unsigned i = 0; i < WINDOWS * WINDOW_PAGES; i++) {
		pt32[i] = leaf32(1);
		pt[i] = leaf_wide(1);
	}
	for (unsigned w = 0; w < WINDOWS; w++) {
		for (unsigned i = 0; i < 2; i++)
			top[(window[w] >> 22) + i] = chance(30) ? leaf32(2)
				: (uint32_t)((link_to(T_PT32 + 2 * w + i) & ~7UL) | random_rights());
		for (unsigned i = 0; i < 4; i++)
			pd[(window[w] >> 21) + i] = chance(30) ? leaf_wide(2)
				: (link_to(T_PT + 4 * w + i) & ~7UL) | random_rights() | (chance(10) ? PTE_NX : 0);
	}
}

/* What every script needs: the first 4 MiB and the user code, whose A and D bits are set, so that the engine changes
 * none. */
static void fill_fixed(uint64_t user)
{
	const uint64_t full = PTE_P | PTE_W | PTE_A | PTE_D;
	uint32_t *top = page_at(T_TOP), *low = page_at(T_LOW32);
	uint64_t *pd = page_at(T_PD), *pdpt = page_at(T_PDPT);

	top[0] = (uint32_t)link_to(T_LOW32);
	for (unsigned i = 0; i < ENTRIES32; i++)
		low[i] = (uint32_t)(i * PAGE | full);
	top[USER_AT >> 22] = (uint32_t)link_to(T_USER32);
	*(uint32_t *)page_at(T_USER32) = (uint32_t)(user | PTE_P | PTE_U | PTE_A | PTE_D);
	for (unsigned i = 0; i < 2; i++)
		pd[i] = i * PAGE_2M | full | PTE_PS;
	pd[USER_AT >> 21] = link_to(T_USER);
	*(uint64_t *)page_at(T_USER) = user | PTE_P | PTE_U | PTE_A | PTE_D;
	for (unsigned i = 0; i < 4; i++) {
		uint64_t to = tables + (T_PD + i) * PAGE;

		pdpt[i] = link_to(T_PD + i);
		*(uint64_t *)(tables + PDPT_GOOD + i * 8) = to | PTE_P;
		*(uint64_t *)(tables + PDPT_RSVD + i * 8) = to | PTE_P | (i == 3 ? PTE_W : 0);
		*(uint64_t *)(tables + PDPT_HIGH + i * 8) = to | PTE_P | (i == 2 ? PTE_NX : 0);
		*(uint64_t *)(tables + PDPT_HOLE + i * 8) = i == 3 ? to | PTE_W : to | PTE_P;
	}
	*(uint64_t *)page_at(T_PML4) = link_to(T_PDPT);
}

static void pool_fill(unsigned which)
{
	for (uint32_t i = 0; i < POOL_PAGES; i++) {
		uint8_t *at = (uint8_t *)(pool[which] + i * PAGE);

		stamp[which][i] = *(uint32_t *)at = (uint32_t)rand64();
		at[CODE_OFFSET] = 0xb8; /* mov $i, %eax; jmp *%edx */
		memcpy(at + CODE_OFFSET + 1, &i, sizeof(i));
		at[CODE_OFFSET + 5] = 0xff;
		at[CODE_OFFSET + 6] = 0xe2;
	}
	for (unsigned i = 0; i < ENTRIES32; i++)
		((uint32_t *)pool[which])[i] = leaf32(1);
}

static void pool_check(unsigned which)
{
	for (unsigned i = 1; i < POOL_PAGES; i++)
		if (*(volatile uint32_t *)(pool[which] + i * PAGE) != stamp[which][i])
			deviation("page %u of pool %u: %x, not %x", i, which,
				*(volatile uint32_t *)(pool[which] + i * PAGE), stamp[which][i]);
}

/* ---- one script ---- */

static void script_start(void)
{
	fill_windows();
	memcpy(model, (void *)tables, TABLES * PAGE);
	for (unsigned i = 0; i < 2; i++)
		memcpy(model + (TABLES + i) * PAGE, (void *)pool[i], PAGE);
	now = (struct machine){.cr0 = cr0_base, .cr4 = cr4_base, .efer = efer_base, .flags = FLAGS_FIXED};
	count = 0;
	if (chance(30))
		abi_command(chance(90) ? ABI_MMU_ZAP : ABI_SLOT_RECREATE);
}

static void words_check(uint64_t at, const uint8_t *right, uint64_t bytes)
{
	for (uint64_t i = 0; i < bytes; i += 4)
		if (*(volatile uint32_t *)(at + i) != *(const uint32_t *)(right + i))
			deviation("table page %lu, offset %lx: %x, not %x", (at + i - tables) / PAGE, i % PAGE,
				*(volatile uint32_t *)(at + i), *(const uint32_t *)(right + i));
}

static void script_run(void)
{
	static const char *const name[OPS] = {"CR0", "CR3", "CR4", "EFER", "IDT", "flags", "INVLPG", "read", "write",
		"fetch", "user read", "user write", "user fetch"};

	engine_run(steps, count);
	for (unsigned i = 0; i < count; i++) {
		const struct step *s = &steps[i], *r = &answer[i];

		if (s->result != r->result || s->vector != r->vector || s->error != r->error ||
			(r->vector == VECTOR_PF && s->cr2 != r->cr2))
			deviation("step %u, %s %x: %x, vector %u, error %x, cr2 %x; not %x, %u, %x", i, name[s->op], s->a,
				s->result, s->vector, s->error, s->cr2, r->result, r->vector, r->error);
	}
	words_check(tables, model, TABLES * PAGE);
	for (unsigned i = 0; i < 2; i++) {
		words_check(pool[i], model + (TABLES + (pool[1] != pool[0] ? i : 0)) * PAGE, PAGE);
		pool_check(i);
	}
}

static void every_switch(void)
{
	for (enum mode from = MODE_OFF; from < MODES; from++) {
		for (enum mode to = MODE_OFF; to < MODES; to++) {
			if (from == to || (from == MODE_LONG && to != MODE_OFF) || (to == MODE_LONG && from != MODE_OFF))
				continue;
			script_start();
			go(from);
			steps_random(60);
			go(to);
			steps_random(60);
			go(from);
			steps_random(30);
			script_run();
			report(!deviations(), "%s to %s and back", mode_name[from], mode_name[to]);
		}
	}
}

/* Loads that must fault and change nothing, each followed by accesses. */
static void refusals(void)
{
	uint32_t top = (uint32_t)tables;

	script_start();
	go(MODE_PAE);
	step(OP_CR3, top + PDPT_RSVD, 0);
	step(OP_CR3, top + PDPT_HIGH, 0);
	steps_random(20);
	step(OP_CR3, top + PDPT_HOLE, 0);
	steps_random(20);
	step(OP_CR3, top + PDPT_GOOD, 0);
	step(OP_WRITE, top + PDPT_GOOD, *(uint32_t *)(model + PDPT_GOOD) | PTE_W);
	flush_all();
	step(OP_CR4, now.cr4 ^ CR4_PSE, 0);
	step(OP_CR3, now.cr3, 0);
	step(OP_WRITE, top + PDPT_GOOD, *(uint32_t *)(model + PDPT_GOOD) & ~PTE_W);
	flush_all();
	steps_random(20);
	step(OP_EFER, now.efer | EFER_LME, 0);
	steps_random(20);
	go(MODE_PSE);
	step(OP_CR3, top + PDPT_RSVD, 0);
	step(OP_CR4, now.cr4 | CR4_PAE, 0);
	steps_random(20);
	step(OP_CR0, now.cr0 & ~CR0_PG, 0);
	step(OP_CR4, now.cr4 | CR4_PAE, 0);
	step(OP_CR0, now.cr0 | CR0_PG, 0);
	step(OP_EFER, now.efer | EFER_LME, 0);
	step(OP_CR4, now.cr4 & ~CR4_PAE, 0);
	step(OP_CR0, now.cr0 | CR0_PG, 0);
	step(OP_EFER, now.efer & ~EFER_LME, 0);
	go(MODE_LONG);
	step(OP_CR4, now.cr4 & ~CR4_PAE, 0);
	step(OP_EFER, now.efer & ~EFER_LME, 0);
	steps_random(20);
	script_run();
	report(!deviations(), "PDPTEs with reserved bits, EFER.LME and CR4.PAE at the wrong time");
}

/* ---- set-up ---- */

static void idt_fill(void)
{
	for (unsigned i = 0; i < STUBS; i++) {
		unsigned vector = i == STUBS - 1 ? VECTOR_SYSCALL : i;
		uint64_t type = GATE_INTERRUPT | (vector == VECTOR_SYSCALL ? GATE_CPL3 : 0);
		uint64_t at32 = (uint64_t)engine_stubs32 + i * STUB_BYTES, at64 = (uint64_t)engine_stubs64 + i * STUB_BYTES;

		idt32[vector] = (at32 & 0xffff) | SEL_CODE32 << 16 | type << 32 | at32 >> 16 << 48;
		idt64[2 * vector] = (at64 & 0xffff) | SEL_CODE << 16 | type << 32 | at64 >> 16 << 48;
	}
	engine_idt32 = (struct pseudo){sizeof(idt32) - 1, (uint32_t)(uint64_t)idt32, 0};
	engine_idt64 = (struct pseudo){sizeof(idt64) - 1, (uint32_t)(uint64_t)idt64, 0};
	engine_tss_descriptor |= (uint64_t)engine_tss << 16;
}

static void setup(void)
{
	uint64_t user = memory_take(PAGE, PAGE);

	high = arg_range("high", 0, 0, 1);
	has_smep = cpu_has_smep(), has_smap = cpu_has_smap();
	cr0_base = (uint32_t)(cr0_read() & ~CR0_PG);
	cr4_base = (uint32_t)(cr4_read() & ~CR4_PAE);
	efer_base = (uint32_t)(rdmsr(MSR_EFER) & ~(EFER_LME | EFER_LMA | EFER_NXE));
	tables = memory_take(TABLES * PAGE, PAGE);
	model = (uint8_t *)memory_take((TABLES + 2) * PAGE, PAGE);
	steps = (struct step *)memory_take(2 * STEPS_MAX * sizeof(*steps), PAGE);
	answer = steps + STEPS_MAX;
	pool[0] = memory_reserve(POOL_BYTES, POOL_BYTES);
	pool[1] = high ? 4 * PAGE_1G : pool[0];
	stamp[0] = (uint32_t *)memory_take(2 * POOL_PAGES * sizeof(uint32_t), PAGE);
	stamp[1] = high ? stamp[0] + POOL_PAGES : stamp[0];
	if (high)
		paging_map(boot_root, pool[1], pool[1], POOL_BYTES, 2, PTE_P | PTE_W);
	memcpy((void *)user, engine_user, (size_t)(engine_user_end - engine_user));
	engine_user_at = USER_AT;
	idt_fill();
	pool_fill(0);
	if (high)
		pool_fill(1);
	fill_fixed(user);
}

void image_main(void)
{
	uint64_t rounds = arg_number("rounds", 8), per_round = arg_range("steps", 400, 20, 800), audit;

	setup();
	print("modes: %lu rounds of %lu steps%s%s%s\n", rounds, per_round, high ? ", above 4 GiB" : "",
		has_smep ? ", SMEP" : "", has_smap ? ", SMAP" : "");
	every_switch();
	refusals();
	for (uint64_t round = 0; round < rounds; round++) {
		script_start();
		for (uint64_t i = 0; i < per_round / 20; i++) {
			go((enum mode)rand_below(MODES));
			steps_random(20);
		}
		script_run();
		audit = abi_command(ABI_MMU_AUDIT);
		if (audit && audit != ABI_REFUSED)
			deviation("the machine's audit finds %lu violations", audit);
		report(!deviations(), "round %lu of random switches", round);
	}
}
