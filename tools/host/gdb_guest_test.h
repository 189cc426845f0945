/* SPDX-License-Identifier: MIT */
/* A vCPU for guest/gdb_guest*.c and guest/gdb_watch.c, with page tables for long mode. */
#ifndef TOOLS_HOST_GDB_GUEST_TEST_H
#define TOOLS_HOST_GDB_GUEST_TEST_H

#include <string.h>

#include "guest/fpu.h"
#include "guest/gdb_guest.h"
#include "guest/gdb_watch.h"
#include "mm/gpte.h"
#include "tools/host/vcpu_test.h"

#define TABLES 0x200000UL /* guest-physical; four tables in a row */
#define CODE 0x300000UL
#define VIRTUAL 0x8000401000UL
#define PRESENT 1UL /* neither W nor A nor D */

static struct mmu *m;
static struct vcpu *v;
static _Alignas(64) uint8_t area[FPU_AREA_BYTES];

static inline int set_up(void **state)
{
	vcpu_setup(state);
	memset(area, 0, sizeof area);
	vcpu_test.v.fpu = (struct fpu_area *)area;
	m = &vcpu_test.mmu;
	v = &vcpu_test.v;
	return 0;
}

static inline int tear_down(void **state)
{
	gdb_watch_forget(m);
	return vcpu_teardown(state);
}

static inline void put(uint64_t at, uint64_t value)
{
	assert_true(mmu_write(m, gpa(at), &value, sizeof value));
}

/* VIRTUAL leads to CODE, the page behind it nowhere, the next 2 MiB to guest-physical 0. */
static inline void long_mode(void)
{
	v->cr0 |= CR0_PG;
	v->mmu.mode = PAGING_LONG;
	v->mmu.paging.cr3 = TABLES;
	v->efer = EFER_LME | EFER_LMA;
	v->seg[CS].attr = (v->seg[CS].attr & ~SEG_DB) | SEG_L;
	put(TABLES + 1 * 8, (TABLES + 0x1000) | PRESENT);
	put(TABLES + 0x1000, (TABLES + 0x2000) | PRESENT);
	put(TABLES + 0x2000 + 2 * 8, (TABLES + 0x3000) | PRESENT);
	put(TABLES + 0x2000 + 3 * 8, PRESENT | 1UL << 7);
	put(TABLES + 0x3000 + 1 * 8, CODE | PRESENT);
}

static inline uint8_t peek(uint64_t at)
{
	uint8_t byte;

	assert_true(mmu_read(m, gpa(at), &byte, 1));
	return byte;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
