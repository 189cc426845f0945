/* SPDX-License-Identifier: MIT */
/* One vCPU has the others of its guest stand still, for what must not meet them: the audit of the MMU. */
#ifndef HV_PAUSE_H
#define HV_PAUSE_H

#include "hv/runner.h"

/* In r's slice or turn. True: no other vCPU of the guest runs, nor any of its handlers, until pause_over(). False: not
 * yet; ask again next time round. What was asked for stays asked for until pause_over(). */
bool pause_others(struct runner *r);
void pause_over(struct runner *r);
/* In the turn of r's CPU: is it to stand still now? */
bool pause_park(struct runner *r);

/* An exit that is to be handled while the others stand still. */
enum runner_next pause_hold(struct runner *r, const struct exit *e);
/* At the start of r's slice: handles the exit that is held, if there is one and the others stand still. */
enum runner_next pause_held(struct runner *r);

#endif
