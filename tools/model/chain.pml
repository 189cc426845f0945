/* SPDX-License-Identifier: MIT */
/* The rmap chain: chain_walk.h:chain_walk beside chain.c:chain_add, chain_grow, chain_remove, chain_unlink.
 *
 * Modelled: chains A and B; a writer who adds and removes at will (C1 to C5 of chain.c, a step for each store that a
 * reader can see); a reader of A; the slab, which hands a freed descriptor out again at once, to either chain. Heads
 * are 0, a single entry or a descriptor. A hole is filled before a descriptor is added; of several holes any is taken.
 * Store buffers change nothing here: one writer's stores become visible in their order, and the reader stores nothing.
 * Entries: 1 stays in A all the time; 2 and 3 come and go in A and B.
 * Bounds: descriptors of two slots, ND of them, STEPS calls of the writer, four ways to begin.
 * Properties: a walk that is not given up has visited entry 1; a walk visits no more than BOUND entries and
 * descriptors; a chain that nobody changed is not given up; what the head names as a single entry is one.
 *
 *  run: as built, 3 descriptors | ok | -DSTEPS=6 | big
 *  run: as built, 2 descriptors | ok | -DND=2 -DSTEPS=6 | quick
 *  run: as built, single entries | ok | -DSINGLE -DND=2 -DSTEPS=6 | quick
 *  run: end marker names no chain | wrong | -DPLAIN_END | quick
 *  run: new descriptor at the tail | wrong | -DTAIL -DSTEPS=6
 *  run: entries move on removal | wrong | -DCOMPACT | quick
 *  run: the head loaded twice | wrong | -DSINGLE -DTWICE | quick
 *  run: descriptor back to single entry | wrong | -DSINGLE -DCOLLAPSE -DND=2
 *  run: linked before it is whole | wrong | -DSINGLE -DHEAD_FIRST
 *  run: unlinked with an entry left | wrong | -DEARLY
 *  run: bound counts restarts only | wrong | -DROUND -DRESTARTS_ONLY
 *  run: bound counts entries, as built | ok | -DROUND
 *  run: next before slots (no harm) | ok | -DNEXT_FIRST | big
 * The last: with nothing ever moved (C1, C5) the order of slots and next is not what keeps entry 1 from being missed.
 */
#ifndef ND
#define ND 3
#endif
#ifndef STEPS
#define STEPS 5
#endif
/* In the code 2 x length + 64, out of reach of so few steps. */
#ifdef ROUND
#define BOUND 7
#else
#define BOUND 9
#endif

/* Words: 0; an entry 1 to 3; a descriptor MANY + 1 to MANY + ND; FREE; the markers of A and B. */
#define MANY 10
#define FREE 20
#define MARK 30
#ifdef PLAIN_END
#define marker(c) MARK
#else
#define marker(c) (MARK + c)
#endif
#define is_desc(x) (x > MANY && x <= MANY + ND)
#define is_end(x) (x >= MARK)
#define S(d, i) slot[2 * (d - MANY) + i]
#define N(d) next[d - MANY]

byte head[2], next[ND + 1], slot[2 * (ND + 1)];
byte free[ND], frees; /* last in, first out */
byte steps;

/* d: a descriptor of chain c with a hole, any one; 0 when there is none */
inline find_hole(c) {
	d = (is_desc(head[c]) -> head[c] : 0);
	do
	:: d && S(d, 0) && S(d, 1) -> d = (is_desc(N(d)) -> N(d) : 0)
	:: d && !(S(d, 0) && S(d, 1)) -> break
	:: d && !(S(d, 0) && S(d, 1)) && is_desc(N(d)) && (!S(N(d), 0) || !S(N(d), 1)) -> d = N(d); break
	:: !d -> break
	od
}

inline add(c, v) {
	atomic { find_hole(c) };
	if
	:: d && !S(d, 0) -> S(d, 0) = v
	:: d && S(d, 0) -> S(d, 1) = v
	:: !d && !head[c] -> head[c] = v
	:: !d && head[c] && frees ->
		d_step { frees--; n = free[frees]; free[frees] = 0 };
#ifdef HEAD_FIRST
		d_step { h = head[c]; N(n) = (is_desc(h) -> h : marker(c)); head[c] = n };
		if
		:: !is_desc(h) -> S(n, 0) = h; S(n, 1) = v
		:: else -> S(n, 0) = v
		fi
#else
		if
		:: !is_desc(head[c]) -> S(n, 0) = head[c]; S(n, 1) = v
		:: else -> S(n, 0) = v
		fi;
#ifdef TAIL
		if
		:: is_desc(head[c]) ->
			N(n) = marker(c);
			d_step { d = head[c]; do :: is_desc(N(d)) -> d = N(d) :: else -> break od };
			N(d) = n
		:: else -> N(n) = marker(c); head[c] = n
		fi
#else
		N(n) = (is_desc(head[c]) -> head[c] : marker(c));
		head[c] = n
#endif
#endif
	:: else /* no descriptor in reserve: the caller comes again */
	fi;
	d_step { d = 0; n = 0; h = 0 }
}

inline give_back(c) {
	if
	:: p -> N(p) = N(d)
	:: else -> head[c] = (is_desc(N(d)) -> N(d) : 0)
	fi;
	N(d) = FREE;
	d_step { free[frees] = d; frees++ }
}

#define temporary(x) (x == 2 || x == 3)

