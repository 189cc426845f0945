/* SPDX-License-Identifier: MIT */
/* ptstorm: changes its page tables at random and checks, by a model of its own, what each access then does.
 *
 *   rounds=4 ops=500     rounds, and operations in each; odd rounds use global pages
 *   regions=4            2 MiB regions (1...64) under one page directory, as much memory behind them
 *   seed=1               of the random numbers
 *
 * Under QEMU's own TCG (7.2), without a hypervisor, two deviations are QEMU's: the error code of a reserved bit lacks
 * P, and after INVLPG of a large page code may still run from its other 4 KiB pieces.
 *
 * An operation maps, unmaps, remaps or changes a 4 KiB page; makes a region a table, a 2 MiB page or nothing; changes
 * permissions at the upper levels; makes the second window an alias of the first one's directory, a 1 GiB page or
 * nothing; clears A and D; toggles CR0.WP, CR4.SMEP, CR4.SMAP; reloads CR3, executes INVLPG, has the test device drop
 * all shadow pages. It flushes what the manual asks for and no more. Then reads, writes and calls at CPL 0 and 3 must
 * give the right value or exactly the right #PF error code and CR2, set A on the way and D in the leaf, and change no
 * other bit. Frames change between data and page tables all the time, tables are mapped in the windows themselves and
 * also written there. A round ends with a write to every data frame.
 *
 * Metric: 1 TSC ticks per operation with its accesses.
 */
#include "guest/images/lib.h"

#define METRIC_TICKS 1
#define WINDOW (1UL << 39)	   /* window 0; window 1 is 1 GiB above */
#define USER (2UL << 39)	   /* user code and stack, apart from what is changed */
#define NON_CANONICAL (1UL << 62)
#define ENTRIES 512
#define FRAMES_PER_REGION ENTRIES
#define REGIONS_MAX 64
#define CODE_OFFSET 64		   /* where a data frame holds "mov $frame, %eax; ret" */
#define ACCESSES_BEFORE 2	   /* an operation */
#define ACCESSES_AFTER 3
#define HOT_PAGES 4		   /* per region: the pages that most operations and accesses go to */
#define PTE_LARGE_RSVD (1UL << 13) /* reserved in a 2 MiB or 1 GiB leaf */

/* The model: what each entry must hold, A aside. An entry is named by its level and its index within the level. */
static uint64_t model_top, model_giga[2], model_mega[REGIONS_MAX], *model_page;
/* The real tables: two roots with the same window, one PDPT, one PD; the level-1 tables are frames of the pool. */
static uint64_t *root[2], *pdpt, *pd;

static unsigned regions, frames;
static uint64_t pool;		       /* gpa of frame 0 */
static uint64_t *stamp;		       /* per frame: its first 8 bytes */
static bool *is_table;		       /* per frame */
static uint64_t table_alias[REGIONS_MAX]; /* per region: a gva that was mapped onto its table, 0 if none */

static uint64_t pte_rsvd;	/* a reserved address bit, 0 if all are in use */
static bool has_1g, has_smep, has_smap, use_global, wp = true, smep, smap, ac;
static unsigned target; /* the page, as an index of level 1, that the present operation is about */
static uint64_t count_fault;

/* A page to work on, as an index of level 1. */
static unsigned random_page(void)
{
	unsigned page = chance(80) ? rand_below(HOT_PAGES) * (ENTRIES / HOT_PAGES) : rand_below(ENTRIES);

	return rand_below(regions) * ENTRIES + page;
}

static uint64_t frame_gpa(unsigned frame) { return pool + frame * PAGE; }
static unsigned frame_at(uint64_t entry) { return (unsigned)(((entry & PTE_FRAME) - pool) / PAGE); }

static uint64_t *model_entry(unsigned level, unsigned index)
{
	uint64_t *const tables[] = {model_page, model_mega, model_giga, &model_top};

	return tables[level - 1] + index;
}

static volatile uint64_t *real_entry(unsigned level, unsigned index)
{
	if (level == 1)
		return (uint64_t *)(model_mega[index / ENTRIES] & PTE_FRAME) + index % ENTRIES;
	return level == 4 ? &root[0][1] : level == 3 ? &pdpt[index] : &pd[index];
}

