/* SPDX-License-Identifier: MIT */
/* The monitor's shell: the line that is typed, and the one command that is being carried out. */
#include "hv/monitor.h"
#include "guest/line.h"
#include "guest/text.h"
#include "hv/errand.h"
#include "hv/log.h"
#include "hv/monitor_job.h"
#include "hv/ring.h"
#include "mm/rcu.h"

#define INTERRUPT 0x03 /* Ctrl-c */
#define BYTES_A_STEP 16
#define PATIENCE_US 250000 /* that others' lines are waited for, so that they come between two rows */
#define QUIT "quit"

static void echo(void *context, const char *bytes, size_t n);
static const char *complete(void *context, const char *text, size_t n, unsigned nth);

static const struct line_user user = {.prompt = "umbra> ", .echo = echo, .complete = complete};

static struct monitor {
	bool used, open;
	bool busy;        /* job is under way */
	bool dropped;     /* … and nobody wants it any more */
	uint64_t waits;   /* TSC up to which others' lines are waited for; 0: there are none */
	char out[HOST_RAW]; /* echo that is to go out in one piece */
	size_t out_n;
	uint64_t printed; /* log_head() behind the last row: the next ones wait until it is out */
	struct line line;
	struct ring typed;
	struct monitor_job job;
} monitor;

static void flush(void)
{
	if (!monitor.out_n)
		return;
	host_raw(monitor.out, monitor.out_n);
	monitor.out_n = 0;
	monitor.printed = log_head();
}

static void echo(void *context, const char *bytes, size_t n)
{
	(void)context;
	while (n--) {
		if (monitor.out_n == sizeof monitor.out)
			flush();
		monitor.out[monitor.out_n++] = *bytes++;
	}
}

static const char *complete(void *context, const char *text, size_t n, unsigned nth)
{
	(void)context;
	return command_complete(&monitor_commands, text, n, nth);
}

static void put_log(void *context, const char *row)
{
	(void)context;
	flush();
	host_print("%s", row);
	monitor.printed = log_head();
}

void monitor_row(struct monitor_job *j, const char *fmt, ...)
{
	char row[LOG_LINE_MAX + 1];
	va_list args;

	va_start(args, fmt);
	text_format_list(row, sizeof row, fmt, args);
	va_end(args);
	j->put(j->context, row);
}

struct guest *monitor_guest(struct monitor_job *j, unsigned n)
{
	struct guest *g = &guests.guest[j->line.value[n]];

	if (!j->begun)
		j->life = load_relaxed(&g->lives);
	return g;
}

bool monitor_runs(struct monitor_job *j, struct guest *g)
{
	if (load_relaxed(&g->lives) != j->life)
		monitor_row(j, "%s was made anew meanwhile", g->name);
	else if (load_acquire(&g->ended) || !vm_running(g->vm)) /* partner: end_guest */
		monitor_row(j, "%s has ended", g->name);
	else
		return true;
	return false;
}

bool monitor_ask(struct monitor_job *j, unsigned cpu, bool (*work)(void *job))
{
	if (j->still) {
		while (!work(j))
			;
		return true;
	}
	if (!j->asked) {
		j->asked = true;
		errand_ask(cpu, work, j);
		return false;
	}
	if (!errand_over())
		return false;
	j->asked = false;
	return true;
}

/* Reads a line into a job that is to be begun. False: there is nothing to do, and what is wrong was said. */
static bool begin(struct monitor_job *j, const char *text)
{
	char error[COMMAND_ERROR], usage[COMMAND_USAGE];

	j->begun = j->asked = false;
	j->place = j->end = 0;
	switch (command_parse(&monitor_commands, text, &j->line, error)) {
	case COMMAND_EMPTY:
		return false;
	case COMMAND_UNKNOWN:
		monitor_row(j, "%s", error);
		return false;
	case COMMAND_WRONG:
		command_usage(&monitor_commands.command[j->line.command], usage);
		monitor_row(j, "%s", error);
		monitor_row(j, "usage: %s", usage);
		return false;
	case COMMAND_OK:
		break;
	}
	return true;
}

static bool is_quit(const struct monitor_job *j)
{
	return text_equal(monitor_commands.command[j->line.command].name, QUIT);
}

static bool step(struct monitor_job *j)
{
	bool over = monitor_steps[j->line.command](j);

	j->begun = true;
	return over;
}

void monitor_open(void)
{
	if (monitor.open)
		return;
	if (!monitor.used)
		line_init(&monitor.line, &user);
	monitor.used = monitor.open = true;
	ring_clear(&monitor.typed);
	line_begin(&monitor.line);
	host_print("umbra: console: monitor; help lists its commands, Ctrl-d leaves it");
	monitor.printed = log_head();
}

void monitor_close(void)
{
	monitor.open = false; /* what follows begins a row of its own */
}

bool monitor_is_open(void)
{
	return monitor.open;
}

bool monitor_full(void)
{
	return ring_full(&monitor.typed);
}

void monitor_type(uint8_t byte)
{
	if (byte == INTERRUPT && monitor.busy) {
		ring_clear(&monitor.typed);
		monitor.dropped = true;
		return;
	}
	ring_put(&monitor.typed, byte);
}

static void go_on(void)
{
	struct monitor_job *j = &monitor.job;

	if (monitor.dropped && j->asked)
		errand_drop();
	if (monitor.dropped && (!j->asked || errand_over())) {
		monitor_row(j, "dropped");
		monitor.busy = monitor.dropped = false;
		return;
	}
	if (!monitor.dropped && log_passed(monitor.printed))
		monitor.busy = !step(j);
}

/* True: the line goes on. */
static bool received(uint8_t byte)
{
	struct monitor_job *j = &monitor.job;

	switch (line_receive(&monitor.line, byte)) {
	case LINE_MORE:
		return true;
	case LINE_DONE:
		j->put = put_log;
		monitor.dropped = false;
		monitor.busy = begin(j, monitor.line.text);
		if (monitor.busy && is_quit(j))
			monitor.busy = monitor.open = false;
		break;
	case LINE_DROPPED:
		break;
	case LINE_END:
		monitor.open = false;
		break;
	}
	line_begin(&monitor.line);
	return false;
}

/* Are lines of others on their way? A while they are waited for. */
static bool others_print(void)
{
	uint64_t now = host_clock();

	if (!log_pending()) {
		monitor.waits = 0;
		return false;
	}
	if (!monitor.waits)
		monitor.waits = now + us_ticks(PATIENCE_US);
	return now < monitor.waits;
}

/* What was typed; before it the prompt, where something else has been printed. */
static void converse(void)
{
	const uint8_t *first;
	bool more = true;

	if (!log_passed(monitor.printed) || others_print())
		return;
	if (!log_row_begun())
		line_show(&monitor.line);
	for (unsigned n = 0; n < BYTES_A_STEP && more && ring_piece(&monitor.typed, &first); n++) {
		uint8_t byte = *first;

		ring_drop(&monitor.typed, 1);
		more = received(byte);
	}
	flush();
}

void monitor_poll(void)
{
	if (monitor.busy)
		go_on();
	else if (monitor.open)
		converse();
}

void monitor_run(const char *line, bool locks, void (*put)(void *context, const char *row), void *context)
{
	static struct monitor_job job;

	job.put = put;
	job.context = context;
	job.still = true;
	if (!begin(&job, line) || is_quit(&job))
		return;
	if (!locks && !monitor_takes_no_lock[job.line.command]) {
		monitor_row(&job, "not while a CPU stands in the middle of something: it may hold a lock");
		return;
	}
	while (!step(&job))
		;
}
