/* SPDX-License-Identifier: MIT */
/* Every paging mode against a reference walker that is written from the manual (SDM vol. 3, chapter 4) and looks at guest
 * memory alone: random entries with every right, reserved bit and page size, random CR0.WP, CR4.PSE, SMEP, SMAP, EFLAGS.AC and
 * EFER.NXE, one mode after another. The outcome, the error code, the memory reached, and A and D in the guest's tables
 * must be the reference's. A replica is kept up meanwhile.
 *
 * Under SMAP with CR0.WP = 0 some stores are emulated. */
#include <stdio.h>

#include "mm/replica.h"
#include "tools/host/mmu_test.h"

#define PAGES 4096UL /* 16 MiB */
#define REGIONS 4u   /* large-page units in play, from VIRT on */
#define VIRT 0x40000000UL
#define THIRD 0x80000000UL
#define TABLES 4u    /* page tables that their entries may name */
#define STEPS 8000
#define ROOT_32 0x101000UL
#define PDPT 0x102000UL /* of PAE, and the same page in long mode */
#define PML4 0x103000UL
#define PD(i) (0x104000UL + (i) * PAGE_SIZE)      /* 4 directories of the wide kind */
#define PT(i) (0x110000UL + (i) * PAGE_SIZE)      /* page tables in play, read by either kind */
#define IDENTITY(i) (0x120000UL + (i) * PAGE_SIZE) /* 8 wide page tables */
#define IDENTITY_32(i) (0x130000UL + (i) * PAGE_SIZE)
#define DATA 0x200000UL
#define PS_PAT (1UL << 12)
#define LINK (GPTE_P | GPTE_W | GPTE_U | GPTE_A)

static uint64_t seed;
static struct mmu_paging now;
static uint64_t ok_count, refused_count, mmio_count;

static uint64_t random_below(uint64_t n)
{
	return host_random(&seed) % n;
}

static bool one_in(uint64_t n)
{
	return random_below(n) == 0;
}

static uint64_t peek(struct machine *c, uint64_t at, unsigned bytes)
{
	uint64_t value = 0;

	assert_true(mmu_read(&c->mmu, gpa(at), &value, bytes));
	return value;
}

/* ---- the reference ---- */

struct seen { uint64_t at, value; unsigned bytes; bool leaf; };
struct expected {
	bool ok, mmio;
	uint32_t error;
	uint64_t gpa;
	struct seen seen[4]; /* entries used */
	unsigned n;
};

static bool in_ram(uint64_t at)
{
	return at < 0xa0000 || (at >= 0x100000 && at < PAGES * PAGE_SIZE);
}

static bool is_long(void)
{
	return now.efer & EFER_LMA;
}

static bool is_wide(void)
{
	return now.cr4 & CR4_PAE;
}

static bool is_large(uint64_t e, unsigned level)
{
	if (level == 1)
		return true;
	if (!(e & GPTE_PS) || level == 4)
		return false;
	return is_wide() || (now.cr4 & CR4_PSE);
}

static uint64_t reserved_bits(uint64_t e, unsigned level)
{
	uint64_t bad = 0;

	if (!is_wide())
		/* MAXPHYADDR is 36 here: bits 20:17 of a 4 MiB page stand for address bits 39:36, bit 21 for none */
		return level == 2 && is_large(e, level) ? 0x3e0000 : 0;
	for (unsigned bit = 36; bit < (is_long() ? 52 : 63); bit++)
		bad |= 1UL << bit;
	if (!(now.efer & EFER_NXE))
		bad |= GPTE_NX;
	if (level == 4)
		bad |= GPTE_PS;
	if (level == 3 && is_large(e, level))
		bad |= 0x3fffe000;
	if (level == 2 && is_large(e, level))
		bad |= 0x1fe000;
	return bad;
}

static struct expected refuse(struct expected x, uint32_t access, uint32_t why)
{
	bool fetches = (is_wide() && (now.efer & EFER_NXE)) || (now.cr4 & CR4_SMEP);

	x.error = (fetches ? access : access & ~PF_I) | why;
	return x;
}

