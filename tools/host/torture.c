/* SPDX-License-Identifier: MIT */
/* Torture: two guests of two vCPUs each share the slabs; every vCPU is a thread that writes through aliases, remaps,
 * turns tables into large pages and back, maps a frame many times and drops it, reloads CR3, changes between four-level
 * and PAE paging over the same tables and turns paging off and on, stores as a device would and zaps; two walkers harvest both guests into replicas beside them, start and stop the other view of the log, and
 * make and destroy a slab cache now and then.
 *
 * What must hold: every load gives what this vCPU stored last (each has a word of its own in every frame, so that all
 * of them share pages and none shares data); and at each quiet point, with all threads parked, one more harvest makes
 * the replicas equal to the guests' memory, and the audits find nothing. After each quiet point every vCPU runs on
 * another CPU, and each guest's log goes another way.
 *
 * A run of LONG_ENOUGH chain edits also fails if the pressure was not there (torture_count.h): walks led astray,
 * descriptors and tables reused under a walk (which the poison mode must never do), sptes changed under a cmpxchg,
 * objects that went from one guest to the other. The seed fixes what each thread does and where it dawdles, not how the
 * threads interleave.
 *
 *   torture SECONDS SEED normal|lifo|poison */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mm/rcu.h"
#include "mm/replica.h"
#include "mm/sync.h"
#include "tools/host/machine.h"
#include "tools/host/native.h"
#include "tools/host/torture_count.h"

#define GUESTS 2u
#define VCPUS 2u
#define CPUS (GUESTS * VCPUS + 2)
#define PAGES 3072UL                 /* of RAM, 12 MiB */
#define FRAMES 48u                   /* data pages in play … */
#define ALIAS_FRAMES 32u             /* more of them, which only alias storms map … */
#define STORMS 8u                    /* … of which each vCPU has so many standing … */
#define ALIASES 3u                   /* … with so many mappings */
#define FRAME_BASE 0x800000UL        /* all inside one 2 MiB of guest-physical memory */
#define TABLES_GFN 0x380UL           /* where the second vCPU's tables begin */
#define MAPPINGS 128u                /* 4 KiB pages of a vCPU's window, for the storms' behind them */
#define WINDOW_PAGES (MAPPINGS + STORMS * ALIASES)
#define WINDOW(vcpu) (((uint64_t)(vcpu) + 1) << 30) /* below 4 GiB, where PAE paging reaches, and not in the identity's GiB */
#define BIG(vcpu) ((3UL << 30) + ((uint64_t)(vcpu) << 29)) /* where the large page comes and goes */
#define RW (GPTE_P | GPTE_W | GPTE_U)
#define QUIET_MS 400
#define PERCENT 100
#define LONG_ENOUGH 500000 /* chain edits, but first entries: the rarest count, of foreign markers, is 1 in 30,000 or so */

struct vcpu {
	struct machine machine;
	uint64_t root, pdpt, seed; /* pdpt: the third-level table of the lowest 512 GiB */
	uint64_t value[FRAMES + ALIAS_FRAMES]; /* last stored to this vCPU's word of each frame */
	uint32_t frame[WINDOW_PAGES]; /* what its window maps, + 1; 0: nothing */
	uint32_t storm;              /* storms so far */
	bool big;                    /* the large page is there, else a table of the same pages */
	uint64_t big_table;          /* gpte of that table */
};

struct guest {
	struct vcpu vcpu[VCPUS];
	struct replica replica;
	atomic64 moves, remaps, zaps, rounds, stores, modes;
};

static struct guest guests[GUESTS];
static struct slab_cache private_cache[2];
static atomic32 quiet, parked, stop;
static atomic64 caches;
static atomic32 turns; /* quiet points so far: how far the vCPUs have moved on from CPU to CPU */
static uint64_t seed;

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void wrong(const char *what, uint64_t a, uint64_t b, uint64_t c)
{
	fprintf(stderr, "torture: %s (%#lx %#lx %#lx)\n", what, a, b, c);
	exit(1);
}

static struct mmu *mmu_of(struct guest *g)
{
	return &g->vcpu[0].machine.mmu;
}

static uint64_t frame_at(uint32_t frame, unsigned vcpu)
{
	return FRAME_BASE + frame * PAGE_SIZE + vcpu * 8;
}

