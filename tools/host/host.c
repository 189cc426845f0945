/* SPDX-License-Identifier: MIT */
/* mm/host.h for the native tests: a CPU is a thread, host RAM is an arena (host_arena.c) and a piece mapped
 * 4 GiB above its start, so that high memory is real. */
#define _GNU_SOURCE
#include "tools/host/native.h"
#include "mm/page.h"
#include "mm/park.h"
#include "mm/slab.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PANIC_STATUS 77
#define LOG_LINES 256
#define RAW_BYTES 1024
#define LOG_LINE_BYTES 256

static const struct page_range native_ranges[] = {
	{64UL << 10, 576UL << 10},
	{1UL << 20, 767UL << 20},
	{(770UL << 20) + PAGE_SIZE, NATIVE_ARENA_BYTES - (770UL << 20) - PAGE_SIZE},
	{NATIVE_HIGH_START, NATIVE_HIGH_BYTES},
};

static unsigned native_cpus = 1;
static void (*native_kick)(unsigned cpu);
static _Thread_local unsigned native_cpu;
static _Thread_local struct {
	void (*hook)(void *ctx, const char *point);
	void *ctx;
	bool running;
} native_park;
static char *native_panic_text; /* in the child of host_panics: where the message goes */

static struct {
	pthread_mutex_t lock;
	unsigned count[HOST_DEBUG + 1];
	uint64_t lines;
	char line[LOG_LINES][LOG_LINE_BYTES];
	size_t raw_n;
	char raw[RAW_BYTES];
} native_log = {.lock = PTHREAD_MUTEX_INITIALIZER};

unsigned host_cpu(void)
{
	return native_cpu;
}

unsigned host_cpus(void)
{
	return native_cpus;
}

void host_kick(unsigned cpu)
{
	if (native_kick)
		native_kick(cpu);
}

void host_relax(void)
{
	sched_yield();
}

uint64_t host_clock(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000UL + (uint64_t)t.tv_nsec;
}

uint64_t host_clock_hz(void)
{
	return 1000000000UL;
}

/* mm/lock.h: the ranks held by each CPU that this thread acts as. */
static _Thread_local uint32_t native_held[HOST_MAX_CPUS];

void lock_order_take(unsigned rank)
{
	uint32_t *held = &native_held[native_cpu];

	if (rank == LOCK_UNRANKED)
		return;
	if (*held >> rank)
		host_panic("a lock of rank %u is taken while one of rank %d is held", rank, 31 - __builtin_clz(*held));
	*held |= 1u << rank;
}

void lock_order_drop(unsigned rank)
{
	if (rank != LOCK_UNRANKED)
		native_held[native_cpu] &= ~(1u << rank);
}

static void native_line(const char *fmt, va_list ap)
{
	char *line = native_log.line[native_log.lines++ % LOG_LINES];

	vsnprintf(line, LOG_LINE_BYTES, fmt, ap);
	if (getenv("UMBRA_LOG"))
		fprintf(stderr, "%s\n", line);
}

void host_log(enum host_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	pthread_mutex_lock(&native_log.lock);
	native_log.count[level]++;
	native_line(fmt, ap);
	pthread_mutex_unlock(&native_log.lock);
	va_end(ap);
}

void host_print(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	pthread_mutex_lock(&native_log.lock);
	native_line(fmt, ap);
	pthread_mutex_unlock(&native_log.lock);
	va_end(ap);
}

void host_raw(const char *bytes, size_t n)
{
	pthread_mutex_lock(&native_log.lock);
	for (size_t i = 0; i < n && native_log.raw_n < sizeof native_log.raw - 1; i++)
		native_log.raw[native_log.raw_n++] = bytes[i];
	pthread_mutex_unlock(&native_log.lock);
}

const char *host_raw_text(void)
{
	return native_log.raw;
}