static bool permitted(bool user, bool write, bool nx, uint32_t access, bool ac)
{
	if (access & PF_U)
		return user && !(access & PF_W && !write) && !(access & PF_I && nx);
	if (access & PF_I)
		return !nx && !(user && (now.cr4 & CR4_SMEP));
	if (user && (now.cr4 & CR4_SMAP) && !ac)
		return false;
	return !(access & PF_W) || write || !(now.cr0 & CR0_WP);
}

static struct expected reference(struct machine *c, uint64_t va, uint32_t access)
{
	struct expected x = {0};
	bool user = true, write = true, nx = false;
	unsigned bytes = is_wide() ? 8 : 4, bits = is_wide() ? 9 : 10, level = is_long() ? 4 : 2;
	uint64_t table = is_long() ? now.cr3 & GPTE_ADDRESS : now.cr3 & 0xfffff000, e, shift;

	if (!(now.cr0 & CR0_PG)) {
		x.ok = in_ram(va);
		x.mmio = !x.ok;
		x.gpa = va;
		return x;
	}
	if (is_wide() && !is_long()) {
		if (!(now.pdpte[va >> 30] & GPTE_P))
			return refuse(x, access, 0);
		table = now.pdpte[va >> 30] & GPTE_ADDRESS;
	}
	for (;; level--) {
		shift = 12 + bits * (level - 1);
		table += (va >> shift & ((1UL << bits) - 1)) * bytes;
		if (!in_ram(table)) /* all ones; 32-bit entries are said to have reserved bits too */
			return refuse(x, access, PF_P | PF_RSVD);
		e = peek(c, table, bytes);
		if (!(e & GPTE_P))
			return refuse(x, access, 0);
		if (e & reserved_bits(e, level))
			return refuse(x, access, PF_P | PF_RSVD);
		user &= (e & GPTE_U) != 0;
		write &= (e & GPTE_W) != 0;
		nx |= (e & GPTE_NX) && (now.efer & EFER_NXE);
		x.seen[x.n++] = (struct seen){table, e, bytes, is_large(e, level)};
		if (is_large(e, level))
			break;
		table = e & GPTE_ADDRESS;
	}
	if (!permitted(user, write, nx, access, c->vcpu.ac))
		return refuse(x, access, PF_P);
	x.gpa = (e & GPTE_ADDRESS & ~((1UL << shift) - 1)) | (va & ((1UL << shift) - 1));
	if (!is_wide() && level == 2)
		x.gpa |= (e >> 13 & 0xff) << 32;
	x.ok = in_ram(x.gpa);
	x.mmio = !x.ok;
	return x;
}

/* ---- what is compared ---- */

/* A in what was used, D in the leaf of a write; nothing elsewhere. An access that ends outside memory has done the same. */
static void compare_entries(struct machine *c, const struct expected *x, uint32_t access)
{
	for (unsigned i = 0; i < x->n; i++) {
		const struct seen *s = &x->seen[i];
		uint64_t want = s->value;

		if (x->ok || x->mmio)
			want |= GPTE_A | (s->leaf && (access & PF_W) ? GPTE_D : 0);
		assert_int_equal(peek(c, s->at, s->bytes), want);
	}
}

static bool is_a_table(uint64_t at)
{
	return at >= ROOT_32 && at < DATA;
}

static void check(struct machine *c, uint64_t va)
{
	static const uint32_t accesses[] = {0, PF_W, PF_U, PF_U | PF_W, PF_I, PF_I | PF_U};
	uint32_t access = accesses[random_below(6)];
	uint64_t value = host_random(&seed), written = value;
	struct expected x;
	bool got;

	c->vcpu.ac = one_in(2);
	x = reference(c, va, access);
	if (x.ok && is_a_table(x.gpa) && (access & PF_W)) {
		access &= ~PF_W; /* tables are changed by entries alone */
		x = reference(c, va, access);
	}
	got = machine_access(c, va, access, &value);
	assert_int_equal(got, x.ok);
	if (x.mmio) {
		mmio_count++;
		assert_int_equal(c->outcome, MMU_MMIO);
	} else if (!x.ok) {
		refused_count++;
		assert_int_equal(c->outcome, MMU_INJECT);
		assert_int_equal(c->fault.error, x.error);
	} else {
		ok_count++;
		compare_entries(c, &x, access);
		assert_int_equal(peek(c, x.gpa, 8), access & PF_W ? written : value);
		return;
	}
	compare_entries(c, &x, access);
}