static void set(struct vcpu *v, struct mmu_paging p)
{
	enum mmu_outcome o;

	while ((o = machine_try_set(&v->machine, &p)) == MMU_RETRY)
		host_relax();
	if (o != MMU_RESUME)
		wrong("paging was refused", p.cr0, p.cr3, p.efer);
}

/* Four levels from now on, or PAE: over the same tables, but for the first. */
static void change_mode(struct guest *g, struct vcpu *v)
{
	bool pae = v->machine.vcpu.mode == PAGING_LONG;
	struct mmu_paging p = v->machine.vcpu.paging;

	p.cr4 |= CR4_PAE;
	p.cr3 = pae ? v->pdpt : v->root;
	p.efer = EFER_NXE | (pae ? 0 : EFER_LME | EFER_LMA);
	for (unsigned i = 0; pae && i < 4; i++)
		p.pdpte[i] = machine_load(&v->machine, v->pdpt + i * 8) & (GPTE_ADDRESS | GPTE_P);
	set(v, p);
	count_add(&g->modes, 1);
}

/* A frame through some mapping of it: the identity, the window if it shows it, or the large page. */
static uint64_t pick_address(struct vcpu *v, unsigned i, uint64_t r, uint32_t *frame)
{
	uint32_t m = r % WINDOW_PAGES;

	*frame = (r >> 8) % FRAMES;
	switch (r >> 20 & 3) {
	case 0:
		return frame_at(*frame, i);
	case 1:
		return BIG(i) + *frame * PAGE_SIZE + i * 8;
	default:
		if (!v->frame[m])
			return frame_at(*frame, i);
		*frame = v->frame[m] - 1;
		return WINDOW(i) + m * PAGE_SIZE + i * 8;
	}
}

static void touch(struct vcpu *v, unsigned i, uint64_t r, bool store)
{
	uint32_t frame;
	uint64_t at = pick_address(v, i, r, &frame), value = r, seen;

	if (store) {
		if (!machine_store(&v->machine, at, value))
			wrong("a store was refused", at, (uint64_t)v->machine.outcome, v->machine.fault.error);
		v->value[frame] = value;
		return;
	}
	seen = machine_load(&v->machine, at);
	if (seen != v->value[frame])
		wrong("a load gave another value", at, seen, v->value[frame]);
}

/* Paging is off for a few loads and stores. */
static void unpaged(struct guest *g, struct vcpu *v, unsigned i, uint64_t r)
{
	struct mmu_paging p = v->machine.vcpu.paging, off = p;

	off.cr0 &= ~CR0_PG;
	off.efer &= ~EFER_LMA;
	set(v, off);
	for (unsigned n = 0; n < 4; n++, r = r >> 8 | r << 56)
		touch(v, i, r & ~(3UL << 20), n & 1); /* at its own address */
	set(v, p);
	count_add(&g->modes, 2);
}

/* Entry m of the window maps a frame (+ 1) from now on; 0: nothing. */
static void map(struct guest *g, struct vcpu *v, unsigned i, uint32_t m, uint32_t frame)
{
	v->frame[m] = frame;
	machine_map(&v->machine, v->root, WINDOW(i) + m * PAGE_SIZE, frame ? frame_at(frame - 1, 0) | RW : 0, 1);
	count_add(&g->remaps, 1);
}

static void remap(struct guest *g, struct vcpu *v, unsigned i, uint64_t r)
{
	uint32_t frame = (r >> 8) % (FRAMES + 8);

	map(g, v, i, r % MAPPINGS, frame < FRAMES ? frame + 1 : 0);
}

/* The oldest storm's mappings go, and a frame that perhaps nothing maps gets some: descriptors come and go. */
static void alias_storm(struct guest *g, struct vcpu *v, unsigned i, uint64_t r)
{
	uint32_t frame = FRAMES + (r >> 8) % ALIAS_FRAMES, m = MAPPINGS + v->storm++ % STORMS * ALIASES;

	for (uint32_t n = m; n < m + ALIASES; n++) {
		map(g, v, i, n, 0);
		machine_invlpg(&v->machine, WINDOW(i) + n * PAGE_SIZE);
	}
	for (uint32_t n = m; n < m + ALIASES; n++) {
		map(g, v, i, n, frame + 1);
		v->value[frame] = r + n;
		machine_store(&v->machine, WINDOW(i) + n * PAGE_SIZE + i * 8, r + n);
	}
}

