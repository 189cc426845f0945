/* SPDX-License-Identifier: MIT */
/* A command of the monitor that is being carried out: a row of steps, each bounded, between which the run loop goes on. */
#ifndef HV_MONITOR_JOB_H
#define HV_MONITOR_JOB_H

#include "guest/command.h"
#include "guest/text.h"
#include "hv/runner.h"
#include "mm/log.h"
#include "mm/survey.h"

#define MONITOR_ROWS 4 /* that a step prints at most */
#define MONITOR_COLUMNS 64 /* of a map */
#define MONITOR_LEAVES (2 * SURVEY_DESCS * CHAIN_SLOTS)

/* The words of `log`, in their order. */
enum monitor_log_word { MONITOR_LOG_START, MONITOR_LOG_STOP, MONITOR_LOG_HARVEST, MONITOR_LOG_MAP };

enum monitor_phys_word { MONITOR_PHYS_OFF, MONITOR_PHYS_ON };

struct monitor_log {
	enum log_outcome outcome;
	struct log_round round;
	uint64_t pages;
};

/* A map that is being drawn. */
struct monitor_map {
	uint64_t cell;           /* pages a character */
	unsigned slot, column;   /* where it is: the slot, and characters in its row so far */
	uint64_t page, row_page; /* indices in the slot: the next page, and the row's first */
	uint64_t count, written; /* pages written, of the character and in all */
	char row[MONITOR_COLUMNS];
};

/* What a vCPU's CPU tells of it. */
struct monitor_vcpu {
	bool there;
	enum vcpu_activity activity;
	uint64_t rip, cr3, rsp, exits;
	enum paging_mode mode;
	bool long_mode;
};

struct monitor_job {
	struct command_line line;
	void (*put)(void *context, const char *row);
	void *context;
	bool still;        /* gdb has everything stand still: what others are to do is done here, at once */
	bool begun, asked; /* a step was made; an errand is under way */
	uint32_t life;     /* of the guest that it is about, when it began */
	uint64_t place, end; /* where the next step goes on: the command's own, 0 to begin with */
	/* what the CPU that was asked is to know, and has to tell */
	struct guest *guest;
	const char *why;
	union {
		struct audit audit;
		struct monitor_vcpu vcpu;
		uint64_t bucket;
		struct survey_leaf leaf[MONITOR_LEAVES];
		struct survey_walk walk;
		struct monitor_log log;
		struct monitor_map map;
	};
};

/* A step. True: that was the last. */
typedef bool (*monitor_step)(struct monitor_job *j);

/* A row of what it has to say. */
void monitor_row(struct monitor_job *j, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The guest that argument `n` names. Whether it still is the one of the first step, and runs; else it was said, and the job is over.
 * Its vm stays to the end of the section that this is in. */
struct guest *monitor_guest(struct monitor_job *j, unsigned n);
bool monitor_runs(struct monitor_job *j, struct guest *g);

/* On the walker's CPU, in the work of j: is j->guest there still, as it was when j began? Its vm then stays for the turn. False:
 * j->why says why not. */
bool monitor_is_there(struct monitor_job *j);

/* Has CPU `cpu` call work(j) until it returns true. True: it has; to be called in each step until then. */
bool monitor_ask(struct monitor_job *j, unsigned cpu, bool (*work)(void *job));

/* The commands, in their order: monitor_table.c. */
extern const struct command_set monitor_commands;
extern const monitor_step monitor_steps[];
extern const bool monitor_takes_no_lock[]; /* nor reads what a vCPU's own CPU may have a newer version of */

/* monitor_guest.c */
bool monitor_guests(struct monitor_job *j);
bool monitor_vcpus(struct monitor_job *j);
bool monitor_stats(struct monitor_job *j);
bool monitor_exits(struct monitor_job *j);
bool monitor_pause(struct monitor_job *j);
bool monitor_resume(struct monitor_job *j);
bool monitor_kill(struct monitor_job *j);
bool monitor_restart(struct monitor_job *j);
/* monitor_mmu.c */
bool monitor_mmu(struct monitor_job *j);
bool monitor_audit(struct monitor_job *j);
bool monitor_zap(struct monitor_job *j);
/* monitor_log.c */
bool monitor_log(struct monitor_job *j);
/* monitor_walk.c */
bool monitor_rmap(struct monitor_job *j);
bool monitor_walk(struct monitor_job *j);
/* monitor_machine.c */
bool monitor_phys(struct monitor_job *j);
bool monitor_locks(struct monitor_job *j);
bool monitor_slabs(struct monitor_job *j);
bool monitor_rcu(struct monitor_job *j);
bool monitor_dmesg(struct monitor_job *j);

#endif
