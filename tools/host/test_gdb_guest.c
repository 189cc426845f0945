/* SPDX-License-Identifier: MIT */
/* guest/gdb_guest.c: a vCPU's registers, memory by its page tables, what is watched. */
#include <string.h>

#include "guest/gdb_watch.h"
#include "mm/guard.h"
#include "tools/host/gdb_guest_test.h"

static void registers(void **state)
{
	uint64_t value;

	(void)state;
	assert_int_equal(gdb_guest_mode(v), GDB_I386);
	for (unsigned r = 0; r < GDB_REGS; r++)
		assert_true(gdb_guest_register(v, r, &value));
	assert_true(gdb_guest_register(v, GDB_RIP, &value));
	assert_int_equal(value, TEST_ENTRY);
	assert_false(gdb_guest_set_register(v, GDB_RIP, 1UL << 32));
	assert_true(gdb_guest_set_register(v, GDB_RAX + RSP, 0x9000));
	assert_int_equal(v->changed, VCPU_RSP);
	assert_true(gdb_guest_register(v, GDB_CS, &value));
	assert_int_equal(value, 8);
	assert_false(gdb_guest_set_register(v, GDB_CS, 16));
	assert_false(gdb_guest_set_register(v, GDB_CR3, 0));
	assert_true(gdb_guest_set_register(v, GDB_RFLAGS, ~0UL));
	assert_int_equal(v->rflags & (RFLAGS_VM | 3UL << 19 | ~0x3fffffUL | 1UL << 3 | 1UL << 15), 0);
	assert_true(v->rflags & RFLAGS_IF && v->rflags & RFLAGS_FIXED);
	long_mode();
	assert_int_equal(gdb_guest_mode(v), GDB_X86_64);
	assert_false(gdb_guest_set_register(v, GDB_ES_BASE, 0x1000));
	assert_false(gdb_guest_set_register(v, GDB_GS_BASE, 1UL << 47));
	assert_true(gdb_guest_set_register(v, GDB_GS_BASE, VIRTUAL));
	assert_int_equal(v->seg[GS].base, VIRTUAL);
	assert_false(gdb_guest_set_register(v, GDB_IDTR_BASE, 1UL << 47));
	assert_true(gdb_guest_set_register(v, GDB_IDTR_BASE, VIRTUAL));
	v->seg[CS].base = 0x5000; /* does not count */
	assert_true(gdb_guest_set_register(v, GDB_RIP, VIRTUAL));
	assert_true(gdb_guest_register(v, GDB_RIP, &value));
	assert_int_equal(value, VIRTUAL);
	assert_true(gdb_guest_register(v, GDB_IP, &value));
	assert_int_equal(value, VIRTUAL);
	assert_true(v->changed & VCPU_RIP);
	assert_false(gdb_guest_set_register(v, GDB_RIP, 1UL << 47));
}

/* Which of them can be written, where nothing else stands in the way. */
static void registers_that_are_the_guests(void **state)
{
	(void)state;
	for (unsigned r = 0; r < GDB_REGS; r++) {
		uint64_t value;
		bool may = r <= GDB_RFLAGS || r == GDB_CR2 || (r >= GDB_ES_BASE && r <= GDB_GS_BASE) ||
			   (r >= GDB_GDTR_BASE && r <= GDB_IDTR_LIMIT) || r >= GDB_FPU;

		assert_true(gdb_guest_register(v, r, &value));
		assert_int_equal(gdb_guest_set_register(v, r, value ^ 1), may);
	}
	assert_false(gdb_guest_set_register(v, GDB_GDTR_LIMIT, 0x10000));
	assert_false(gdb_guest_set_register(v, GDB_GDTR_BASE, 1UL << 32));
	assert_true(gdb_guest_set_register(v, GDB_GDTR_BASE, 0x12345678));
	assert_true(gdb_guest_set_register(v, GDB_GDTR_LIMIT, 0x27));
	assert_int_equal(v->gdtr.base, 0x12345678);
	assert_int_equal(v->gdtr.limit, 0x27);
	v->changed = 0;
	assert_true(gdb_guest_set_register(v, GDB_IDTR_LIMIT, 0x3ff));
	assert_int_equal(v->idtr.limit, 0x3ff);
	assert_int_equal(v->changed, VCPU_TABLES);
	v->changed = 0;
	assert_true(gdb_guest_set_register(v, GDB_FS_BASE, 0x7000));
	assert_int_equal(v->seg[FS].base, 0x7000);
	assert_int_equal(v->changed, VCPU_SEGMENTS);
	assert_false(gdb_guest_set_register(v, GDB_FS_BASE, 1UL << 32));
}

