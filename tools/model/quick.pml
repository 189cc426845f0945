/* SPDX-License-Identifier: MIT */
/* The quick path of a fault, which takes no lock of the guest's: fault.c:repair, quick, quick_install; leaf.c:leaf_add;
 * shadow.c:shadow_new, shadow_kill, dismantle, shadow_bury; slot.c:slot_table_add; sync.c:sync_build; reread.c:read_leaves,
 * invlpg_quick; leaf.c:leaf_widen.
 *
 * Modelled: a level-1 table T over one gpte, a link that leads to it, T's lock and state; T's memory may become another table.
 * The frame F that the gpte maps: its chain's lock and entry, and whether it is a page table. A vCPU whose fault may be
 * repaired by adding the leaf; flows under mmu.lock, each at most once, in any order (mmu.lock makes them one process): T is
 * killed, buried, freed and reused; F becomes a page table; an INVLPG reads the gpte again. The guest changes the gpte before
 * that. And a leaf of F for reading in another table, which nothing happens to: a vCPU's INVLPG makes it writable under that
 * table's lock.
 * Bounds: one fault, one kill, one build, one INVLPG under mmu.lock and one without.
 * Properties: a leaf is put only into the table that the link led to; a table begins its next life empty; once the shadow of
 * F counts as in step nothing maps F for writing; after the INVLPG no leaf older than the gpte stands.
 *
 *  run: as built | ok | | quick
 *  run: the generation is not looked at | wrong | -DNO_GENERATION | quick
 *  run: a dying table is filled | wrong | -DREFILL | quick
 *  run: the next life begins without the table's lock | wrong | -DREUSE_UNLOCKED
 *  run: taken apart without the table's lock | wrong | -DDISMANTLE_UNLOCKED
 *  run: freed before the flush | wrong | -DFREE_FIRST
 *  run: the count is read before the chain's lock is taken | wrong | -DCOUNT_EARLY | quick
 *  run: the count is raised without the chain's lock | wrong | -DRAISE_UNLOCKED
 *  run: an INVLPG opens without the chain's lock | wrong | -DWIDEN_UNLOCKED | quick
 *  run: gptes are read again without the table's lock | wrong | -DREAD_UNLOCKED | quick
 */
bit link = 1, alive = 1, table_lock, chain_lock;
bit other;              /* T has become another table */
bit count;              /* F is shadowed as a page table */
bit alias;              /* the leaf of the other table is writable */
bit entry, protected, in_step; /* protected: the walk of F's chain found the leaf */
byte generation;
byte gpte = 1, spte;    /* versions; 0: empty */
bit told;               /* the INVLPG is over */

#define table_take atomic { !table_lock -> table_lock = 1 }
#define table_drop table_lock = 0
#define chain_take atomic { !chain_lock -> chain_lock = 1 }
#define chain_drop chain_lock = 0

active proctype vcpu() {
	byte g, read;
	bit seen_count;

	g = generation;
	if
	:: link
	:: !link -> goto out
	fi;
	table_take;
#ifndef NO_GENERATION
	if
	:: generation == g
	:: else -> goto drop
	fi;
#endif
#ifndef REFILL
	if
	:: alive
	:: else -> goto drop
	fi;
#endif
	read = gpte;
	if
	:: spte -> goto drop
	:: !spte
	fi;
#ifdef COUNT_EARLY
	seen_count = count;
#endif
	chain_take;
#ifndef COUNT_EARLY
	seen_count = count;
#endif
	if
	:: !seen_count ->
		assert(!other);
		spte = read;
		entry = 1
	:: else
	fi;
	chain_drop;
drop:
	table_drop;
out:
	skip
}

inline bury() {
	alive = 0;
	link = 0;
#ifndef DISMANTLE_UNLOCKED
	table_take;
#endif
	if
	:: spte -> spte = 0; chain_take; entry = 0; chain_drop
	:: else
	fi;
#ifndef DISMANTLE_UNLOCKED
	table_drop;
#endif
#ifndef FREE_FIRST
	generation++;
#endif
#ifndef REUSE_UNLOCKED
	table_take;
#endif
	assert(spte == 0 && !entry);
	other = 1;
	alive = 1;
#ifndef REUSE_UNLOCKED
	table_drop;
#endif
#ifdef FREE_FIRST
	generation++
#endif
}

inline build() {
#ifdef RAISE_UNLOCKED
	count = 1;
#else
	chain_take;
	count = 1;
	chain_drop;
#endif
	protected = entry; /* the walk of F's chain, and the flush */
	alias = 0;
	in_step = 1
}

inline invlpg() {
#ifndef READ_UNLOCKED
	table_take;
#endif
	if
	:: spte && spte != gpte -> spte = 0; chain_take; entry = 0; chain_drop
	:: else
	fi;
#ifndef READ_UNLOCKED
	table_drop;
#endif
	told = 1
}

active proctype widen() {
	bit seen_count;

#ifndef WIDEN_UNLOCKED
	chain_take;
#endif
	seen_count = count;
	if
	:: !seen_count -> alias = 1
	:: else /* left to an INVLPG under mmu.lock */
	fi;
#ifndef WIDEN_UNLOCKED
	chain_drop
#endif
}

active proctype others() {
	bit buried, built, done;

	do
	:: !buried -> buried = 1; bury()
	:: !built -> built = 1; build()
	:: !done -> done = 1; gpte = 2; invlpg()
	:: break
	od
}

/* What the walk did not find is not there, and does not come; what is older than the gpte is gone. */
active proctype observer() {
	do
	:: atomic { in_step && entry && !protected -> assert(false) }
	:: atomic { in_step && alias -> assert(false) }
	:: atomic { told && !other && spte == 1 -> assert(false) }
	:: break
	od
}
