/* SPDX-License-Identifier: MIT */
/* One vCPU has the others of its guest stand still, for what must not meet them: the audit of the MMU. Or a person has all. */
#ifndef HV_PAUSE_H
#define HV_PAUSE_H

#include "hv/runner.h"

/* In r's slice or turn. True: no other vCPU of the guest runs, nor any of its handlers, until pause_over(). False: not
 * yet; ask again next time round. What was asked for stays asked for until pause_over(). */
bool pause_others(struct runner *r);
void pause_over(struct runner *r);
/* INIT came to r: what its exits had asked for, held or begun, does not happen. In the turn of its CPU. */
void pause_forget(struct runner *r);
/* Has all of a guest that runs stand still until pause_guest_over(), for a person: its clocks go on, its limit does not. False: one
 * of its vCPUs has the others stand still just now; ask again. In an RCU section; any CPU. */
#define PAUSE_PERSON (MMU_MAX_VCPUS + 1)
bool pause_guest(struct guest *g);
void pause_guest_over(struct guest *g);
static inline bool pause_by_person(const struct guest *g)
{
	return load_relaxed(&g->pauser) == PAUSE_PERSON;
}
/* Do all its vCPUs stand still, or have they stopped? */
bool pause_guest_done(const struct guest *g);

/* In the turn of r's CPU: is it to stand still now? */
bool pause_park(struct runner *r);

/* An exit that is to be handled while the others stand still. */
enum runner_next pause_hold(struct runner *r, const struct exit *e);
/* At the start of r's slice: handles the exit that is held, if there is one and the others stand still. */
enum runner_next pause_held(struct runner *r);

#endif