/* gdb has no segments: its instruction pointer is linear. Selectors are 16 times bases. */
static void registers_of_real_mode(void **state)
{
	uint64_t value;

	(void)state;
	v->cr0 &= ~CR0_PE;
	for (unsigned s = ES; s <= GS; s++)
		v->seg[s] = (struct segment){.attr = 0x93, .limit = 0xffff};
	assert_int_equal(gdb_guest_mode(v), GDB_I8086);
	assert_true(gdb_guest_set_register(v, GDB_CS, 0x2000));
	assert_int_equal(v->seg[CS].selector, 0x2000);
	assert_int_equal(v->seg[CS].base, 0x20000);
	assert_true(v->changed & VCPU_SEGMENTS);
	assert_true(gdb_guest_set_register(v, GDB_RIP, 0x2fff0));
	assert_int_equal(v->rip, 0xfff0);
	assert_true(gdb_guest_register(v, GDB_RIP, &value));
	assert_int_equal(value, 0x2fff0);
	assert_true(gdb_guest_register(v, GDB_IP, &value));
	assert_int_equal(value, 0xfff0);
	assert_false(gdb_guest_set_register(v, GDB_RIP, 0x30000)); /* beyond CS, and before it */
	assert_false(gdb_guest_set_register(v, GDB_RIP, 0x1ffff));
	assert_false(gdb_guest_set_register(v, GDB_DS, 0x10000));
	assert_false(gdb_guest_set_register(v, GDB_TR, 0x1000));
	assert_true(gdb_guest_register(v, GDB_ES_LIMIT + CS, &value));
	assert_int_equal(value, 0xffff);
	assert_true(gdb_guest_register(v, GDB_ES_ATTR + CS, &value));
	assert_int_equal(value, 0x93);
	assert_true(gdb_guest_set_register(v, GDB_ES_BASE, 0x123)); /* as a trip to protected mode leaves it */
	/* virtual-8086 mode: the base is the selector's */
	v->cr0 |= CR0_PE;
	assert_false(gdb_guest_set_register(v, GDB_CS, 0x3000));
	v->rflags |= RFLAGS_VM;
	assert_int_equal(gdb_guest_mode(v), GDB_I8086);
	assert_true(gdb_guest_set_register(v, GDB_CS, 0x3000));
	assert_int_equal(v->seg[CS].base, 0x30000);
	assert_false(gdb_guest_set_register(v, GDB_FS_BASE, 0x123));
}

static void memory(void **state)
{
	char text[16];
	uint64_t entry;

	(void)state;
	assert_int_equal(gdb_guest_read(v, CODE, text, 16), 16);
	long_mode();
	assert_true(gdb_guest_write(v, VIRTUAL + 0x100, "abc", 3));
	assert_int_equal(peek(CODE + 0x101), 'b');
	assert_int_equal(gdb_guest_read(v, VIRTUAL + 0x100, text, 3), 3);
	assert_memory_equal(text, "abc", 3);
	assert_int_equal(gdb_guest_read(v, VIRTUAL + 0xffe, text, 8), 2);
	assert_false(gdb_guest_write(v, VIRTUAL + 0xffe, "abcd", 4));
	/* where that lies, and what has no place of its own */
	assert_int_equal(gdb_guest_read_physical(v, CODE + 0x100, text, 3), 3);
	assert_memory_equal(text, "abc", 3);
	assert_true(gdb_guest_write_physical(v, CODE + 0xffe, "wxyz", 4));
	assert_int_equal(peek(CODE + 0x1001), 'z');
	assert_int_equal(gdb_guest_read_physical(v, VIRTUAL + 0x100, text, 1), 0);
	assert_int_equal(gdb_guest_read_physical(v, ~0xffUL, text, 16), 0);
	assert_false(gdb_guest_write_physical(v, 0xa0000 - 2, "abcd", 4));
	assert_int_equal(gdb_guest_read_physical(v, 0xa0000 - 2, text, 4), 2);
	assert_int_equal(gdb_guest_read(v, 0x8000601000, text, 1), 1); /* a 2 MiB page: 0x1000 */
	assert_int_equal(gdb_guest_read(v, 0x80006a0000, text, 1), 0); /* 0xa0000: no memory */
	assert_int_equal(gdb_guest_read(v, 1UL << 47, text, 1), 0);
	assert_int_equal(gdb_guest_read(v, 0, text, 1), 0);
	v->mmu.paging.cr3 = 1UL << 32;
	assert_int_equal(gdb_guest_read(v, VIRTUAL, text, 1), 0);
	/* no A, no D */
	assert_true(mmu_read(m, gpa(TABLES + 0x3000 + 8), &entry, sizeof entry));
	assert_int_equal(entry, CODE | PRESENT);
}

