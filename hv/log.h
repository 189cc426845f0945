/* SPDX-License-Identifier: MIT */
/* The log: lines from every CPU into one ring, moved to the console by whoever is idle. host_log(), host_print()
 * and host_raw() end here. */
#ifndef HV_LOG_H
#define HV_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_LINE_MAX 800

/* Appends one complete line without its newline. Lines that are not `vital` are refused already when the ring is three
 * quarters full. A refused line is counted. No lock, never waits: allowed anywhere, interrupt handlers included. */
void log_append(const char *line, size_t bytes, bool vital);
/* The same of up to LOG_LINE_MAX bytes that are no line: they go to COM1 as they are. The next line begins on a row of its
 * own. Vital. */
void log_append_raw(const char *bytes, size_t n);
/* Lines, or runs of raw bytes, refused so far. */
uint64_t log_lost(void);

/* Moves up to max_chars characters to the console; returns how many. 0: nothing there, or another CPU is at it. Call
 * it with no lock held. */
unsigned log_drain(unsigned max_chars);
/* True while there is text to move. */
bool log_pending(void);
/* How many slots of text there were so far, and whether the first `position` of them are printed. */
uint64_t log_head(void);
bool log_passed(uint64_t position);
/* Is the console in a row that raw bytes have begun, and no line? */
bool log_row_begun(void);

/* Lines stay in the ring until they are overwritten. Where the last `lines` of them begin, or as many as lie in the last
 * LOG_LOOK slots, which long lines and raw bytes take too. Any context, here and in the next. */
#define LOG_LOOK 1024
uint64_t log_last(unsigned lines);
/* Copies the first whole line between *position and `end`, a log_head(), with a zero behind it, cut off to fit `room`; *position
 * moves behind it. False: there is none. */
bool log_read(uint64_t *position, uint64_t end, char *to, size_t room);

/* Waits, draining if nobody else does, until half of the ring is free: for callers without locks that can produce
 * faster than the console takes. Bounded by one second. */
void log_wait_room(void);
/* Everything to the console; given up when there is no progress for a second. With `force` even if another CPU holds
 * the drain (it is stopped: panic). */
void log_flush(bool force);

#endif
