/* SPDX-License-Identifier: MIT */
/* ELF executables (System V ABI, chapters 4 and 5) for x86, of 32 and of 64 bits. The file is not trusted. */
#ifndef GUEST_ELF_H
#define GUEST_ELF_H

#include "guest/image.h"

/* True when the file begins like an ELF one, whatever follows. */
bool elf_recognise(const void *file, uint64_t bytes);
/* Reads the headers into *m. An entry that is a virtual address is brought to its place in memory. False: error (size
 * bytes) says what is wrong. Whether the segments lie in RAM and apart from each other is the caller's to check. */
bool elf_read(struct image *m, const void *file, uint64_t bytes, char *error, size_t size);

#endif