static void put32(uint64_t at, uint32_t value)
{
	assert_true(mmu_write(m, gpa(at), &value, sizeof value));
}

static bool reads(uint64_t a, char want)
{
	char c;

	return gdb_guest_read(v, a, &c, 1) == 1 && c == want;
}

static void memory_of_32_bit_modes(void **state)
{
	(void)state;
	assert_true(gdb_guest_write(v, CODE + 0x34, "c", 1));
	assert_int_equal(gdb_guest_read(v, 1UL << 32, &(char){0}, 1), 0);
	/* two levels: 0xc0400034, and a page of 4 MiB at 0xc0800000 where there is PSE */
	v->mmu.paging.cr3 = TABLES;
	put32(TABLES + 0x301 * 4, (TABLES + 0x1000) | PRESENT);
	put32(TABLES + 0x302 * 4, PRESENT | 1 << 7);
	put32(TABLES + 0x1000, CODE | PRESENT);
	v->mmu.mode = PAGING_PSE;
	assert_true(reads(0xc0400034, 'c'));
	assert_true(reads(0xc0800000 + CODE + 0x34, 'c'));
	assert_false(reads(0xc0401034, 'c'));
	v->mmu.mode = PAGING_32;
	assert_true(reads(0xc0400034, 'c'));
	assert_false(reads(0xc0800000 + CODE + 0x34, 'c'));
	/* PAE: the registers count, whatever CR3's table says */
	v->mmu.mode = PAGING_PAE;
	v->mmu.paging.pdpte[3] = (TABLES + 0x2000) | PRESENT;
	put(TABLES + 0x2000 + 2 * 8, (TABLES + 0x3000) | PRESENT);
	put(TABLES + 0x2000 + 3 * 8, PRESENT | 1 << 7);
	put(TABLES + 0x3000, CODE | PRESENT);
	assert_true(reads(0xc0400034, 'c'));
	assert_int_equal(gdb_guest_read(v, 0xc0600000 + 0x1000, &(char){0}, 1), 1);
	assert_false(reads(0x400034, 'c'));
}

static void writes_are_dirty(void **state)
{
	struct slot *s = slot_find(m, gpa_gfn(gpa(CODE)));
	atomic64 *word = &s->bits[SLOT_DIRTY][slot_index(s, gpa_gfn(gpa(CODE))) / 64];

	(void)state;
	xchg_seq(word, 0);
	assert_true(gdb_guest_write(v, CODE, "x", 1));
	assert_int_not_equal(load_seq(word), 0);
}

static bool guarded(uint64_t a)
{
	return guard_has(m, gva(a));
}

static void breakpoints(void **state)
{
	(void)state;
	long_mode();
	assert_true(gdb_watch(m, GDB_WATCH_CODE, VIRTUAL + 1, 1, true));
	assert_true(gdb_watch(m, GDB_WATCH_CODE, VIRTUAL + 1, 1, true));
	assert_true(gdb_watch(m, GDB_WATCH_CODE_HARD, VIRTUAL + 9, 1, true));
	assert_true(guarded(VIRTUAL));
	v->rip = VIRTUAL + 1;
	assert_int_equal(gdb_watch_code(v), GDB_WATCH_CODE);
	assert_false(gdb_watch_passes(v));
	v->rip = VIRTUAL;
	assert_int_equal(gdb_watch_code(v), GDB_WATCH_NONE);
	assert_true(gdb_watch_passes(v));
	v->rip = VIRTUAL + PAGE_SIZE;
	assert_false(gdb_watch_passes(v));
	v->rip = VIRTUAL + PAGE_SIZE - 1;
	assert_true(gdb_watch_passes(v));
	assert_true(gdb_watch(m, GDB_WATCH_READ, VIRTUAL + 5 * PAGE_SIZE, 1, true));
	assert_false(gdb_watch_passes(v));
	assert_true(gdb_watch(m, GDB_WATCH_READ, VIRTUAL + 5 * PAGE_SIZE, 1, false));
	v->rip = VIRTUAL + 9;
	assert_int_equal(gdb_watch_code(v), GDB_WATCH_CODE_HARD);
	assert_true(gdb_watch(m, GDB_WATCH_CODE, VIRTUAL + 1, 1, false));
	assert_false(gdb_watch(m, GDB_WATCH_CODE, VIRTUAL + 1, 1, false));
	gdb_watch_settle(m);
	assert_true(guarded(VIRTUAL)); /* for the other */
	assert_true(gdb_watch(m, GDB_WATCH_CODE_HARD, VIRTUAL + 9, 1, false));
	assert_int_equal(gdb_watch_code(v), GDB_WATCH_NONE);
	assert_true(guarded(VIRTUAL));
	gdb_watch_settle(m);
	assert_false(guarded(VIRTUAL));
	for (unsigned i = 0; i < GDB_WATCHES; i++)
		assert_true(gdb_watch(m, GDB_WATCH_CODE, VIRTUAL + i * PAGE_SIZE, 1, true));
	assert_false(gdb_watch(m, GDB_WATCH_CODE, VIRTUAL + 3, 1, true));
	gdb_watch_forget(m);
	assert_int_equal(m->guards.n, 0);
}

