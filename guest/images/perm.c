/* SPDX-License-Identifier: MIT */
/* perm: every combination of P, W, U and NX in a leaf and in an entry above it, of CR0.WP, CR4.SMEP, CR4.SMAP with
 * EFLAGS.AC, EFER.NXE, CPL 0 and 3, and read, write and fetch: the outcome, the #PF error code and CR2, the value, A
 * and D must be what the manual says.
 *
 *   shape=0              which entries: 1 a 4 KiB leaf and its directory entry, 2 the PDPT's, 3 the PML4's, 4 a 2 MiB
 *                        leaf and the PDPT's entry; 0 all of these
 *
 * Each page is accessed once between two fillings of the tables, but those that the supervisor has written through WP clear
 * under SMAP: SMAP must stop it there once AC is clear.
 */
#include "guest/images/lib.h"

#define SHAPES 4
#define RIGHTS 16	   /* combinations of P, W, U and NX */
#define ACCESSES 6	   /* read, write, fetch, by the supervisor and by the user */
#define PAGES (RIGHTS * ACCESSES)
#define USER (8UL << 39)
#define CODE_OFFSET 64
#define EFER_NXE (1UL << 11)

static const struct shape {
	const char *name;
	unsigned leaf, upper; /* levels */
	uint64_t window;
} shapes[SHAPES] = {
	{"4 KiB pages, rights above at level 2", 1, 2, 1UL << 39},
	{"4 KiB pages, rights above at level 3", 1, 3, 2UL << 39},
	{"4 KiB pages, rights above at level 4", 1, 4, 16UL << 39},
	{"2 MiB pages, rights above at level 3", 2, 3, 3UL << 39},
};

/* What the outcome depends on beside the entries. */
struct control {
	bool wp, smep, smap, ac, nxe;
};

static const struct shape *shape;
static uint64_t *root, frame; /* 2 MiB, of which the first page is used */
static uint64_t *upper[RIGHTS], upper_link[RIGHTS], *leaf[RIGHTS]; /* for each of the upper entry's rights */
static struct control now;
static bool has_smep, has_smap;
static uint64_t tried, refused;

static uint64_t rights(unsigned i)
{
	return (i & 1 ? PTE_P : 0) | (i & 2 ? PTE_W : 0) | (i & 4 ? PTE_U : 0) | (i & 8 ? PTE_NX : 0);
}

static uint64_t page_va(unsigned above, unsigned page)
{
	return shape->window + ((uint64_t)above << (3 + 9 * shape->upper)) + ((uint64_t)page << (3 + 9 * shape->leaf));
}

/* ---- the reference (SDM volume 3, 4.6 and 4.7) ---- */

struct outcome {
	bool faults;
	uint32_t error;
};

static struct outcome predict(uint64_t above, uint64_t at, enum access access, bool user)
{
	uint64_t all = above & at, any = above | at;
	bool is_user = all & PTE_U, write = access == ACCESS_WRITE, fetch = access == ACCESS_FETCH;
	struct outcome o = {true, (write ? PF_W : 0) | (user ? PF_U : 0)};

	if (fetch && (now.nxe || now.smep))
		o.error |= PF_I;
	/* the upper entry is met first: what ends the walk there, ends it */
	if (!(above & PTE_P))
		return o;
	if (!now.nxe && above & PTE_NX) {
		o.error |= PF_P | PF_RSVD;
		return o;
	}
	if (!(at & PTE_P))
		return o;
	o.error |= PF_P;
	if (!now.nxe && at & PTE_NX)
		o.error |= PF_RSVD;
	else if (user)
		o.faults = !is_user || (write && !(all & PTE_W)) || (fetch && any & PTE_NX);
	else if (fetch)
		o.faults = any & PTE_NX || (is_user && now.smep);
	else
		o.faults = (is_user && now.smap && !now.ac) || (write && now.wp && !(all & PTE_W));
	return o;
}

/* ---- tables and control registers ---- */

static void fill(void)
{
	for (unsigned above = 0; above < RIGHTS; above++) {
		memset(leaf[above], 0, PAGES * sizeof(uint64_t));
		*upper[above] = 0;
	}
	paging_load(root);
	for (unsigned above = 0; above < RIGHTS; above++) {
		*upper[above] = upper_link[above] | rights(above);
		for (unsigned page = 0; page < PAGES; page++)
			leaf[above][page] = frame | rights(page / ACCESSES) | (shape->leaf > 1 ? PTE_PS : 0);
	}
	paging_load(root);
}

static void control_set(struct control c)
{
	uint64_t efer = rdmsr(MSR_EFER), cr4 = cr4_read() & ~(CR4_SMEP | CR4_SMAP);

	now = c;
	cr0_set_wp(c.wp);
	cr4_write(cr4 | (c.smep ? CR4_SMEP : 0) | (c.smap ? CR4_SMAP : 0));
	if (has_smap)
		flags_set_ac(c.ac);
	wrmsr(MSR_EFER, c.nxe ? efer | EFER_NXE : efer & ~EFER_NXE);
}

