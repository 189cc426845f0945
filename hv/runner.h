/* SPDX-License-Identifier: MIT */
/* A vCPU in the run loop, and the run loop of one physical CPU.
 *
 * The hypervisor is cooperative. Each CPU calls runner_cpu_loop() and takes turns there: device timers and limits of
 * its vCPUs, the replicas if it is the walker's, the table and the console if it is CPU 0, then a slice of guest time
 * for each vCPU that can run. A slice ends at the next deadline of any of these, by the host timer's interrupt. */
#ifndef HV_RUNNER_H
#define HV_RUNNER_H

#include "guest/vm.h"
#include "hv/backend.h"
#include "mm/audit.h"

#define RUNNER_NEVER UINT64_MAX
#define MICROSECONDS 1000000UL /* in a second */

/* TSC ticks in so many microseconds, and the other way round. */
static inline uint64_t us_ticks(uint64_t us)
{
	return us * (host_clock_hz() / MICROSECONDS);
}
static inline uint64_t ticks_us(uint64_t ticks)
{
	return ticks / (host_clock_hz() / MICROSECONDS);
}

/* A vCPU. Only its CPU touches it, but for the atomics and what never changes. */
struct runner {
	struct guest *guest;
	struct vm *vm;
	struct vcpu *v;
	unsigned cpu;
	struct runner *next;               /* on this CPU */
	atomic64 tick;                     /* vCPU 0's: TSC of the next change of a device timer's line. Read by the others */
	bool over;                         /* stopped; vm and v may be gone, while `stopped` says so */
	atomic32 parked;                   /* stands still, pause.c */
	bool holds;                        /* an exit waits for the others to stand still: held */
	struct exit held;
	uint64_t paused_since;             /* vCPU 0's: TSC when a person had the guest stand still; 0: it does not */
	uint64_t retry_since, retry_exits; /* TSC and exits when the present row of RETRYs began and went on */
	atomic32 stopped; /* set last: the vCPU and its handlers are over, its backend state is gone. Cleared by guest_again */
};

/* One guest, as the walker and the table see it. */
struct guest {
	struct vm *vm;
	struct runner runner[MMU_MAX_VCPUS];
	unsigned runners;
	char name[CONFIG_NAME]; /* for its whole life and the next ones */
	atomic32 pauser; /* index + 1 of the vCPU that has the others stand still, or PAUSE_PERSON; 0: none. pause.c */
	/* the walker's */
	uint64_t next_round; /* TSC */
	/* audit=continuous */
	uint64_t next_audit; /* TSC */
	uint64_t passes;     /* that have ended */
	struct audit audit;  /* the one under way, when audit.mmu is not 0 */
	atomic32 ended;      /* vm is gone; who looks at it from another CPU does so in an RCU section */
	atomic32 passed;     /* its last verdict; once ended */
	bool counted;        /* restart= names it: its pages are counted */
	unsigned again;      /* times it is to be made anew */
	unsigned left;       /* guests there were when its first life was over, */
	uint64_t pages;      /* and frames that no guest had */
	atomic32 lives;      /* times it was made anew; read by the table */
	/* the table's: values at the line before */
	uint64_t next_line;
	uint32_t life;
	uint64_t shown[6];
};

/* All guests; fixed before any CPU enters the loop. */
struct guests {
	struct guest *guest;
	unsigned n;
	unsigned walker_cpu;
	bool failed;   /* not all is well: a module refused, a guest failed. The walker's CPU's once guests run */
	atomic32 left; /* guests that have not ended */
	const struct backend *backend;
};
extern struct guests guests;

/* Until guests.left is 0, on each CPU. argument: unused. Interrupts on. */
void runner_cpu_loop(void *argument);
/* Sees to it that this CPU's timer fires no later than at TSC t. */
void runner_arm(uint64_t t);

/* Sees to it that CPU `cpu`, this one or another, soon takes a turn: no slice there goes on for long. Any context. */
void runner_attend(unsigned cpu);

/* The shadow root is to be made current before the guest can go on. */
enum runner_next runner_reload(struct runner *r);
/* Is this CPU asked for something else than to run a guest? An NMI alone is none: to have looked is enough. Interrupts on. */
bool runner_asked(void);

/* exit.c: everything that follows from one exit. Interrupts on. */
enum runner_next exit_handle(struct runner *r, struct exit *e);
/* Of a page fault, when mmu_fault() has said o: all but the first repair of it. */
enum runner_next exit_page_fault(struct runner *r, struct exit *e, enum mmu_outcome o, const struct mmu_fault *f);
/* Another flow has the turn; bounded: a guest that only retries for ten seconds ends. */
enum runner_next exit_retry(struct runner *r, const struct exit *e);

/* exit_insn.c: EXIT_INSTRUCTION. */
enum runner_next exit_instruction(struct runner *r, struct exit *e);
/* Of instruction i, which interpret() said is an exit's: e becomes that exit. */
struct insn;
enum runner_next exit_interpreted(struct runner *r, struct exit *e, const struct insn *i);
/* exit_interpret.c: EXIT_INTERPRET, a turn of the interpreter. */
enum runner_next exit_interpret(struct runner *r, struct exit *e);
/* exit_emulate.c: of EXIT_PAGE_FAULT e, to address a, the instruction is to be carried out here. */
enum runner_next exit_emulate(struct runner *r, struct exit *e, gpa_t a);
/* exit_io.c */
enum runner_next exit_io(struct runner *r, struct exit *e);
/* exit_cr.c: control and debug registers, MSRs, XSETBV. */
enum runner_next exit_cr_read(struct runner *r, struct exit *e);
enum runner_next exit_cr_write(struct runner *r, struct exit *e);
enum runner_next exit_dr(struct runner *r, struct exit *e);
enum runner_next exit_rdmsr(struct runner *r, struct exit *e);
enum runner_next exit_wrmsr(struct runner *r, struct exit *e);
enum runner_next exit_xsetbv(struct runner *r, struct exit *e);

/* inject.c: an exception for the guest; a triple fault ends it. */
enum runner_next inject_exception(struct runner *r, struct exit *e, uint8_t vector, bool has_error, uint32_t error);
/* Offers a pending interrupt to the guest, or wants an exit when it can be taken. */
void inject_interrupt(struct runner *r);

/* report.c: ends the guest as `crash: …` with its registers, the exit and the bytes at RIP on the console. */
enum runner_next report_crash(struct runner *r, struct exit *e, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Where the guest's exits went: by reason, and its page faults by kind. The vCPUs have stopped. */
void report_exits(const struct guest *g);
/* What an exit's reason is called. */
const char *report_reason(enum exit_reason reason);

/* run.c: makes a guest whose vCPUs have stopped and whose vm is gone anew, of its module, on the CPUs that it had. False: said
 * why not. The walker's CPU. */
bool guest_again(struct guest *g, const char *name);

/* walker.c: ends guest g, or what is left of it, and has it made anew; a step of that. True: it was made anew since its life number
 * `life`, or cannot be: *why says so, or is 0. Where a guest that runs is ended so, it has no verdict. The walker's CPU, in a turn. */
bool guest_restart(struct guest *g, uint32_t life, const char **why);
/* walker.c: harvests that are due, and guests that have stopped. Returns the TSC of the next thing to do. */
uint64_t walker_poll(uint64_t now);
/* table.c: a line for each guest and second. Returns the TSC of the next line. */
uint64_t table_poll(uint64_t now);

#endif