/* Whatever is taken for watched, who inserts is told of what is guarded. */
static void what_is_inserted_is_guarded(void **state)
{
	(void)state;
	assert_true(gdb_watch(m, GDB_WATCH_CODE, VIRTUAL + 1, 1, true));
	mmu_unguard(m, gva(VIRTUAL));
	assert_true(gdb_watch(m, GDB_WATCH_CODE, VIRTUAL + 1, 1, true));
	assert_true(guarded(VIRTUAL));
	mmu_unguard(m, gva(VIRTUAL));
	for (unsigned i = 1; i <= MMU_GUARDS; i++)
		assert_true(mmu_guard(m, gva(VIRTUAL + i * PAGE_SIZE)));
	assert_false(gdb_watch(m, GDB_WATCH_CODE, VIRTUAL + 1, 1, true));
	v->rip = VIRTUAL + 1;
	assert_int_equal(gdb_watch_code(v), GDB_WATCH_NONE);
}

static enum gdb_watch meets(uint64_t a, unsigned bytes, bool write, uint64_t at)
{
	uint64_t where = 0;
	enum gdb_watch kind = gdb_watch_data(m, a, bytes, write, &where);

	assert_int_equal(where, kind == GDB_WATCH_NONE ? 0 : at);
	return kind;
}

static void watchpoints(void **state)
{
	uint64_t w = VIRTUAL + PAGE_SIZE - 2, r = VIRTUAL + 0x100, x = VIRTUAL + 0x200;

	(void)state;
	assert_true(gdb_watch(m, GDB_WATCH_WRITE, w, 4, true)); /* two pages */
	assert_true(guarded(VIRTUAL) && guarded(VIRTUAL + PAGE_SIZE) && !guarded(VIRTUAL + 2 * PAGE_SIZE));
	assert_true(gdb_watch(m, GDB_WATCH_READ, r, 1, true));
	assert_true(gdb_watch(m, GDB_WATCH_ACCESS, x, 8, true));
	assert_int_equal(meets(w - 1, 1, true, w), GDB_WATCH_NONE);
	assert_int_equal(meets(w - 1, 2, true, w), GDB_WATCH_WRITE);
	assert_int_equal(meets(w + 3, 1, true, w), GDB_WATCH_WRITE);
	assert_int_equal(meets(w + 4, 8, true, w), GDB_WATCH_NONE);
	assert_int_equal(meets(w, 4, false, w), GDB_WATCH_NONE);
	assert_int_equal(meets(r, 1, false, r), GDB_WATCH_READ);
	assert_int_equal(meets(r, 1, true, r), GDB_WATCH_NONE);
	assert_int_equal(meets(x + 7, 1, false, x), GDB_WATCH_ACCESS);
	assert_int_equal(meets(x + 7, 1, true, x), GDB_WATCH_ACCESS);
	v->rip = x;
	assert_int_equal(gdb_watch_code(v), GDB_WATCH_NONE);
	assert_false(gdb_watch(m, GDB_WATCH_WRITE, w, 0, true));
	assert_false(gdb_watch(m, GDB_WATCH_WRITE, w, GDB_WATCH_BYTES + 1, true));
	assert_false(gdb_watch(m, GDB_WATCH_WRITE, ~0UL, 2, true));
	assert_false(gdb_watch(m, GDB_WATCH_NONE, w, 1, true));
	assert_true(gdb_watch(m, GDB_WATCH_WRITE, w, 4, false));
	gdb_watch_settle(m);
	assert_true(guarded(VIRTUAL) && !guarded(VIRTUAL + PAGE_SIZE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(registers), TEST(registers_that_are_the_guests), TEST(registers_of_real_mode),
		TEST(memory), TEST(memory_of_32_bit_modes), TEST(writes_are_dirty),
		TEST(breakpoints), TEST(what_is_inserted_is_guarded), TEST(watchpoints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