/* ---- what is changed ---- */

static void poke(struct machine *c, uint64_t at, uint64_t value, unsigned bytes)
{
	assert_true(mmu_write(&c->mmu, gpa(at), &value, bytes));
}

/* By the guest through its identity map (then the table goes unsync), or by a device. */
static void store_entry(struct machine *c, uint64_t at, uint64_t value, unsigned bytes)
{
	uint64_t word = at & ~7UL, both = value;

	c->vcpu.ac = true;
	if (one_in(3)) {
		poke(c, at, value, bytes);
		return;
	}
	if (bytes == 4) {
		both = peek(c, word, 8);
		both = at & 4 ? (both & 0xffffffff) | value << 32 : (both & ~0xffffffffUL) | (uint32_t)value;
	}
	assert_true(machine_store(c, word, both));
}

static uint64_t random_flags(void)
{
	uint64_t r = host_random(&seed), e = 0;

	e |= r % 8 ? GPTE_P : 0;
	e |= r >> 3 & 1 ? GPTE_W : 0;
	e |= r >> 4 & 1 ? GPTE_U : 0;
	e |= r >> 5 & 1 ? GPTE_A : 0;
	e |= r >> 6 & 1 ? GPTE_D : 0;
	if (is_wide() && !(r >> 7 & 3))
		e |= GPTE_NX;
	return e;
}

static uint64_t random_frame(void)
{
	return one_in(40) ? 0xa0000 + (random_below(16) << 12) : DATA + (random_below(64) << 12);
}

static uint64_t random_directory_entry(void)
{
	uint64_t e = random_flags();

	if (one_in(3)) {
		/* 4 MiB or two of 2 MiB: the first has tables in it */
		e |= GPTE_PS | random_below(4) << (is_wide() ? 21 : 22);
		if (one_in(4))
			e |= PS_PAT;
		if (one_in(12))
			e |= 1UL << (13 + random_below(is_wide() ? 8 : 9));
	} else {
		e |= PT(random_below(TABLES));
	}
	return e;
}

static void change_directory(struct machine *c)
{
	unsigned region = random_below(REGIONS);

	if (is_wide())
		store_entry(c, PD(1) + region * 8, random_directory_entry(), 8);
	else
		store_entry(c, ROOT_32 + (256 + region) * 4, random_directory_entry(), 4);
}

static void change_entry(struct machine *c)
{
	unsigned bytes = is_wide() ? 8 : 4, i = random_below(16) * (is_wide() ? 1 : 61);
	uint64_t e = random_flags() | random_frame();

	if (is_wide() && one_in(24))
		e |= 1UL << (36 + random_below(27));
	store_entry(c, PT(random_below(TABLES)) + i * bytes, e, bytes);
}

static uint64_t random_address(void)
{
	uint64_t page = random_below(16);

	if (!(now.cr0 & CR0_PG) || one_in(16))
		return random_below(PAGES * PAGE_SIZE / 8) * 8; /* the identity map */
	if (is_wide() && one_in(8))
		return THIRD + (page << 12) + 64; /* through the PDPTE that comes and goes */
	if (!is_wide())
		return VIRT + (random_below(REGIONS) << 22) + (page * 61 << 12) + 64;
	return VIRT + (random_below(REGIONS) << 21) + (page << 12) + 64;
}

static void reload(struct machine *c)
{
	if (is_wide() && !is_long() && (now.cr0 & CR0_PG))
		for (unsigned i = 0; i < 4; i++)
			now.pdpte[i] = peek(c, PDPT + i * 8, 8);
	machine_set(c, &now);
}

