/* SPDX-License-Identifier: MIT */
/* cow: address spaces forked from one another share their pages read-only; a write to a shared page faults and gets a
 * copy, or the page itself once nobody else has it.
 *
 *   spaces=6 pages=96    address spaces, and pages in each (16...512)
 *   ops=4000 seed=1      random operations, and of the random numbers
 *
 * An operation forks a space over another one (whose pages are given back), switches spaces, writes a page or reads
 * one. Frames of data and page tables are taken from one pool, and what is given back is used again for either. A write
 * to a shared page must fault with P and W and change nothing, any other access must not fault; each space must read
 * what was last written in it or in the space it came from. Flushes: INVLPG of a page that was copied, a load of CR3
 * after a fork.
 */
#include "guest/images/lib.h"

#define WINDOW (1UL << 39)
#define SPACES_MAX 32
#define PAGES_MAX 512u
#define TABLES_PER_SPACE 4 /* PML4, PDPT, PD, PT */

static struct space {
	uint64_t *root, *table; /* table: the level-1 table */
	uint64_t right[PAGES_MAX];
	uint16_t frames[TABLES_PER_SPACE];
	bool lives;
} space[SPACES_MAX];

static unsigned spaces, pages, frames, running;
static uint64_t pool;
static uint16_t *users, *stack; /* per frame: how many spaces map it; frames that nobody has */
static unsigned stack_top;
static uint64_t forks, copies, reclaims;

static uint64_t frame_gpa(unsigned frame) { return pool + frame * PAGE; }

static unsigned frame_take(void)
{
	unsigned at = rand_below(stack_top), frame = stack[at];

	stack[at] = stack[--stack_top];
	users[frame] = 1;
	return frame;
}

static void frame_give(unsigned frame)
{
	if (!--users[frame])
		stack[stack_top++] = (uint16_t)frame;
}

static unsigned page_frame(const struct space *s, unsigned page)
{
	return (unsigned)(((s->table[page] & PTE_FRAME) - pool) / PAGE);
}

static uint64_t *table_take(struct space *s, unsigned level)
{
	s->frames[level] = (uint16_t)frame_take();
	return memset((void *)frame_gpa(s->frames[level]), 0, PAGE);
}

/* An address space without pages. */
static void space_make(struct space *s)
{
	uint64_t *pdpt, *pd;

	s->root = table_take(s, 0);
	pdpt = table_take(s, 1);
	pd = table_take(s, 2);
	s->table = table_take(s, 3);
	s->root[0] = boot_root[0];
	s->root[WINDOW >> 39] = (uint64_t)pdpt | PTE_P | PTE_W;
	pdpt[0] = (uint64_t)pd | PTE_P | PTE_W;
	pd[0] = (uint64_t)s->table | PTE_P | PTE_W;
	s->lives = true;
}

static void space_end(struct space *s)
{
	if (!s->lives)
		return;
	for (unsigned page = 0; page < pages; page++)
		frame_give(page_frame(s, page));
	for (unsigned i = 0; i < TABLES_PER_SPACE; i++)
		frame_give(s->frames[i]);
	s->lives = false;
}

/* Forks the running space over another one. */
static void fork(void)
{
	struct space *from = &space[running], *to = &space[rand_below(spaces)];

	if (to == from)
		return;
	space_end(to);
	space_make(to);
	for (unsigned page = 0; page < pages; page++) {
		from->table[page] &= ~PTE_W;
		to->table[page] = from->table[page] & ~(PTE_A | PTE_D);
		to->right[page] = from->right[page];
		users[page_frame(from, page)]++;
	}
	paging_load(from->root);
	forks++;
}