void host_panic(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (native_panic_text) {
		vsnprintf(native_panic_text, PAGE_SIZE, fmt, ap);
		_exit(PANIC_STATUS);
	}
	fprintf(stderr, "panic on CPU %u: ", native_cpu);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	abort();
}

bool host_panics(void (*body)(void *arg), void *arg, const char *text)
{
	char *message = mmap(0, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bool held;
	int status;
	pid_t child;

	CHECK(message != MAP_FAILED);
	child = fork();
	CHECK(child >= 0);
	if (!child) {
		native_panic_text = message;
		body(arg);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child);
	held = WIFEXITED(status) && WEXITSTATUS(status) == PANIC_STATUS && strstr(message, text);
	munmap(message, PAGE_SIZE);
	return held;
}

void park(const char *point)
{
	unsigned cpu = native_cpu;

	if (!native_park.hook || native_park.running)
		return;
	native_park.running = true;
	native_park.hook(native_park.ctx, point);
	native_park.running = false;
	native_cpu = cpu;
}

void host_set_park(void (*hook)(void *ctx, const char *point), void *ctx)
{
	native_park.hook = hook;
	native_park.ctx = ctx;
}

void host_set_kick(void (*kick)(unsigned cpu))
{
	native_kick = kick;
}

void host_thread_cpu(unsigned cpu)
{
	CHECK(cpu < native_cpus);
	native_cpu = cpu;
}

struct native_thread {
	pthread_t thread;
	unsigned cpu;
	void (*fn)(void *arg);
	void *arg;
};

static void *native_start(void *p)
{
	struct native_thread *t = p;

	native_cpu = t->cpu;
	t->fn(t->arg);
	return 0;
}

void host_run_cpus(unsigned n, void (*fn)(void *arg), void *arg)
{
	struct native_thread *t = calloc(n, sizeof *t);

	CHECK(t && n <= native_cpus);
	for (unsigned i = 0; i < n; i++) {
		t[i] = (struct native_thread){.cpu = i, .fn = fn, .arg = arg};
		CHECK(!pthread_create(&t[i].thread, 0, native_start, &t[i]));
	}
	for (unsigned i = 0; i < n; i++)
		CHECK(!pthread_join(t[i].thread, 0));
	free(t);
}

void host_native_init(unsigned cpus)
{
	static char *high;

	CHECK(cpus > 0 && cpus <= HOST_MAX_CPUS && !((uintptr_t)host_direct_base & ((2UL << 20) - 1)));
	if (!high) {
		high = mmap(host_virt(hpa(NATIVE_HIGH_START)), NATIVE_HIGH_BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
		CHECK(high == host_virt(hpa(NATIVE_HIGH_START)));
	}
	native_cpus = cpus;
	native_cpu = 0;
	native_kick = 0;
	native_park.hook = 0;
	memset(native_log.count, 0, sizeof native_log.count);
	native_log.lines = 0;
	native_log.raw_n = 0;
	memset(native_log.raw, 0, sizeof native_log.raw);
	memset(native_log.line, 0, sizeof native_log.line);
	page_init(native_ranges, sizeof native_ranges / sizeof *native_ranges);
	slab_set_mode(SLAB_NORMAL);
	slab_set_cap(SLAB_CAP);
}

unsigned host_log_count(enum host_level level)
{
	unsigned n = 0;

	pthread_mutex_lock(&native_log.lock);
	for (unsigned i = 0; i <= (unsigned)level; i++)
		n += native_log.count[i];
	pthread_mutex_unlock(&native_log.lock);
	return n;
}

bool host_log_has(const char *text)
{
	bool has = false;

	pthread_mutex_lock(&native_log.lock);
	for (unsigned i = 0; i < LOG_LINES; i++)
		has |= strstr(native_log.line[i], text) != 0;
	pthread_mutex_unlock(&native_log.lock);
	return has;
}

const char *host_log_line(unsigned i)
{
	return i < native_log.lines && i < LOG_LINES ? native_log.line[(native_log.lines - 1 - i) % LOG_LINES] : "";
}

uint64_t host_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}