static void change_registers(struct machine *c)
{
	static const uint64_t cr3[] = {0, ROOT_32, PDPT, PML4};
	unsigned mode = random_below(4);

	now.cr0 = CR0_PE | (one_in(3) ? 0 : CR0_WP) | (mode ? CR0_PG : 0);
	now.cr4 = (mode >= 2 ? CR4_PAE : 0) | (one_in(2) ? CR4_PSE : 0) | (one_in(2) ? CR4_SMEP : 0);
	if (one_in(2))
		now.cr4 |= CR4_SMAP;
	now.efer = (mode == 3 ? EFER_LME | EFER_LMA : 0) | (one_in(2) ? EFER_NXE : 0);
	now.cr3 = cr3[mode];
	/* the third PDPTE comes and goes; PAE reads it at the load, long mode at each walk */
	poke(c, PDPT + 16, one_in(2) ? 0 : PD(2) | (mode == 3 ? LINK : GPTE_P), 8);
	for (unsigned i = 0; i < 2; i++)
		poke(c, PDPT + i * 8, PD(i) | (mode == 3 ? LINK : GPTE_P), 8);
	reload(c);
}

static void build(struct machine *c)
{
	for (unsigned page = 0; page < PAGES; page++) {
		poke(c, IDENTITY(page / 512) + page % 512 * 8, page << 12 | GPTE_P | GPTE_W | GPTE_A | GPTE_D, 8);
		poke(c, IDENTITY_32(page / 1024) + page % 1024 * 4, page << 12 | GPTE_P | GPTE_W | GPTE_A | GPTE_D, 4);
	}
	for (unsigned i = 0; i < 8; i++)
		poke(c, PD(0) + i * 8, IDENTITY(i) | GPTE_P | GPTE_W | GPTE_A, 8);
	for (unsigned i = 0; i < 4; i++)
		poke(c, ROOT_32 + i * 4, IDENTITY_32(i) | GPTE_P | GPTE_W | GPTE_A, 4);
	poke(c, PML4, PDPT | LINK, 8);
	poke(c, PD(2), DATA | LINK | GPTE_PS, 8);
}

/* Not seen before the next load of CR3 in PAE mode: the four registers stay. */
static void change_pdpte(struct machine *c)
{
	if (is_wide() && !is_long() && (now.cr0 & CR0_PG))
		poke(c, PDPT + 16, one_in(2) ? 0 : PD(2) | GPTE_P, 8);
}

/* ---- the tests ---- */

static void a_storm_through_every_mode(void **state)
{
	struct machine *c = *state;
	struct replica r;
	gfn_t first = gfn(0);

	build(c);
	ok_count = refused_count = mmio_count = 0;
	assert_true(replica_init(&r, &c->mmu));
	for (unsigned n = 0; n < STEPS; n++) {
		uint64_t dice = random_below(100);

		if (dice < 5)
			change_registers(c);
		if (dice < 60 && (now.cr0 & CR0_PG)) {
			if (one_in(3))
				change_directory(c);
			else
				change_entry(c);
			reload(c);
		}
		if (dice > 90)
			change_pdpte(c);
		if (dice == 60) {
			c->mmu.log_mode = random_below(2) ? LOG_DBIT : LOG_WP;
			assert_int_equal(replica_round(&r, 0), LOG_DONE);
		}
		for (unsigned k = 0; k < 4; k++)
			check(c, random_address());
		if (n % 64 == 0)
			assert_int_equal(mmu_audit(&c->mmu), 0);
	}
	assert_int_equal(replica_round(&r, 0), LOG_DONE);
	assert_int_equal(replica_compare(&r, &first), 0);
	replica_destroy(&r);
	printf("%lu accesses went through, %lu faulted, %lu were to no memory\n", ok_count, refused_count, mmio_count);
	assert_true(c->emulated > STEPS / 1000);
	assert_true(ok_count > STEPS && refused_count > STEPS && mmio_count > STEPS / 100);
}

static int setup_modes(void **state)
{
	host_native_init(1);
	mmu_global_init();
	log_test = (struct log_test){0};
	machine_init(&test_machine, PAGES, 600);
	now = (struct mmu_paging){.cr0 = CR0_PE};
	*state = &test_machine;
	return 0;
}

#define MODES_TEST(f) cmocka_unit_test_setup_teardown(f, setup_modes, test_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MODES_TEST(a_storm_through_every_mode),
		MODES_TEST(a_storm_through_every_mode),
		MODES_TEST(a_storm_through_every_mode),
	};

	seed = 3;
	return cmocka_run_group_tests_name("paging modes", tests, 0, 0);
}