/* What a kernel does at the write fault. */
static void copy(unsigned page)
{
	struct space *s = &space[running];
	unsigned old = page_frame(s, page), fresh;

	if (users[old] > 1) {
		fresh = frame_take();
		memcpy((void *)frame_gpa(fresh), (void *)frame_gpa(old), PAGE);
		s->table[page] = frame_gpa(fresh) | PTE_P | PTE_W;
		frame_give(old);
		copies++;
	} else {
		s->table[page] |= PTE_W;
		reclaims++;
	}
	invlpg(WINDOW + page * PAGE);
}

static void write_page(void)
{
	struct space *s = &space[running];
	unsigned page = rand_below(pages);
	uint64_t va = WINDOW + page * PAGE + page % 16 * 8, value = rand64(), kept = s->right[page];
	bool shared = !(s->table[page] & PTE_W);
	struct fault fault;

	access_try(&fault, ACCESS_WRITE, va, value);
	if (shared != (fault.vector == VECTOR_PF && fault.error == (PF_P | PF_W) && fault.cr2 == va))
		deviation("space %u, page %u, %s: %s %x", running, page, shared ? "shared" : "not shared",
			vector_name(fault.vector), fault.error);
	if (shared) {
		if (*(volatile uint64_t *)va != kept)
			deviation("space %u, page %u: %lx after a refused write, not %lx", running, page,
				*(volatile uint64_t *)va, kept);
		copy(page);
		*(volatile uint64_t *)va = value;
	}
	s->right[page] = value;
	if (!(s->table[page] & PTE_D))
		deviation("space %u, page %u: written, but D is clear", running, page);
}

static void read_page(unsigned page)
{
	const struct space *s = &space[running];
	uint64_t seen = *(volatile uint64_t *)(WINDOW + page * PAGE + page % 16 * 8);

	if (seen != s->right[page])
		deviation("space %u, page %u: %lx, not %lx", running, page, seen, s->right[page]);
}

static void run(unsigned other)
{
	running = other;
	paging_load(space[other].root);
}

static void check_all(void)
{
	uint32_t audit = abi_command(ABI_MMU_AUDIT);

	for (unsigned i = 0; i < spaces; i++) {
		if (!space[i].lives)
			continue;
		run(i);
		for (unsigned page = 0; page < pages; page++)
			read_page(page);
	}
	if (audit && audit != ABI_REFUSED)
		deviation("the machine's audit finds %u violations", audit);
}

static void setup(void)
{
	spaces = (unsigned)arg_range("spaces", 6, 2, SPACES_MAX);
	pages = (unsigned)arg_range("pages", 96, 16, PAGES_MAX);
	frames = spaces * (pages + TABLES_PER_SPACE);
	pool = memory_take(frames * PAGE, PAGE);
	users = (uint16_t *)memory_take(frames * sizeof(*users), PAGE);
	stack = (uint16_t *)memory_take(frames * sizeof(*stack), PAGE);
	while (stack_top < frames) {
		stack[stack_top] = (uint16_t)stack_top;
		stack_top++;
	}
	space_make(&space[0]);
	for (unsigned page = 0; page < pages; page++) {
		unsigned frame = frame_take();

		space[0].table[page] = frame_gpa(frame) | PTE_P | PTE_W;
		space[0].right[page] = *(uint64_t *)(frame_gpa(frame) + page % 16 * 8) = rand64();
	}
	run(0);
}

void image_main(void)
{
	uint64_t ops = arg_number("ops", 4000);

	setup();
	print("cow: %u spaces of %u pages, %lu operations\n", spaces, pages, ops);
	for (uint64_t i = 0; i < ops; i++) {
		unsigned dice = rand_below(100), other = rand_below(spaces);

		disturb();
		if (dice < 2)
			fork();
		else if (dice < 10 && space[other].lives)
			run(other);
		else if (dice < 60)
			write_page();
		else
			read_page(rand_below(pages));
	}
	check_all();
	report(!deviations(), "%lu forks, %lu pages copied, %lu kept by the last that had them", forks, copies, reclaims);
	report(forks && copies && reclaims, "each of them happened");
}
