/* SPDX-License-Identifier: MIT */
/* The parts of `modes`: modes.c writes tables and scripts, modes_model.c says what each step must do, modes_engine.S
 * does it. */
#ifndef GUEST_IMAGES_MODES_H
#define GUEST_IMAGES_MODES_H

#include "guest/images/lib.h"

#define CR0_PG (1UL << 31)
#define CR4_PSE (1UL << 4)
#define CR4_PAE (1UL << 5)
#define EFER_LME (1UL << 8)
#define EFER_LMA (1UL << 10)
#define EFER_NXE (1UL << 11)
#define FLAGS_FIXED 2u

/* Tables, one page each, in a row from `tables` on. */
enum table_page {
	T_TOP,			/* page directory of 32-bit paging; its last 32 bytes are the PDPTEs of PAE paging */
	T_LOW32, T_USER32,	/* the first 4 MiB; the user code */
	T_PT32,			/* 2 for each window */
	T_PD = T_PT32 + 4,	/* page directories of PAE and 4-level paging, one for each GiB */
	T_USER = T_PD + 4,
	T_PT,			/* 4 for each window */
	T_PML4 = T_PT + 8, T_PDPT,
	TABLES
};

/* A pool: 4 MiB of pages, each with a stamp and code, the first of which is a page table of 32-bit paging. */
#define POOL_PAGES 1024u
#define POOL_BYTES (POOL_PAGES * PAGE)
#define CODE_OFFSET 64u

extern uint64_t tables;	    /* gpa */
extern uint64_t pool[2];    /* gpa; the second one is above 4 GiB or the first again */
extern uint32_t *stamp[2];  /* what the model expects in each page of a pool */
extern uint8_t *model;	    /* what it expects in the tables, and behind them in the first pages of the pools */

enum op {
	OP_CR0, OP_CR3, OP_CR4, OP_EFER, /* a = value */
	OP_IDT,				 /* a = address of the pseudo-descriptor */
	OP_FLAGS,			 /* a = EFLAGS for this and the following supervisor steps */
	OP_INVLPG,			 /* a = address */
	OP_READ, OP_WRITE, OP_FETCH,	 /* a = address, b = value */
	OP_USER_READ, OP_USER_WRITE, OP_USER_FETCH,
	OPS
};

/* The engine's; result, vector (0: no fault), error and cr2 are its answer. */
struct step {
	uint32_t op, a, b, result, vector, error, cr2, unused;
};

/* The guest-visible state that paging depends on. */
struct machine {
	uint32_t cr0, cr3, cr4, efer, flags;
	uint64_t pdpte[4];
};

extern struct machine now;

enum mode { MODE_OFF, MODE_32, MODE_PSE, MODE_PAE, MODE_LONG, MODES };

enum mode machine_mode(void);
/* Does the step to `now`, the tables' model and the stamps, and writes the answer that the engine must give. False if
 * the model does not know what is there: nothing was done, the step must not be tried. */
bool model_step(struct step *s);

#endif