static void toggle_big(struct guest *g, struct vcpu *v, unsigned i)
{
	v->big = !v->big;
	machine_store(&v->machine, machine_pte(&v->machine, v->root, BIG(i), 2),
		v->big ? FRAME_BASE | RW | GPTE_PS : v->big_table);
	machine_invlpg(&v->machine, BIG(i));
	count_add(&g->remaps, 1);
}

static void device_store(struct guest *g, struct vcpu *v, unsigned i, uint64_t r)
{
	uint32_t frame = (r >> 8) % FRAMES;

	if (!mmu_write(mmu_of(g), gpa(frame_at(frame, i)), &r, sizeof r))
		wrong("a host store was refused", frame, 0, 0);
	v->value[frame] = r;
	count_add(&g->stores, 1);
}

static void operate(struct guest *g, struct vcpu *v, unsigned i)
{
	uint64_t r = host_random(&v->seed);
	unsigned dice = (r >> 40) % (PERCENT * 10);

	if (dice < 120) {
		remap(g, v, i, r);
		machine_invlpg(&v->machine, WINDOW(i) + r % MAPPINGS * PAGE_SIZE);
	} else if (dice < 140) {
		for (unsigned n = 0; n < 8; n++)
			remap(g, v, i, r + n * 0x10001);
		set(v, v->machine.vcpu.paging); /* loads CR3 */
	} else if (dice < 160) {
		toggle_big(g, v, i);
	} else if (dice < 180) {
		device_store(g, v, i, r);
	} else if (dice == 182) {
		change_mode(g, v);
	} else if (dice == 183) {
		unpaged(g, v, i, r);
	} else if (dice == 180 && (r >> 52 & 3) == 0) {
		machine_exit(&v->machine);
		mmu_zap_all(mmu_of(g));
		count_add(&g->zaps, 1);
	} else if (dice == 181 && (r >> 52 & 63) == 0) {
		machine_exit(&v->machine);
		count_add(&g->moves, mmu_move_ram(mmu_of(g)) == MMU_RESUME);
	} else if (dice < 240) {
		alias_storm(g, v, i, r);
	} else {
		touch(v, i, r, dice & 1);
	}
}

/* Parks while the quiet point lasts; then a vCPU goes on as the next of the vCPUs' CPUs. */
static void park_if_quiet(unsigned thread)
{
	if (!load_acquire(&quiet))
		return;
	fetch_add_seq(&parked, 1);
	while (load_acquire(&quiet))
		usleep(100);
	if (thread < GUESTS * VCPUS)
		host_thread_cpu((thread + load_relaxed(&turns)) % (GUESTS * VCPUS));
	fetch_sub_seq(&parked, 1);
}

static void run_vcpu(unsigned thread)
{
	struct guest *g = &guests[thread / VCPUS];
	struct vcpu *v = &g->vcpu[thread % VCPUS];

	while (!load_acquire(&stop)) {
		for (unsigned n = 0; n < 64; n++)
			operate(g, v, thread % VCPUS);
		park_if_quiet(thread);
	}
}

static void churn_cache(struct slab_cache *c)
{
	void *object[100];

	slab_init(c, "private", 0, 64, 8, PAGE_ANY, 0);
	for (unsigned i = 0; i < 100; i++)
		if (!(object[i] = slab_alloc(c)))
			wrong("no memory for a private cache", i, 0, 0);
	for (unsigned i = 0; i < 100; i++)
		slab_free(c, object[i]);
	slab_destroy(c);
	count_add(&caches, 1);
}

static void run_walker(unsigned w)
{
	uint64_t dice = seed + 99 + w, pages;

	while (!load_acquire(&stop)) {
		struct guest *g = &guests[host_random(&dice) % GUESTS];
		uint64_t r = host_random(&dice) % 64;

		/* each replica has one copier; the other walker harvests through the view */
		if (g == &guests[w] && replica_round(&g->replica, 0) == LOG_DONE)
			count_add(&g->rounds, 1);
		else if (r == 0)
			log_view_start(mmu_of(g));
		else if (r == 1)
			log_view_stop(mmu_of(g));
		else
			log_view_harvest(mmu_of(g), &pages);
		if (r == 2 && w == 0)
			churn_cache(&private_cache[w]);
		park_if_quiet(GUESTS * VCPUS + w);
	}
}