inline remove(c) {
	d_step { d = (is_desc(head[c]) -> head[c] : 0); p = 0; n = 0 };
	if
	:: !d -> /* a single entry */
		if
		:: temporary(head[c]) -> head[c] = 0
		:: else
		fi
	:: else ->
		atomic { /* choose */
			do
			:: temporary(S(d, 0)) -> n = 1; break
			:: temporary(S(d, 1)) -> n = 2; break
			:: is_desc(N(d)) -> p = d; d = N(d)
			:: !is_desc(N(d)) -> break
			od
		};
		if
		:: n ->
#ifdef EARLY
			S(d, n - 1) = 0;
			give_back(c)
#else
#ifdef COMPACT
			if
			:: n == 1 && S(d, 1) -> S(d, 0) = S(d, 1); S(d, 1) = 0
			:: else -> S(d, n - 1) = 0
			fi;
#else
			S(d, n - 1) = 0;
#endif
			if
			:: !S(d, 0) && !S(d, 1) -> give_back(c)
#ifdef COLLAPSE
			:: !p && !is_desc(N(d)) && (!S(d, 0) != !S(d, 1)) ->
				head[c] = S(d, 0) + S(d, 1);
				N(d) = FREE;
				S(d, 0) = 0;
				S(d, 1) = 0;
				d_step { free[frees] = d; frees++ }
#endif
			:: else
			fi
#endif
		:: else
		fi
	fi;
	d_step { d = 0; p = 0; n = 0 }
}

proctype writer() {
	byte d, p, n, h;

	do
	:: steps < STEPS -> steps++; add(0, 2)
	:: steps < STEPS -> steps++; remove(0)
#ifndef ROUND
	:: steps < STEPS -> steps++; add(1, 3)
	:: steps < STEPS -> steps++; remove(1)
#endif
	:: break
	od
}

inline visit(v) {
	if
	:: v -> visits++; if :: v == 1 -> seen = 1 :: else fi
	:: else
	fi;
	v = 0
}

proctype reader() {
	byte at, v, visits, descs, tries;
	bit seen;

	at = head[0];
#ifdef TWICE
	if
	:: is_desc(at) -> at = head[0]
	:: else -> at = head[0]; assert(!is_desc(at)) /* taken for an spte */
	fi;
#endif
	do
	:: is_desc(at) ->
		descs++;
#ifndef RESTARTS_ONLY
		if
		:: descs > BOUND -> goto give_up
		:: else
		fi;
#endif
#ifdef NEXT_FIRST
		tries = N(at);
#endif
		v = S(at, 0); visit(v);
		v = S(at, 1); visit(v);
#ifdef RESTARTS_ONLY
		assert(visits <= BOUND + 1);
#else
		if
		:: visits > BOUND -> goto give_up
		:: else
		fi;
#endif
#ifdef NEXT_FIRST
		at = tries; tries = 0;
#else
		at = N(at);
#endif
		if
		:: at == marker(0) -> goto out
		:: at == FREE || (is_end(at) && at != marker(0)) -> seen = 0; at = head[0]
		:: else
		fi
	:: else -> break
	od;
	visit(at);
out:	assert(seen);
	goto done;
give_up:
	assert(steps);
done:	skip
}

init {
	atomic {
		free[0] = MANY + ND; frees = 1; N(MANY + ND) = FREE;
		if
#ifdef SINGLE
		:: head[0] = 1;
			N(MANY + 1) = FREE; free[1] = MANY + 1; frees = 2;
#if ND == 3
			N(MANY + 2) = FREE; free[2] = MANY + 2; frees = 3
#endif
		:: head[0] = MANY + 1; N(MANY + 1) = marker(0); S(MANY + 1, 0) = 2; S(MANY + 1, 1) = 1
#else
#ifdef ROUND
		:: head[0] = MANY + 1; N(MANY + 1) = MANY + 2; N(MANY + 2) = MANY + 3; N(MANY + 3) = marker(0); frees = 0;
			S(MANY + 1, 0) = 2; S(MANY + 1, 1) = 2; S(MANY + 2, 0) = 2; S(MANY + 2, 1) = 2;
			S(MANY + 3, 0) = 1; S(MANY + 3, 1) = 2
#else
#if ND == 3
		:: head[0] = MANY + 1; N(MANY + 1) = MANY + 2; N(MANY + 2) = marker(0);
			S(MANY + 1, 0) = 2; S(MANY + 2, 0) = 1
		:: head[0] = MANY + 1; N(MANY + 1) = MANY + 2; N(MANY + 2) = marker(0);
			S(MANY + 1, 0) = 2; S(MANY + 1, 1) = 2; S(MANY + 2, 0) = 2; S(MANY + 2, 1) = 1
		:: head[0] = MANY + 2; N(MANY + 2) = marker(0); S(MANY + 2, 0) = 2; S(MANY + 2, 1) = 1;
			N(MANY + 1) = FREE; free[1] = MANY + 1; frees = 2
#else
		:: head[0] = MANY + 1; N(MANY + 1) = marker(0); S(MANY + 1, 0) = 2; S(MANY + 1, 1) = 1
		:: head[0] = MANY + 1; N(MANY + 1) = marker(0); S(MANY + 1, 0) = 1; S(MANY + 1, 1) = 2
#endif
#endif
#endif
		fi;
		run writer();
		run reader()
	}
}