static bool is_leaf(unsigned level, uint64_t entry) { return level == 1 || entry & PTE_PS; }

static bool is_bad(unsigned level, uint64_t entry)
{
	return entry & pte_rsvd || (level > 1 && entry & PTE_PS && entry & PTE_LARGE_RSVD);
}

/* What the manual says of one access (SDM volume 3, 4.6 and 4.7). */
struct outcome {
	bool faults;
	uint32_t error;
	unsigned level, index; /* the leaf, or the entry that ended the walk */
	uint64_t gpa;
};

static unsigned level_index(uint64_t va, unsigned level)
{
	uint64_t offset = va - WINDOW;

	if (level >= 3)
		return level == 4 ? 0 : (unsigned)(offset / PAGE_1G);
	return (unsigned)(offset % PAGE_1G / (level == 2 ? PAGE_2M : PAGE));
}

static struct outcome predict(uint64_t va, enum access access, bool user)
{
	struct outcome o = {.level = 5};
	uint64_t entry = 0, all = PTE_W | PTE_U, any = 0;
	bool fetch = access == ACCESS_FETCH, write = access == ACCESS_WRITE;

	o.error = (write ? PF_W : 0) | (user ? PF_U : 0) | (fetch ? PF_I : 0);
	do {
		o.level--;
		o.index = level_index(va, o.level);
		entry = *model_entry(o.level, o.index);
		o.faults = !(entry & PTE_P) || is_bad(o.level, entry);
		if (o.faults) {
			o.error |= entry & PTE_P ? PF_P | PF_RSVD : 0;
			return o;
		}
		all &= entry;
		any |= entry;
	} while (!is_leaf(o.level, entry));

	if (user)
		o.faults = !(all & PTE_U) || (write && !(all & PTE_W)) || (fetch && any & PTE_NX);
	else if (fetch)
		o.faults = any & PTE_NX || (smep && all & PTE_U);
	else
		o.faults = (write && wp && !(all & PTE_W)) || (smap && !ac && all & PTE_U);
	o.error |= PF_P;
	o.gpa = (entry & PTE_FRAME) + va % (o.level == 3 ? PAGE_1G : o.level == 2 ? PAGE_2M : PAGE);
	return o;
}

/* ---- changing an entry ---- */

static void flush_all(void)
{
	if (use_global) {
		cr4_write(cr4_read() & ~CR4_PGE);
		cr4_write(cr4_read() | CR4_PGE);
	} else {
		paging_load(root[rand_below(2)]);
	}
}

/* Flushes one translation in both windows: of a 4 KiB page, or any address of a larger one. */
static void flush_one(unsigned level, unsigned index)
{
	uint64_t offset = rand_below(ENTRIES) * PAGE;

	if (level < 3)
		offset = level == 1 ? index * PAGE : index * PAGE_2M + offset;
	if (level < 3)
		invlpg(WINDOW + offset);
	invlpg(WINDOW + PAGE_1G + offset);
}

/* Stores a level-1 entry through a window, if its table happens to be mapped there. */
static bool store_by_alias(unsigned index, uint64_t value)
{
	uint64_t va = table_alias[index / ENTRIES];
	struct outcome o = predict(va ? va : WINDOW, ACCESS_WRITE, false);

	if (!va || chance(50) || o.faults || o.level != 1 || o.gpa != (model_mega[index / ENTRIES] & PTE_FRAME))
		return false;
	model_page[o.index] |= PTE_D;
	((volatile uint64_t *)va)[index % ENTRIES] = value;
	return true;
}

static void entry_store(unsigned level, unsigned index, uint64_t value)
{
	if (level != 1 || !store_by_alias(index, value))
		*real_entry(level, index) = value;
	if (level == 4)
		root[1][1] = value;
	*model_entry(level, index) = value;
}

/* Stores an entry and flushes what that makes necessary. */
static void entry_change(unsigned level, unsigned index, uint64_t value)
{
	uint64_t old = *model_entry(level, index);

	entry_store(level, index, value);
	if ((!(old & PTE_P) || is_bad(level, old)) && chance(70))
		return; /* such an entry is never cached */
	if (is_leaf(level, old) && chance(90))
		flush_one(level, index);
	else
		flush_all();
}

