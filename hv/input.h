/* SPDX-License-Identifier: MIT */
/* Input from COM1: to the guest in focus, or to the hypervisor.
 *
 * CPU 0's loop reads it. What the guest's UART has no room for yet waits in a ring of that guest's; when the ring of the
 * one in focus is full, COM1 is not read, so that the sender has to wait, if its line can: emulators do, a real line whose
 * UART overruns loses bytes, which is said. A guest that never reads can so hold up the keys behind what was typed to it,
 * until it ends. */
#ifndef HV_INPUT_H
#define HV_INPUT_H

#include <stdint.h>

/* A bounded step of all that. Returns the TSC of the next. CPU 0, outside locks and sections. */
uint64_t input_poll(uint64_t now);

#endif
