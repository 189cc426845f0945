/* SPDX-License-Identifier: MIT */
/* Memory of instructions that are carried out beside the real CPU's: native_memory.bytes stand for what is at
 * native_memory.area there; refused() says whether the CPU faults, and how. Set before the first access. */
#ifndef TOOLS_HOST_NATIVE_MEMORY_H
#define TOOLS_HOST_NATIVE_MEMORY_H

#include <string.h>
#include "guest/emulate.h"

static struct {
	uint64_t area;
	uint8_t *bytes;
	bool (*refused)(uint64_t a, unsigned bytes, bool write, struct emulate_fault *f);
} native_memory;

static inline enum emulate_outcome do_read(
	void *context, uint64_t a, void *to, unsigned bytes, bool write, struct emulate_fault *f)
{
	(void)context;
	if (native_memory.refused(a, bytes, write, f))
		return EMULATE_FAULT;
	memcpy(to, native_memory.bytes + (a - native_memory.area), bytes);
	return EMULATE_DONE;
}

static inline enum emulate_outcome do_write(void *context, uint64_t a, const void *from, unsigned bytes, struct emulate_fault *f)
{
	(void)context;
	if (native_memory.refused(a, bytes, true, f))
		return EMULATE_FAULT;
	memcpy(native_memory.bytes + (a - native_memory.area), from, bytes);
	return EMULATE_DONE;
}

static inline enum emulate_outcome do_exchange(void *context, uint64_t a, const void *expected, const void *value, unsigned bytes,
	struct emulate_fault *f)
{
	(void)expected;
	return do_write(context, a, value, bytes, f);
}

#endif
