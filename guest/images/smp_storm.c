/* SPDX-License-Identifier: MIT */
/* smp_storm: vCPUs change the page tables that they share, shoot down each other's translations, and check every access.
 *
 *   rounds=4 ops=500     rounds, and operations of each vCPU in each
 *   regions=4            2 MiB regions (1...16)
 *   end=0                the vCPU that reports and ends the guest; the others halt for good, or spin if their index is odd
 *   quit=0               if not 0, it does so after so many operations of the first round, in the midst of the others' storms
 *   seed=1               of the random numbers
 *
 * Each region has a lock, and a sequence number that is odd while its mappings change. Who changes one stores to the
 * tables, puts the address into the mailbox of every other vCPU, waits until all have executed INVLPG (or, for upper
 * levels, loaded CR3) and cleared it, and only then makes the number even. Memory and mailboxes are all they need: there
 * is no interrupt between them. An access that finds the same even number before and after must see exactly what is
 * mapped: the frame's stamp, or its own store through another mapping, or exactly the right page fault.
 *
 * A frame, also one that was a page table, that nobody can reach any more after a shoot-down is filled with a pattern,
 * and must still hold it when it is used again: a store, or an A or D bit, that comes late is caught.
 *
 * Operations: a page gets another frame, none, or another right; a table moves to another frame; a region becomes one
 * 2 MiB page or a table again; a vCPU changes to another root; the test device drops all shadow pages. After each round
 * one of the vCPUs has the test device audit, while the others wait in a loop.
 *
 * Metrics: 1 TSC ticks per operation, 2 shoot-downs, 3 accesses that were checked.
 */
#include "guest/images/lib.h"

#define METRIC_TICKS 1
#define METRIC_SHOTS 2
#define METRIC_CHECKED 3

#define VCPUS_MAX 8
#define REGIONS_MAX 16
#define WINDOW (1UL << 39)
#define ENTRIES 512
#define HOT 16		  /* pages of a region that are used */
#define SPACING (ENTRIES / HOT)
#define SPARE 8		  /* free frames that each vCPU has at the start */
#define ACCESSES 6	  /* before each operation */
#define FLUSH_ALL 1UL	  /* mail: load CR3; else an address to invalidate */
#define WORDS (PAGE / 8)
#define STAMP 0x57a3c0deUL
#define PATTERN 0xfeedc0ffee000000UL
#define NO_FRAME ~0u

struct region {
	uint32_t lock;
	uint64_t seq; /* odd: changing */
	bool large;
	uint64_t *table;
	uint32_t table_frame;
	uint32_t frame[HOT];
	bool writable[HOT];
} __attribute__((aligned(64)));

struct vcpu {
	uint64_t random;
	uint64_t *root[2];
	uint64_t mail[VCPUS_MAX]; /* from each vCPU; 0: none */
	uint32_t *free;
	unsigned frees;
	uint64_t shots, checked, faults, wrong;
} __attribute__((aligned(64)));

/* What smp_read and smp_write return. */
struct tried {
	uint64_t value;
	uint64_t faulted;
};
struct tried smp_read(uint64_t va);
struct tried smp_write(uint64_t va, uint64_t value);
extern char smp_entry[], smp_page_fault[];
extern uint64_t smp_other_fault;
extern struct { uint16_t limit; uint64_t base; } __attribute__((packed)) smp_idt;
void smp_main(uint32_t me);

static struct region region[REGIONS_MAX];
static struct vcpu vcpu[VCPUS_MAX];
static unsigned vcpus, regions;
static uint64_t rounds, ops, quit;
static uint64_t pool;	  /* gpa of frame 0; the first frames are the regions' 2 MiB pages */
static uint64_t *pd;
static uint64_t arrived;  /* at all barriers so far */
static uint64_t started;  /* TSC */
static struct vcpu *last; /* end= */
static uint32_t say_lock; /* of the console */

