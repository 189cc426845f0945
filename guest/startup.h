/* SPDX-License-Identifier: MIT */
/* INIT and SIPI, as far as they change a vCPU's registers (SDM vol. 3, 9.1, table 9-1; 10.4.7.3). Its local APIC is not theirs. */
#ifndef GUEST_STARTUP_H
#define GUEST_STARTUP_H

#include "guest/cr.h"

/* INIT: real mode, CS:IP = F000:FFF0; MSRs, XCR0, the TSC, x87 and vector registers and their control stay. activity is
 * VCPU_OFF: nothing runs before a SIPI. CR_DONE; CR_RETRY: nothing has changed, once more later; CR_END: *reason says why it
 * cannot go on. No part of v may be stale, also below; on its CPU, outside sections and locks. */
enum cr_outcome vcpu_reset_init(struct vcpu *v, const char **reason);
/* SIPI, with the INIT before it: it is runnable, in real mode at CS:IP = vector00:0000. The rest as above. */
enum cr_outcome vcpu_reset_startup(struct vcpu *v, uint8_t vector, const char **reason);

#endif
