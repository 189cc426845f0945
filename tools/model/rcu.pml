/* SPDX-License-Identifier: MIT */
/* Grace periods and retirement: rcu.h:rcu_read_lock, rcu_read_unlock; rcu.c:rcu_tag, rcu_passed, rcu_wait.
 *
 * Modelled: two CPUs that read, each in a nested pair of sections, one as a publisher, one as a walker; a CPU that
 * unlinks an object, takes its tag, and whoever frees it judges the tag; a third CPU that advances the epoch for
 * reasons of its own. A store buffer for the plain store that unlinks. Readers store their word by a locked RMW (no
 * buffer; -DPLAIN_WORD has one). The end of a section is a plain store: modelled at once, for what it delays is only
 * the free.
 * Bounds: two sections for each reader, one object, two advances beside it.
 * Property: nobody uses the object after it was freed. -DWAIT: rcu_wait(RCU_MASK_PUBLISH) by a harvest: the effect of
 * every publishing section that was open is there afterwards; walkers are not waited for.
 *
 *  run: as built | ok | | quick
 *  run: epoch read, not advanced by RMW | wrong | -DPLAIN_TAG | quick
 *  run: tag taken before the unlink | wrong | -DTAG_FIRST
 *  run: tag is the epoch before advancing | wrong | -DOLD_TAG
 *  run: reader's word by a plain store | wrong | -DPLAIN_WORD
 *  run: inner unlock ends the section | wrong | -DNO_NEST | quick
 *  run: free waits for publishers only | wrong | -DONE_KIND
 *  run: harvest waits for publishers | ok | -DWAIT
 *  run: harvest waits for walkers only | wrong | -DWAIT -DWRONG_KIND
 */
#define PUBLISH 0
#define WALK 1

byte epoch = 1;
byte word[2];      /* reader 0 is a publisher, reader 1 a walker: one word of each kind matters */
byte pend_word[2]; /* -DPLAIN_WORD: still in that CPU's store buffer, +1; 0: empty */
bit linked = 1, pend_unlink = 0, freed = 0;
bit open_w = 0, effect = 0; /* -DWAIT: what the publisher's section does in two steps */

#define drain_word(i) if :: pend_word[i] -> word[i] = pend_word[i] - 1; pend_word[i] = 0 :: else fi
#define drain_unlink if :: pend_unlink -> linked = 0; pend_unlink = 0 :: else fi

inline read_lock(i) {
	if
	:: nest == 0 ->
		e = epoch;
#ifdef PLAIN_WORD
		atomic { drain_word(i); pend_word[i] = e + 1 };
#else
		word[i] = e;
#endif
	:: else
	fi;
	nest++
}

inline read_unlock(i) {
	nest--;
	if
#ifdef NO_NEST
	:: true ->
#else
	:: nest == 0 ->
#endif
		atomic { drain_word(i); word[i] = 0 }
	:: else
	fi
}

proctype reader(byte i) {
	byte e, nest = 0, n = 0;
	bit p;

	do
	:: n < 2 ->
		n++;
		read_lock(i);
		p = linked;
		if
		:: p -> /* a nested section, as a walk inside a fault has them */
			read_lock(i);
			assert(!freed);
			read_unlock(i);
			assert(!freed)
		:: else
		fi;
#ifdef WAIT
		if
		:: i == PUBLISH && n == 1 -> open_w = 1; effect = 1
		:: else
		fi;
#endif
		read_unlock(i);
		p = 0
	:: n == 2 -> break
	od
}

proctype buffers() {
end:	do
	:: atomic { pend_unlink -> drain_unlink }
	:: atomic { pend_word[0] -> drain_word(0) }
	:: atomic { pend_word[1] -> drain_word(1) }
	od
}

#define passed(i, t) (word[i] == 0 || word[i] >= t)

proctype updater() {
	byte tag, e;

#ifdef TAG_FIRST
	atomic { epoch++; tag = epoch };
	pend_unlink = 1;
	atomic { drain_unlink };
#else
	pend_unlink = 1;
#ifdef PLAIN_TAG
	e = epoch;
	tag = e + 1;
	epoch = e + 1; /* early, which favours the variant */
#else
#ifdef OLD_TAG
	atomic { drain_unlink; tag = epoch; epoch++ };
#else
	atomic { drain_unlink; epoch++; tag = epoch }; /* locked RMW: drains */
#endif
#endif
#endif
	passed(PUBLISH, tag);
#ifndef ONE_KIND
	passed(WALK, tag);
#endif
	freed = 1
}

#ifdef WAIT
proctype harvest() {
	byte tag;
	bit begun;

	atomic { begun = open_w; epoch++; tag = epoch };
#ifdef WRONG_KIND
	passed(WALK, tag);
#else
	passed(PUBLISH, tag);
#endif
	assert(!begun || effect)
}
#endif

proctype advancer() {
	epoch++; /* an RMW: one step */
	epoch++
}

init {
	atomic {
		run reader(PUBLISH);
		run reader(WALK);
		run buffers();
#ifdef WAIT
		run harvest();
#else
		run updater();
#endif
		run advancer()
	}
}