/* ---- one access ---- */

/* The supervisor has just written a user's page with AC set: without, it is stopped. */
static void check_without_ac(uint64_t va)
{
	struct fault fault;

	flags_set_ac(false);
	access_try(&fault, ACCESS_READ, va, 0);
	flags_set_ac(true);
	if (fault.vector != VECTOR_PF || fault.error != PF_P || fault.cr2 != va)
		deviation("WP %d: a read without AC after a write of %lx: %s %x", now.wp, va, vector_name(fault.vector),
			fault.error);
}

static void check(unsigned above, unsigned page)
{
	static const char *const verb[] = {"read", "write", "fetch"};
	enum access access = (enum access)(page % ACCESSES % 3);
	bool user = page % ACCESSES >= 3, wrong;
	struct outcome o = predict(rights(above), rights(page / ACCESSES), access, user);
	uint64_t va = page_va(above, page) + (access == ACCESS_FETCH ? CODE_OFFSET : 0), value = rand64();
	uint64_t before = *(volatile uint64_t *)frame, result, right, entry, dirty;
	struct fault fault;

	result = user ? access_try_user(&fault, access, va, value) : access_try(&fault, access, va, value);
	tried++;
	refused += o.faults;
	if (o.faults)
		wrong = fault.vector != VECTOR_PF || fault.error != o.error || fault.cr2 != va;
	else
		wrong = fault.vector != FAULT_NONE;
	if (wrong)
		deviation("%s %s, WP %d SMEP %d SMAP %d AC %d NXE %d, entries %x and %x: %s %x, not %s %x",
			user ? "user" : "supervisor", verb[access], now.wp, now.smep, now.smap, now.ac, now.nxe, above,
			page / ACCESSES, vector_name(fault.vector), fault.error, o.faults ? "#PF" : "no fault",
			o.faults ? o.error : 0);
	right = access == ACCESS_FETCH ? CODE_OFFSET : before;
	if (!o.faults && access != ACCESS_WRITE && result != right)
		deviation("%s of %lx: %lx, not %lx", verb[access], va, result, right);
	right = !o.faults && access == ACCESS_WRITE ? value : before;
	if (*(volatile uint64_t *)frame != right)
		deviation("%s of %lx leaves %lx, not %lx", verb[access], va, *(volatile uint64_t *)frame, right);
	entry = leaf[above][page];
	dirty = !o.faults && access == ACCESS_WRITE ? PTE_D : 0;
	if ((entry & PTE_D) != dirty || (!o.faults && !(entry & *upper[above] & PTE_A)))
		deviation("%s of %lx leaves entries %lx and %lx", verb[access], va, *upper[above], entry);
	if (dirty && !user && now.smap && now.ac && entry & *upper[above] & PTE_U)
		check_without_ac(va);
}

static void check_all(struct control c)
{
	control_set(c);
	fill();
	for (unsigned above = 0; above < RIGHTS; above++)
		for (unsigned page = 0; page < PAGES; page++)
			check(above, page);
	control_set((struct control){.wp = true, .nxe = true});
}

static void shape_check(void)
{
	for (unsigned above = 0; above < RIGHTS; above++) {
		leaf[above] = paging_entry(root, page_va(above, 0), shape->leaf, true);
		upper[above] = paging_entry(root, page_va(above, 0), shape->upper, true);
		upper_link[above] = *upper[above] & PTE_FRAME;
	}
	for (unsigned i = 0; i < 32; i++) {
		struct control c = {i & 1, i & 2, i & 4, i & 8, i & 16};

		if ((c.smep && !has_smep) || (c.smap && !has_smap) || (c.ac && !c.smap))
			continue;
		check_all(c);
	}
	report(!deviations(), "%s: %lu accesses, %lu of them faults", shape->name, tried, refused);
	tried = refused = 0;
}

void image_main(void)
{
	static const uint8_t code[] = {0xb8, CODE_OFFSET, 0, 0, 0, 0xc3}; /* mov $CODE_OFFSET, %eax; ret */
	uint64_t only = arg_range("shape", 0, 0, SHAPES);

	has_smep = cpu_has_smep(), has_smap = cpu_has_smap();
	frame = memory_reserve(PAGE_2M, PAGE_2M);
	memcpy((void *)(frame + CODE_OFFSET), code, sizeof(code));
	root = paging_new();
	user_setup(root, USER);
	*paging_entry(root, USER + PAGE, 1, false) &= ~PTE_NX; /* reserved while NXE is clear */
	paging_load(root);
	if (!has_smep)
		skip("this CPU has no SMEP");
	if (!has_smap)
		skip("this CPU has no SMAP");
	for (unsigned i = 0; i < SHAPES; i++) {
		shape = &shapes[i];
		if (!only || only == i + 1)
			shape_check();
	}
}