static uint64_t random_rights(bool leaf)
{
	unsigned most = leaf ? 80 : 95;

	return (chance(most) ? PTE_W : 0) | (chance(most) ? PTE_U : 0) | (chance(100 - most) ? PTE_NX : 0);
}

static uint64_t random_leaf(unsigned level, uint64_t gpa)
{
	uint64_t entry = gpa | PTE_P | random_rights(true);

	if (use_global && chance(40))
		entry |= PTE_G;
	if (chance(25))
		entry |= PTE_A | (chance(50) ? PTE_D : 0);
	if (chance(4))
		entry |= level > 1 ? PTE_LARGE_RSVD : pte_rsvd;
	return level > 1 ? entry | PTE_PS : entry;
}

static uint64_t random_absent(void) { return chance(50) ? 0 : rand64() & ~PTE_P; }

/* ---- operations ---- */

static void frame_stamp(unsigned frame)
{
	uint8_t *at = (uint8_t *)frame_gpa(frame);

	stamp[frame] = rand64();
	*(uint64_t *)at = stamp[frame];
	at[CODE_OFFSET] = 0xb8;
	memcpy(at + CODE_OFFSET + 1, &frame, sizeof(frame));
	at[CODE_OFFSET + 1 + sizeof(frame)] = 0xc3;
}

static bool has_table(unsigned region) { return model_mega[region] & PTE_P && !(model_mega[region] & PTE_PS); }

static void change_page(void)
{
	unsigned index = target, region = index / ENTRIES, frame = rand_below(frames);
	uint64_t old = model_page[index];

	if (!has_table(region))
		return;
	if (chance(10)) {
		region = chance(50) ? region : rand_below(regions);
		if (has_table(region)) {
			frame = frame_at(model_mega[region]);
			table_alias[region] = WINDOW + index * PAGE;
		}
	}
	if (chance(25))
		entry_change(1, index, random_absent());
	else if (old & PTE_P && chance(40))
		entry_change(1, index, (old & ~(PTE_W | PTE_U | PTE_NX)) | random_rights(true));
	else
		entry_change(1, index, random_leaf(1, frame_gpa(frame)));
}

/* Turns a data frame into a level-1 table; returns the entry that links it. */
static uint64_t table_make(unsigned region)
{
	unsigned frame = rand_below(frames), filled = chance(50) ? ENTRIES : rand_below(16);
	uint64_t *table;

	while (is_table[frame])
		frame = (frame + 1) % frames;
	is_table[frame] = true;
	table = (uint64_t *)frame_gpa(frame);
	for (unsigned i = 0; i < ENTRIES; i++) {
		table[i] = i < filled ? random_leaf(1, frame_gpa(rand_below(frames))) : 0;
		model_page[region * ENTRIES + i] = table[i];
	}
	return frame_gpa(frame) | PTE_P | random_rights(false);
}

/* Makes the table that an entry linked a data frame again; nothing may have it cached any more. */
static void table_release(uint64_t entry)
{
	is_table[frame_at(entry)] = false;
	frame_stamp(frame_at(entry));
}

static void change_mega(void)
{
	unsigned region = target / ENTRIES, dice = rand_below(8);
	uint64_t old = model_mega[region], value;
	bool had_table = has_table(region);

	if (dice < 3 && had_table) {
		entry_change(2, region, (old & ~(PTE_W | PTE_U | PTE_NX)) | random_rights(false));
		return;
	}
	if (dice == 3)
		value = random_absent();
	else if (dice < 6)
		value = random_leaf(2, pool + rand_below(regions) * PAGE_2M);
	else
		value = table_make(region);
	entry_change(2, region, value);
	table_alias[region] = 0;
	if (had_table)
		table_release(old);
}