static void run(void *arg)
{
	unsigned thread = host_cpu();
	bool vcpu = thread < GUESTS * VCPUS;

	(void)arg;
	tally_begin(thread, vcpu ? thread / VCPUS : ~0u, seed * 0x9e3779b97f4a7c15UL + thread);
	if (vcpu)
		run_vcpu(thread);
	else
		run_walker(thread - GUESTS * VCPUS);
}

static void start_guest(struct guest *g, uint64_t seed)
{
	for (unsigned i = 0; i < VCPUS; i++) {
		struct vcpu *v = &g->vcpu[i];

		v->seed = seed * 0x9e3779b97f4a7c15UL + i + 1;
		if (i == 0) {
			machine_init(&v->machine, PAGES, 2 * VCPUS * MMU_FLOOR);
			v->root = machine_long_mode(&v->machine);
		} else {
			machine_join(&v->machine, &g->vcpu[0].machine);
			v->machine.next_table = TABLES_GFN;
			v->root = g->vcpu[0].root;
		}
		v->machine.late_d = i; /* a processor of another kind */
		for (uint32_t f = 0; f < FRAMES; f++)
			machine_map(&v->machine, v->root, BIG(i) + f * PAGE_SIZE, frame_at(f, 0) | RW, 1);
		v->big_table = machine_load(&v->machine, machine_pte(&v->machine, v->root, BIG(i), 2));
		machine_map(&v->machine, v->root, WINDOW(i), 0, 1);
		v->pdpt = machine_load(&v->machine, machine_pte(&v->machine, v->root, 0, 4)) & GPTE_ADDRESS;
	}
	if (g->vcpu[0].machine.next_table >= TABLES_GFN || !replica_init(&g->replica, mmu_of(g)))
		wrong("no memory for a guest", 0, 0, 0);
}

static void check_guest(struct guest *g, unsigned i)
{
	gfn_t first = gfn(0);
	uint64_t bad;

	if (replica_round(&g->replica, 0) != LOG_DONE)
		wrong("a harvest at a quiet point had no turn", i, 0, 0);
	bad = replica_compare(&g->replica, &first);
	if (bad)
		wrong("pages lost: guest, pages, first gfn", i, bad, first.v);
	bad = mmu_audit(mmu_of(g));
	if (sync_all(mmu_of(g)) == MMU_RESUME) /* what is unsync the audit passes over */
		bad += mmu_audit(mmu_of(g));
	if (bad)
		wrong("the audit found violations: guest, how many", i, bad, 0);
}

struct totals { uint64_t operations, faults, remaps, zaps, harvests, by_dbit, edits, left_open, gaveup, moves, modes; struct tally tally; };

static struct totals add_up(void)
{
	struct totals t = {.tally = tally_sum()};

	for (unsigned i = 0; i < GUESTS; i++) {
		struct guest *g = &guests[i];
		struct mmu_stats *s = &mmu_of(g)->stats;

		t.faults += mmu_faults(mmu_of(g)).faults;
		t.remaps += load_relaxed(&g->remaps);
		t.zaps += load_relaxed(&s->zapped);
		t.harvests += load_relaxed(&s->rounds);
		t.by_dbit += load_relaxed(&s->dbit_rounds);
		t.left_open += load_relaxed(&s->left_open);
		t.moves += load_relaxed(&g->moves);
		t.modes += load_relaxed(&g->modes);
		t.gaveup += load_relaxed(&s->gaveup);
	}
	t.edits = load_relaxed(&t.tally.edits);
	t.operations = t.faults + t.remaps + t.zaps + t.harvests + t.edits;
	return t;
}

static void print_totals(struct totals *t)
{
	printf("%lu operations (%lu faults, %lu remaps, %lu zaps, %lu harvests (%lu by D bits), %lu chain edits), walks led astray %lu by foreign "
	       "markers and %lu by free descriptors, reused under a walk %lu descriptors and %lu tables, %lu cmpxchgs failed, "
	       "%lu objects went to the other guest",
		t->operations, t->faults, t->remaps, t->zaps, t->harvests, t->by_dbit, t->edits, load_relaxed(&t->tally.foreign),
		load_relaxed(&t->tally.free), load_relaxed(&t->tally.descriptors), load_relaxed(&t->tally.tables),
		load_relaxed(&t->tally.failed), load_relaxed(&t->tally.crossed));
	fflush(stdout);
}

