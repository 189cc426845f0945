/* SPDX-License-Identifier: MIT */
/* The hypervisor's own stores to guest RAM: gmem.c:mmu_write, drop_shadows; walk.c:set_accessed; beside log.c:harvest,
 * shadow.c:shadow_new, sync.c:sync_build, and the guest.
 *
 * Modelled: one page with one word; a host store (data, dirty bit, count, shadows dropped under the lock) by a CPU
 * with a store buffer; a harvest at any time and one after the store is over; a CPU that shadows the page as a page
 * table and then reads the word, with a store buffer too; -DAD: setting A and D in a gpte which a vCPU clears at the
 * same time.
 * Bounds: one store, two harvests, one shadowing.
 * Properties: the store is in the copy; the shadow does not stay behind the word; a gpte that the guest cleared stays
 * clear.
 *
 *  run: as built | ok | | quick
 *  run: dirty bit before the data | wrong | -DBIT_FIRST | quick
 *  run: count read before the dirty bit | wrong | -DCOUNT_EARLY | quick
 *  run: shadows not dropped | wrong | -DNO_DROP
 *  run: count raised by a plain store | wrong | -DPLAIN_COUNT
 *  run: gpte read before the count is raised | wrong | -DREAD_FIRST
 *  run: A and D by cmpxchg, as built | ok | -DAD
 *  run: A and D by a plain store | wrong | -DAD -DPLAIN_AD
 */
byte copy, spte, data; /* spte: version + 1; 0: empty */
bit dirty = 1, count, lock, over, pend_data, pend_count;
bit gpte = 1, accessed, cleared;

#define take atomic { !lock -> lock = 1 }
#define drop lock = 0

active proctype buffers() {
end:	do
	:: atomic { pend_data -> data = 1; pend_data = 0 }
	:: atomic { pend_count -> count = 1; pend_count = 0 }
	od
}

active proctype store() {
	bit c;

#ifdef BIT_FIRST
	dirty = 1;
	pend_data = 1;
	!pend_data; /* a locked RMW of something else */
	c = count;
#else
	pend_data = 1;
#ifdef COUNT_EARLY
	c = count;
#endif
	atomic { !pend_data -> dirty = 1 };
#ifndef COUNT_EARLY
	c = count;
#endif
#endif
#ifndef NO_DROP
	if
	:: c -> take; spte = 0; drop
	:: else
	fi;
#endif
	over = 1
}

inline harvest() {
	atomic { b = dirty; dirty = 0 };
	if
	:: b -> copy = data
	:: else
	fi
}

active proctype walker() {
	bit b;

	harvest();
	over;
	harvest();
	assert(copy == data && data == 1)
}

active proctype shadower() {
	byte v;

#ifdef READ_FIRST
	v = data + 1;
	take; count = 1; drop;
	take; spte = v; drop;
#else
#ifdef PLAIN_COUNT
	pend_count = 1;
#else
	take; count = 1; drop;
#endif
	take; /* protected, flushed, LIVE; filled under the lock. PLAIN_COUNT: as if no RMW came between */
	v = data + 1;
	spte = v;
	drop;
#endif
	over;
	!lock && !pend_count;
	assert(!spte || spte == data + 1)
}

#ifdef AD
active proctype set_accessed() {
	bit old;

	old = gpte;
	if
	:: old ->
#ifdef PLAIN_AD
		atomic { gpte = old; accessed = 1 }
#else
		atomic { if :: gpte == old -> accessed = 1 :: else fi } /* failure: RETRY */
#endif
	:: else
	fi;
	assert(!(cleared && gpte))
}

active proctype guest() {
	atomic { gpte = 0; cleared = 1 };
	assert(!gpte)
}
#endif