static void change_giga(void)
{
	unsigned kind = rand_below(4);

	if (kind == 0 || (kind == 1 && !has_1g))
		entry_change(3, 0, (uint64_t)pd | (chance(90) ? PTE_P : 0) | random_rights(false));
	else if (kind == 1)
		entry_change(3, 1, random_leaf(3, 0));
	else if (kind == 2)
		entry_change(3, 1, random_absent());
	else
		entry_change(3, 1, (uint64_t)pd | PTE_P | random_rights(false));
}

static void change_control(void)
{
	if (chance(50)) {
		wp = !wp;
		cr0_set_wp(wp);
		return;
	}
	smep = has_smep && chance(30);
	smap = has_smap && chance(30);
	ac = smap && chance(50);
	cr4_write((cr4_read() & ~(CR4_SMEP | CR4_SMAP)) | (smep ? CR4_SMEP : 0) | (smap ? CR4_SMAP : 0));
	if (has_smap)
		flags_set_ac(ac);
}

/* Clears A and D of a leaf, so that the CPU must set them again. */
static void clear_accessed(void)
{
	unsigned index = target, level = has_table(index / ENTRIES) ? 1 : 2;
	uint64_t entry;

	if (level == 2)
		index /= ENTRIES;
	entry = *model_entry(level, index);
	if (!(entry & PTE_P))
		return;
	entry_store(level, index, entry & ~(PTE_A | PTE_D));
	flush_one(level, index);
}

static void operation(void)
{
	unsigned dice = rand_below(100);

	if (dice < 60)
		change_page();
	else if (dice < 68)
		change_mega();
	else if (dice < 72)
		change_giga();
	else if (dice < 75)
		entry_change(4, 0, (uint64_t)pdpt | PTE_P | random_rights(false));
	else if (dice < 83)
		change_control();
	else if (dice < 96)
		clear_accessed();
	else if (dice < 98)
		flush_all();
	else if (dice < 99)
		abi_command(ABI_MMU_ZAP);
	else
		invlpg(chance(50) ? NON_CANONICAL : WINDOW + rand64() % (2 * PAGE_1G));
}

/* ---- checking ---- */

/* Every entry on the way to va must hold what the model says; A too if `accessed`. */
static void check_path(uint64_t va, struct outcome o, bool accessed)
{
	for (unsigned level = 4; level >= o.level; level--) {
		unsigned index = level_index(va, level);
		uint64_t real = *real_entry(level, index), model = *model_entry(level, index);

		if (level == 4)
			real |= root[1][1]; /* a global translation may outlive the root that it was made by */
		if ((real | PTE_A) != (model | PTE_A) || (accessed && !(real & PTE_A)))
			deviation("entry of %lx at level %u: %lx, not %lx", va, level, real, model);
	}
}

static void check_access(uint64_t va, enum access access, bool user)
{
	static const char *const verb[] = {"read", "write", "fetch"};
	struct outcome o = predict(va, access, user);
	uint64_t value = rand64(), result;
	bool wrong;
	unsigned frame = frame_at(o.gpa);
	struct fault fault;

	if (!o.faults && is_table[frame] && access != ACCESS_READ) {
		access = ACCESS_READ;
		o = predict(va, access, user);
	}
	if (access == ACCESS_FETCH)
		va += CODE_OFFSET;
	result = user ? access_try_user(&fault, access, va, value) : access_try(&fault, access, va, value);
	count_fault += o.faults;

	if (!o.faults)
		wrong = fault.vector != FAULT_NONE;
	else
		wrong = fault.vector != VECTOR_PF || fault.error != o.error || fault.cr2 != va;
	if (wrong) {
		deviation("%s %s of %lx: %s %x at %lx, not %s %x", user ? "user" : "kernel", verb[access], va,
			vector_name(fault.vector), fault.error, fault.cr2, o.faults ? "#PF" : "no fault", o.error);
		return;
	}
	if (!o.faults && access == ACCESS_WRITE) {
		stamp[frame] = value;
		*model_entry(o.level, o.index) |= PTE_D;
	} else if (!o.faults && !is_table[frame]) {
		uint64_t right = access == ACCESS_FETCH ? frame : stamp[frame];

		if (result != right)
			deviation("%lx, frame %u: %lx, not %lx", va, frame, result, right);
	}
	check_path(va, o, !o.faults);
}