static uint64_t get(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static void put(uint64_t *p, uint64_t value) { __atomic_store_n(p, value, __ATOMIC_SEQ_CST); }

static uint32_t below(struct vcpu *v, uint64_t limit)
{
	v->random ^= v->random >> 12;
	v->random ^= v->random << 25;
	v->random ^= v->random >> 27;
	return (uint32_t)((v->random * 0x2545f4914f6cdd1dUL >> 32) * limit >> 32);
}

static bool likely(struct vcpu *v, unsigned percent) { return below(v, 100) < percent; }

/* ---- shoot-downs ---- */

static void load_root(struct vcpu *v) { paging_load(v->root[likely(v, 50)]); }

/* Does what others have asked for. Between two calls of it a translation may be used, not beyond. */
static void serve(struct vcpu *v)
{
	for (unsigned i = 0; i < vcpus; i++) {
		uint64_t mail = get(&v->mail[i]);

		if (!mail)
			continue;
		if (mail == FLUSH_ALL)
			load_root(v);
		else
			invlpg(mail);
		put(&v->mail[i], 0);
	}
}

static void wait_a_little(struct vcpu *v)
{
	serve(v);
	__asm__ volatile("pause");
}

static void take(struct vcpu *v, uint32_t *lock)
{
	while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE))
		wait_a_little(v);
}

static void drop(uint32_t *lock) { __atomic_store_n(lock, 0, __ATOMIC_RELEASE); }

static void shoot(struct vcpu *v, uint64_t mail)
{
	unsigned me = (unsigned)(v - vcpu);

	if (mail == FLUSH_ALL)
		load_root(v);
	else
		invlpg(mail);
	for (unsigned i = 0; i < vcpus; i++)
		if (i != me)
			put(&vcpu[i].mail[me], mail);
	for (unsigned i = 0; i < vcpus; i++)
		while (get(&vcpu[i].mail[me]))
			wait_a_little(v);
	v->shots++;
}

static void wrong(struct vcpu *v, const char *what, uint64_t at, uint64_t seen, uint64_t right)
{
	v->wrong++;
	take(v, &say_lock);
	deviation("vCPU %u: %s %lx: %lx, not %lx", (unsigned)(v - vcpu), what, at, seen, right);
	drop(&say_lock);
}

/* ---- frames ---- */

static uint64_t *frame_at(uint32_t frame) { return (uint64_t *)(pool + frame * PAGE); }

/* Nobody can reach the frame any more. */
static void frame_free(struct vcpu *v, uint32_t frame)
{
	for (unsigned i = 0; i < WORDS; i++)
		frame_at(frame)[i] = PATTERN + frame;
	v->free[v->frees++] = frame;
}

static void frame_check(struct vcpu *v, uint32_t frame)
{
	for (unsigned i = 0; i < WORDS; i++)
		if (frame_at(frame)[i] != PATTERN + frame)
			wrong(v, "free frame, word at", (uint64_t)&frame_at(frame)[i], frame_at(frame)[i], PATTERN + frame);
}

/* A free frame, or NO_FRAME. */
static uint32_t frame_take(struct vcpu *v)
{
	uint32_t frame;
	unsigned i;

	if (!v->frees)
		return NO_FRAME;
	i = below(v, v->frees); /* any of them, so that some lie idle for long */
	frame = v->free[i];
	v->free[i] = v->free[--v->frees];
	frame_check(v, frame);
	frame_at(frame)[0] = STAMP + frame;
	return frame;
}

/* ---- accesses ---- */

static uint64_t page_va(unsigned r, unsigned page) { return WINDOW + r * PAGE_2M + page * SPACING * PAGE; }

static uint32_t mapped(const struct region *g, unsigned r, unsigned page)
{
	return g->large ? r * ENTRIES + page * SPACING : g->frame[page];
}

static void access(struct vcpu *v)
{
	unsigned r = below(v, regions), page = below(v, HOT), me = (unsigned)(v - vcpu);
	struct region *g = &region[r];
	bool write = likely(v, 50), writable;
	uint64_t va = page_va(r, page), seq = get(&g->seq), value = below(v, 1UL << 32), right;
	uint32_t frame = mapped(g, r, page);
	struct tried t;

	writable = g->large || g->writable[page];
	t = write ? smp_write(va + 8 * (1 + me), value) : smp_read(va);
	if (seq % 2 || get(&g->seq) != seq)
		return; /* the old mapping or the new one, and nobody reuses either before we serve() */
	v->checked++;
	right = frame == NO_FRAME ? (write ? PF_W : 0) : PF_P | PF_W;
	if (frame == NO_FRAME || (write && !writable)) {
		v->faults++;
		if (!t.faulted || t.value != right)
			wrong(v, t.faulted ? "error code at" : "no fault at", va, t.value, right);
	} else if (t.faulted) {
		wrong(v, write ? "fault of a write to" : "fault of a read of", va, t.value, seq);
	} else if (write && frame_at(frame)[1 + me] != value) {
		wrong(v, "written through", va, frame_at(frame)[1 + me], value);
	} else if (!write && t.value != STAMP + frame) {
		wrong(v, "read", va, t.value, STAMP + frame);
	}
}

