/* SPDX-License-Identifier: MIT */
/* Removing a slot beside running vCPUs: move.c:mmu_move_ram, beside fault.c:try, gmem.c:slot_enter, sync.c:sync_build and
 * replica.c:replica_round. The model frees one slot and zaps its own sptes alone; the code moves all of them, kills all
 * tables, and keeps chains and bitmaps.
 *
 * Modelled: one page of the slot; a vCPU that faults (look-up, then install under the lock, in one publishing section)
 * and uses the frame through its TLB; a host store in a section; a harvest that copies the page under a reference; a
 * flow that kills the table with the page's spte, so that the zap does not find it in the hash, and buries it; a
 * builder that shadows a table of the slot: it leaves its section to flush, looks the slot up again, and is waited
 * for; the remover: unpublish, grace period, zap, flush, grace period for walkers and publishers, free; and whoever
 * re-creates the slot.
 * Bounds: FAULTS faults, one store, one harvest, one build, one demolition, one removal.
 * Properties: nobody touches a frame, a chain or a bitmap that was freed; a store to a slot that is being re-created
 * is not dropped; no spte maps the frame after it was freed.
 *
 *  run: as designed, beside a host store | ok | -DSTORE | quick
 *  run: as designed, beside a harvest | ok | -DHARVEST
 *  run: as designed, beside a builder | ok | -DBUILD
 *  run: as designed, beside a demolition | ok | -DKILL | quick
 *  run: as designed, beside all of them | ok | -DSTORE -DHARVEST -DBUILD -DFAULTS=1 | big
 *  run: no grace period before the zap | wrong | -DONE_GRACE | quick
 *  run: no grace period before the free | wrong | -DBUILD -DNO_BUILDER -DNO_SECOND
 *  run: second one for publishers only | wrong | -DBUILD -DNO_BUILDER -DONE_KIND | quick
 *  run: no flush | wrong | -DNO_FLUSH
 *  run: a demolition is not waited for | wrong | -DKILL -DNO_DYING | quick
 *  run: zap before unpublish | wrong | -DZAP_FIRST
 *  run: harvest without a reference | wrong | -DHARVEST -DNO_REF
 *  run: builder uses the old look-up | wrong | -DBUILD -DNO_BUILDER -DSTALE_BUILDER
 *  run: section left between look-up and install | wrong | -DTWO_SECTIONS
 *  run: a moving slot looks absent | wrong | -DSTORE -DABSENT | quick
 *  run: builder not waited for (no harm) | ok | -DBUILD -DNO_BUILDER
 * The last: a builder that looks the slot up again in a new section is covered by the second grace period. The wait is
 * the second of two defences, as the harvest's reference is beside its section.
 */
#ifndef FAULTS
#define FAULTS 2
#endif
#define GONE 0
#define THERE 1
#define MOVING 2

byte slot = THERE, refs, building;
bit dying; /* the table with the spte: unhashed, not yet buried */
bit spte, entry, tlb, lock, freed;
byte epoch = 1, word[3], walk[2]; /* publishing: the vCPU's, the host's, the builder's; walking: harvest's, builder's */

#define take atomic { !lock -> lock = 1 }
#define drop lock = 0
#define section(w) e = epoch; w = e; e = 0
#define passed(w) (w == 0 || w >= tag)

active proctype vcpu() {
	byte e, n, s;

	do
	:: n < FAULTS ->
		n++;
		section(word[0]);
		s = slot;
#ifdef TWO_SECTIONS
		word[0] = 0;
		section(word[0]);
#endif
		if
		:: s == THERE ->
			take;
			if
			:: !dying ->
				assert(!freed); /* the chain's head, the bitmap */
				spte = 1;
				entry = 1
			:: else /* RETRY */
			fi;
			drop
		:: else
		fi;
		word[0] = 0;
		s = 0
	:: atomic { spte && !tlb -> tlb = 1 }
	:: atomic { tlb -> assert(!freed) }
	:: break
	od
}

#ifdef STORE
active proctype host_store() {
	byte e, s;

again:	section(word[1]);
	s = slot;
	if
	:: s == THERE ->
		assert(!freed); /* data, dirty bit */
		word[1] = 0
	:: s == MOVING ->
		word[1] = 0;
#ifdef ABSENT
		assert(0) /* dropped, though for the guest the memory was there all the time */
#else
		slot != MOVING; /* RETRY, outside the section */
		goto again
#endif
	:: else -> word[1] = 0 /* no memory there: the store goes nowhere, rightly */
	fi
}
#endif

#ifdef HARVEST
active proctype harvest() {
	byte e, s;

	section(walk[0]);
#ifdef NO_REF
	s = slot;
#else
	atomic { s = slot; if :: s == THERE -> refs++ :: else fi };
#endif
	if
	:: s == THERE && entry -> assert(!freed) /* walks the chain */
	:: else
	fi;
	walk[0] = 0;
	/* flush and acknowledgements, then the copy, outside sections */
	if
	:: s == THERE ->
		assert(!freed);
#ifndef NO_REF
		atomic { refs-- }
#endif
	:: else
	fi
}
#endif

#ifdef BUILD
active proctype builder() {
	byte e, s, again;

	section(word[2]);
	take;
	s = slot;
	if
	:: s == THERE -> building = 1
	:: else
	fi;
	drop;
	word[2] = 0;
	if
	:: s == THERE -> /* protect, flush */
		section(walk[1]);
#ifdef STALE_BUILDER
		skip;
#else
		s = slot;
#endif
		if
		:: s == THERE -> assert(!freed) /* LIVE; reads its gptes */
		:: else
		fi;
		walk[1] = 0;
		building = 0
	:: else
	fi
}
#endif

#ifdef KILL
active proctype killer() {
	take;
	dying = 1;
	drop;
	take;
	if
	:: spte -> assert(!freed); spte = 0; entry = 0 /* the owner of the frame; the chain */
	:: else
	fi;
	drop;
	tlb = 0; /* the burial's flush */
	dying = 0
}
#endif

inline zap() {
	take;
	if
	:: !dying -> spte = 0; entry = 0
	:: else
	fi;
	drop
}

inline grace(both) {
	atomic { epoch++; tag = epoch };
	passed(word[0]);
	passed(word[1]);
	passed(word[2]);
	if
	:: both -> passed(walk[0]); passed(walk[1])
	:: else
	fi;
	tag = 0
}

active proctype remover() {
	byte tag;

#ifdef ZAP_FIRST
	zap();
#endif
	take;
	if
	:: slot = GONE
	:: slot = MOVING
	fi;
	drop;
#ifndef ONE_GRACE
	grace(0);
#endif
#ifndef ZAP_FIRST
	zap();
#endif
#ifndef NO_DYING
	!dying;
#endif
#ifndef NO_FLUSH
	tlb = 0;
#endif
#ifndef NO_SECOND
#ifdef ONE_KIND
	grace(0);
#else
	grace(1);
#endif
#endif
#ifndef NO_BUILDER
	!building;
#endif
	refs == 0;
	atomic { freed = 1; assert(!spte && !entry) };
	if
	:: slot == MOVING -> atomic { freed = 0; slot = THERE } /* other frames, all dirty */
	:: else
	fi
}