static void check_random(void)
{
	enum access access = (enum access)rand_below(3);
	unsigned page = chance(80) ? target : random_page();
	uint64_t va = WINDOW + page * PAGE;

	if (chance(40)) {
		va += PAGE_1G;
		if (model_giga[1] & PTE_P && model_giga[1] & PTE_PS)
			va = WINDOW + PAGE_1G + frame_gpa(page);
	}
	check_access(va, access, chance(40));
}

/* Every entry, every data frame as the identity map shows it, and the machine's own audit if it has one. */
static void check_all(void)
{
	uint32_t audit = abi_command(ABI_MMU_AUDIT);

	for (unsigned i = 0; i < regions * ENTRIES; i++)
		if (has_table(i / ENTRIES) && (*real_entry(1, i) | PTE_A) != (model_page[i] | PTE_A))
			deviation("page %u: entry %lx, not %lx", i, *real_entry(1, i), model_page[i]);
	if (audit && audit != ABI_REFUSED)
		deviation("the machine's audit finds %u violations", audit);
	for (unsigned i = 0; i < frames; i++)
		if (!is_table[i] && *(volatile uint64_t *)frame_gpa(i) != stamp[i])
			deviation("frame %u: %lx, not %lx", i, *(volatile uint64_t *)frame_gpa(i), stamp[i]);
}

static void setup(void)
{
	regions = (unsigned)arg_range("regions", 4, 1, REGIONS_MAX);
	frames = regions * FRAMES_PER_REGION;
	pool = memory_reserve(frames * PAGE, PAGE_2M);
	stamp = (uint64_t *)memory_take(frames * sizeof(*stamp), PAGE);
	is_table = (bool *)memory_take(frames * sizeof(*is_table), PAGE);
	model_page = (uint64_t *)memory_take(regions * ENTRIES * sizeof(*model_page), PAGE);
	pdpt = (uint64_t *)memory_take(PAGE, PAGE);
	pd = (uint64_t *)memory_take(PAGE, PAGE);
	for (unsigned i = 0; i < frames; i++)
		frame_stamp(i);
	user_setup(boot_root, USER);
	for (unsigned i = 0; i < 2; i++) {
		root[i] = paging_new();
		root[i][USER / WINDOW] = boot_root[USER / WINDOW];
	}
	pte_rsvd = cpu_phys_bits() < 52 ? 1UL << 51 : 0;
	has_1g = cpu_has_1g(), has_smep = cpu_has_smep(), has_smap = cpu_has_smap();
	paging_load(root[0]);
	entry_store(4, 0, (uint64_t)pdpt | PTE_P | PTE_W | PTE_U);
	entry_store(3, 0, (uint64_t)pd | PTE_P | PTE_W | PTE_U);
}

void image_main(void)
{
	uint64_t rounds = arg_number("rounds", 4), ops = arg_number("ops", 500), start = rdtsc();

	setup();
	print("ptstorm: %lu rounds of %lu operations, %u regions%s%s%s\n", rounds, ops, regions,
		has_1g ? ", 1 GiB pages" : "", has_smep ? ", SMEP" : "", has_smap ? ", SMAP" : "");
	for (uint64_t round = 0; round < rounds; round++) {
		use_global = round & 1;
		cr4_write(use_global ? cr4_read() | CR4_PGE : cr4_read() & ~CR4_PGE);
		for (uint64_t i = 0; i < ops; i++) {
			target = random_page();
			for (unsigned j = 0; j < ACCESSES_BEFORE; j++)
				check_random();
			operation();
			for (unsigned j = 0; j < ACCESSES_AFTER; j++)
				check_random();
		}
		check_all();
		for (unsigned i = 0; i < frames; i++)
			if (!is_table[i])
				frame_stamp(i);
		check_all();
		report(!deviations(), "round %lu%s", round, use_global ? ", global pages" : "");
	}
	print("faults: %lu of %lu accesses\n", count_fault, rounds * ops * (ACCESSES_BEFORE + ACCESSES_AFTER));
	metric(METRIC_TICKS, "ticks per operation", (rdtsc() - start) / (rounds * ops | 1));
}
