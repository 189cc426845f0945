/* SPDX-License-Identifier: MIT */
/* What the interpreter's tests share: a guest's memory as the metal finds it, and code to run there. */
#ifndef TOOLS_HOST_INTERPRET_TEST_H
#define TOOLS_HOST_INTERPRET_TEST_H

#include "tools/host/vcpu_test.h"

#include "guest/alu.h"
#include "guest/interpret.h"
#include "guest/startup.h"

#define CODE 0x8000u /* SIPI vector 8 */
#define STACK 0x7000u
#define GDT 0x6000u
#define IDT 0x5000u

#define ATTR_CODE16 (0xbu | SEG_S | SEG_P)
#define ATTR_DATA16 (0x3u | SEG_S | SEG_P)

static const char *why __attribute__((unused));
static struct emulate_fault fault;
static struct insn insn;

/* ---- the guest's memory, as the metal finds it ---- */

static inline gpa_t find(struct vcpu *v, uint64_t a, uint32_t access)
{
	struct mmu_fault f;
	gpa_t at;

	assert_int_equal(mmu_translate(&v->mmu, gva(a), access, &at, &f), MMU_RESUME);
	return at;
}

static inline enum emulate_outcome do_read(
	void *context, uint64_t a, void *to, unsigned bytes, bool write, struct emulate_fault *f)
{
	struct vcpu *v = context;

	(void)f;
	assert_true(mmu_read(v->mmu.mmu, find(v, a, write ? PF_W : 0), to, bytes));
	return EMULATE_DONE;
}

static inline enum emulate_outcome do_write(void *context, uint64_t a, const void *from, unsigned bytes, struct emulate_fault *f)
{
	struct vcpu *v = context;

	(void)f;
	assert_true(mmu_write(v->mmu.mmu, find(v, a, PF_W), from, bytes));
	return EMULATE_DONE;
}

static inline enum emulate_outcome do_exchange(void *context, uint64_t a, const void *expected, const void *value, unsigned bytes,
	struct emulate_fault *f)
{
	(void)expected;
	return do_write(context, a, value, bytes, f);
}

static inline enum emulate_outcome do_fetch(void *context, uint64_t a, void *to, unsigned bytes, struct emulate_fault *f)
{
	struct vcpu *v = context;

	(void)f;
	assert_true(mmu_read(v->mmu.mmu, find(v, a, PF_I), to, bytes));
	return EMULATE_DONE;
}

static inline enum emulate_outcome step(struct vcpu *v)
{
	const struct interpret_memory m = {{do_read, do_write, do_exchange, v}, do_fetch};

	return interpret(v, &m, &insn, &fault);
}

static inline enum emulate_outcome deliver(struct vcpu *v, struct event e)
{
	const struct emulate_memory m = {do_read, do_write, do_exchange, v};

	v->event = e;
	return interpret_event(v, &m, &fault);
}

static inline void put(struct vcpu *v, uint64_t a, const void *from, unsigned bytes)
{
	assert_true(mmu_write(v->mmu.mmu, gpa(a), from, bytes));
}

static inline uint64_t get(struct vcpu *v, uint64_t a, unsigned bytes)
{
	uint64_t x = 0;

	assert_true(mmu_read(v->mmu.mmu, gpa(a), &x, bytes));
	return x;
}

/* One instruction at CODE. */
#define RUN(v, ...) run(v, (const uint8_t[]){__VA_ARGS__}, sizeof(const uint8_t[]){__VA_ARGS__})
static inline enum emulate_outcome run(struct vcpu *v, const uint8_t *p, unsigned n)
{
	put(v, CODE, p, n);
	v->rip = CODE - v->seg[CS].base;
	return step(v);
}

static inline void faults(enum emulate_outcome o, uint8_t vector, uint32_t error)
{
	assert_int_equal(o, EMULATE_FAULT);
	assert_int_equal(fault.vector, vector);
	assert_int_equal(fault.error, error);
}

static inline struct vcpu *real(void **state)
{
	struct vcpu *v = &((struct vcpu_test *)*state)->v;

	assert_int_equal(vcpu_reset_startup(v, CODE >> 12, &why), CR_DONE);
	v->gpr[RSP] = STACK;
	return v;
}

#endif