/* ---- operations; the region's lock is held ---- */

static uint64_t entry_for(struct vcpu *v, uint32_t frame, bool writable)
{
	uint64_t used = likely(v, 50) ? 0 : PTE_A | (writable && likely(v, 50) ? PTE_D : 0);

	return frame == NO_FRAME ? 0 : (pool + frame * PAGE) | PTE_P | used | (writable ? PTE_W : 0);
}

/* A page of a region that has a table gets another frame, none, or another right. */
static void change_page(struct vcpu *v, unsigned r)
{
	struct region *g = &region[r];
	unsigned page = below(v, HOT), dice = below(v, 100);
	uint32_t old = g->frame[page], frame = old;
	bool writable = likely(v, 70);

	if (dice < 60)
		frame = frame_take(v);
	else if (dice < 80)
		frame = NO_FRAME;
	put(&g->seq, g->seq + 1);
	put(&g->table[page * SPACING], entry_for(v, frame, writable));
	if (old != NO_FRAME || likely(v, 30)) /* what was not present is not cached */
		shoot(v, page_va(r, page));
	g->frame[page] = frame;
	g->writable[page] = writable;
	put(&g->seq, g->seq + 1);
	if (old != NO_FRAME && old != frame)
		frame_free(v, old);
}

/* The table moves: its entries to another frame. */
static void move_table(struct vcpu *v, unsigned r)
{
	struct region *g = &region[r];
	uint32_t old = g->table_frame, frame = frame_take(v);

	if (frame == NO_FRAME)
		return;
	put(&g->seq, g->seq + 1);
	for (unsigned i = 0; i < ENTRIES; i++)
		frame_at(frame)[i] = g->table[i];
	if (!g->large)
		put(&pd[r], (uint64_t)frame_at(frame) | PTE_P | PTE_W);
	shoot(v, FLUSH_ALL);
	g->table = frame_at(frame);
	g->table_frame = frame;
	put(&g->seq, g->seq + 1);
	frame_free(v, old);
}

static void change_size(struct vcpu *v, unsigned r)
{
	struct region *g = &region[r];
	uint64_t large = (pool + r * PAGE_2M) | PTE_P | PTE_W | PTE_PS;

	put(&g->seq, g->seq + 1);
	put(&pd[r], g->large ? (uint64_t)g->table | PTE_P | PTE_W : large);
	/* one address is enough for the whole of a large page, and for no more than one of the small ones */
	shoot(v, g->large && likely(v, 50) ? page_va(r, below(v, HOT)) : FLUSH_ALL);
	g->large = !g->large;
	put(&g->seq, g->seq + 1);
}

static void operation(struct vcpu *v)
{
	unsigned r = below(v, regions), dice = below(v, 1000);

	if (dice < 20) {
		load_root(v);
		return;
	}
	if (dice < 23) {
		abi_command(ABI_MMU_ZAP);
		return;
	}
	take(v, &region[r].lock);
	if (dice < 80)
		move_table(v, r);
	else if (dice < 120)
		change_size(v, r);
	else if (!region[r].large)
		change_page(v, r);
	drop(&region[r].lock);
}

/* ---- the vCPUs ---- */

/* Waits until every vCPU is here for the n-th time. */
static void barrier(struct vcpu *v, uint64_t n)
{
	__atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);
	while (get(&arrived) < n * vcpus)
		wait_a_little(v);
}

static void check_round(struct vcpu *v, uint64_t round)
{
	uint32_t audit;

	if (round % vcpus == (uint64_t)(v - vcpu)) {
		audit = abi_command(ABI_MMU_AUDIT);
		if (audit && audit != ABI_REFUSED)
			wrong(v, "the machine's audit, violations in round", round, audit, 0);
	}
	for (unsigned i = 0; i < v->frees; i++)
		frame_check(v, v->free[i]);
}

static void storm(struct vcpu *v)
{
	for (uint64_t round = 0; round < rounds; round++) {
		for (uint64_t i = 0; i < ops; i++) {
			for (unsigned j = 0; j < ACCESSES; j++) {
				access(v);
				serve(v);
			}
			operation(v);
			if (v == last && i + 1 == quit) {
				report(!deviations(), "%lu operations", quit);
				finish();
			}
		}
		barrier(v, 3 * round + 1);
		check_round(v, round);
		barrier(v, 3 * round + 2);
		if (v == last)
			report(!deviations(), "round %lu", round);
		barrier(v, 3 * round + 3);
	}
}