static uint64_t mode_seed; /* the supervisor's */

/* The supervisor's: it acts as CPU CPUS. */
static void quiet_point(void)
{
	store_release(&quiet, 1);
	while (load_acquire(&parked) < CPUS)
		usleep(100);
	for (unsigned i = 0; i < GUESTS; i++) {
		check_guest(&guests[i], i);
		/* everybody stands still, so how rounds go may change here */
		mmu_of(&guests[i])->log_mode = host_random(&mode_seed) % 3;
	}
	fetch_add_seq(&turns, 1);
	store_release(&quiet, 0);
	while (load_acquire(&parked) > 0)
		usleep(100);
}

static void *supervise(void *arg)
{
	uint64_t end = now_ms() + *(uint64_t *)arg * 1000;

	host_thread_cpu(CPUS);
	while (now_ms() < end) {
		struct totals t;

		usleep(QUIET_MS * 1000);
		quiet_point();
		t = add_up();
		printf("\r%4u quiet points: ", load_relaxed(&turns));
		print_totals(&t);
	}
	store_release(&stop, 1);
	return 0;
}

/* The pressure was there, if the run was long. An object of the poison mode waits for every walk that could have seen
 * it. */
static void check_pressure(const struct totals *all, enum slab_mode mode)
{
	const struct tally *t = &all->tally;
	uint64_t foreign = load_relaxed(&t->foreign), descriptors = load_relaxed(&t->descriptors);
	uint64_t tables = load_relaxed(&t->tables);

	if (mode == SLAB_POISON && (foreign || descriptors || tables))
		wrong("reused under a walk, though the slab waits for walks", foreign, descriptors, tables);
	if (all->edits < LONG_ENOUGH)
		return;
	if (!load_relaxed(&t->free) || !load_relaxed(&t->failed) || !load_relaxed(&t->crossed) || !all->left_open)
		wrong("never: a free descriptor met, a cmpxchg failed, an object crossed; or no table left open", load_relaxed(&t->free),
			load_relaxed(&t->failed), load_relaxed(&t->crossed));
	if (mode != SLAB_POISON && (!foreign || !descriptors || !tables))
		wrong("never: a foreign marker met, a descriptor or a table reused under a walk", foreign, descriptors, tables);
}

static enum slab_mode mode_of(const char *name)
{
	return !strcmp(name, "lifo") ? SLAB_LIFO : !strcmp(name, "poison") ? SLAB_POISON : SLAB_NORMAL;
}

int main(int argc, char **argv)
{
	uint64_t seconds = argc > 1 ? strtoul(argv[1], 0, 0) : 10;
	enum slab_mode mode = mode_of(argc > 3 ? argv[3] : "normal");
	struct totals t;
	pthread_t supervisor;

	seed = argc > 2 ? strtoul(argv[2], 0, 0) : 0;
	if (!seed)
		seed = (uint64_t)time(0);
	mode_seed = seed;
	printf("torture: %lu s, seed %lu\n", seconds, seed);
	host_native_init(CPUS + 1);
	slab_set_mode(mode);
	mmu_global_init();
	for (unsigned i = 0; i < GUESTS; i++)
		start_guest(&guests[i], seed + i);
	pthread_create(&supervisor, 0, supervise, &seconds);
	host_run_cpus(CPUS, run, 0);
	pthread_join(supervisor, 0);
	for (unsigned i = 0; i < GUESTS; i++)
		check_guest(&guests[i], i);
	t = add_up();
	printf("\n");
	print_totals(&t);
	printf("\n%lu walks given up, %lu tables left open by a sync, %lu caches destroyed, %lu moves of a guest's memory, %lu changes of paging mode, %u quiet points\n",
		t.gaveup, t.left_open, load_relaxed(&caches), t.moves, t.modes, load_relaxed(&turns));
	check_pressure(&t, mode);
	printf("nothing lost, nothing wrong%s\n", t.edits >= LONG_ENOUGH ? "" : "; too short for counts of 0 to matter");
	return 0;
}
