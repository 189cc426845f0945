/* SPDX-License-Identifier: MIT */
/* What AFL++'s targets share. Each test case is run from memory of just its size, so that ASan sees its end. */
#ifndef TOOLS_HOST_FUZZ_H
#define TOOLS_HOST_FUZZ_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Aborts, which AFL++ takes for a crash, and says what was not kept. */
static inline void promise(bool kept, const char *what)
{
	if (kept)
		return;
	fprintf(stderr, "not kept: %s\n", what);
	abort();
}

#ifdef __AFL_COMPILER /* afl-clang-fast */
__AFL_FUZZ_INIT();

/* main() of a target: `one` takes each test case; `cases` of them a process. */
static inline int fuzz(void (*one)(const uint8_t *p, size_t n), unsigned cases)
{
	const uint8_t *p;

	__AFL_INIT();
	p = __AFL_FUZZ_TESTCASE_BUF;
	while (__AFL_LOOP(cases)) {
		size_t n = (size_t)__AFL_FUZZ_TESTCASE_LEN;
		uint8_t *exact = malloc(n ? n : 1);

		memcpy(exact, p, n);
		one(exact, n);
		free(exact);
	}
	return 0;
}
#endif

#endif