/* The end of one vCPU: the guest's, or its own. */
static void conclude(struct vcpu *v)
{
	uint64_t shots = 0, checked = 0, faults = 0;

	while (v != last)
		if ((v - vcpu) % 2 == 0)
			__asm__ volatile("cli; hlt");
	for (unsigned i = 0; i < vcpus; i++) {
		shots += vcpu[i].shots;
		checked += vcpu[i].checked;
		faults += vcpu[i].faults;
	}
	print("%lu of the checked accesses had to fault\n", faults);
	metric(METRIC_TICKS, "ticks per operation", (rdtsc() - started) / (rounds * ops * vcpus | 1));
	metric(METRIC_SHOTS, "shoot-downs", shots);
	metric(METRIC_CHECKED, "accesses checked", checked);
	report(checked && (vcpus == 1 || shots), "accesses were checked%s", vcpus == 1 ? "" : ", translations shot down");
	finish();
}

void smp_main(uint32_t me)
{
	storm(&vcpu[me]);
	conclude(&vcpu[me]);
}

static void setup_frames(void)
{
	uint32_t next = regions * ENTRIES, frames = next + regions * (HOT + 1) + vcpus * SPARE;

	pool = memory_take(frames * PAGE, PAGE_2M);
	for (unsigned i = 0; i < vcpus; i++)
		vcpu[i].free = (uint32_t *)memory_take(frames * sizeof(uint32_t), PAGE);
	for (unsigned r = 0; r < regions; r++) {
		struct region *g = &region[r];

		for (unsigned page = 0; page < HOT; page++) {
			frame_at(mapped(&(struct region){.large = true}, r, page))[0] =
				STAMP + r * ENTRIES + page * SPACING;
			g->frame[page] = next++;
			g->writable[page] = true;
			frame_at(g->frame[page])[0] = STAMP + g->frame[page];
		}
		g->table_frame = next++;
		g->table = frame_at(g->table_frame);
		for (unsigned page = 0; page < HOT; page++)
			g->table[page * SPACING] = entry_for(&vcpu[0], g->frame[page], true);
		pd[r] = (uint64_t)g->table | PTE_P | PTE_W;
	}
	for (; next < frames; next++)
		frame_free(&vcpu[next % vcpus], next);
}

static void setup(void)
{
	uint64_t *pdpt = (uint64_t *)memory_take(PAGE, PAGE);

	pd = (uint64_t *)memory_take(PAGE, PAGE);
	pdpt[0] = (uint64_t)pd | PTE_P | PTE_W;
	boot_root[WINDOW >> 39] = (uint64_t)pdpt | PTE_P | PTE_W;
	for (unsigned i = 0; i < vcpus; i++) {
		vcpu[i].random = rand64() | 1;
		vcpu[i].root[0] = boot_root;
		vcpu[i].root[1] = paging_new();
		vcpu[i].root[1][WINDOW >> 39] = boot_root[WINDOW >> 39];
	}
	setup_frames();
}

/* The gate of page faults leads to smp_page_fault, on every vCPU. */
static void catch_faults(void)
{
	uint64_t at = (uint64_t)smp_page_fault;
	uint16_t *gate;

	__asm__ volatile("sidt %0" : "=m"(smp_idt));
	gate = (uint16_t *)(smp_idt.base + VECTOR_PF * 16);
	smp_other_fault = gate[0] | (uint64_t)gate[3] << 16;
	gate[0] = (uint16_t)at;
	gate[3] = (uint16_t)(at >> 16);
}

void image_main(void)
{
	uint32_t offered = abi_vcpus();

	started = rdtsc();
	rounds = arg_number("rounds", 4);
	ops = arg_number("ops", 500);
	quit = arg_number("quit", 0);
	regions = (unsigned)arg_range("regions", 4, 1, REGIONS_MAX);
	vcpus = offered > VCPUS_MAX ? 1 : offered;
	last = &vcpu[arg_range("end", 0, 0, vcpus - 1)];
	if (vcpus == 1)
		skip("one vCPU: nobody to shoot at");
	catch_faults();
	setup();
	print("smp_storm: %u vCPUs, %lu rounds of %lu operations each, %u regions\n", vcpus, rounds, ops, regions);
	for (unsigned i = 1; i < vcpus; i++)
		abi_vcpu_start(i, (uint32_t)(uint64_t)smp_entry);
	smp_main(0);
}
