/* A guarded value: GuardedWord's read() and commit(): two buffers and a version.
 *
 * Writers change the value COMMITS times each: take the lock, start from the committed value, fill
 * the spare word by word, store the version. Readers copy word by word. One step is one access to
 * shared memory. The value of version v is v in each of its WORDS, so a mixture is seen at once.
 *
 * The lock is lock.pml's matter: who waits gets it in one step, and who dies holding it has given
 * it back.
 *
 * Checked:
 *   - a reader returns a value that was committed, whole, and never an older one after a newer;
 *   - a writer starts from the last committed value, whoever died before it in whatever step.
 *
 * Left out: memory orders (R1 and R2 of guarded_word.hpp: the words and the version are stored and
 * loaded in one order).
 *
 * Readers write nothing: one is as good as several.
 *
 * Bounds (-D): WRITERS, COMMITS, READERS, READS, WORDS, DEATHS. The version does not wrap.
 */

#ifndef WRITERS
#define WRITERS 2
#endif
#ifndef COMMITS
#define COMMITS 2
#endif
#ifndef READERS
#define READERS 1
#endif
#ifndef READS
#define READS 2
#endif
#ifndef WORDS
#define WORDS 2
#endif
#ifndef DEATHS
#define DEATHS 0
#endif

#define MEMBERS (WRITERS + READERS)
#define NOBODY 15
#ifdef ONE_BUFFER
#define BUFFER(version) 0
#else
#define BUFFER(version) ((version) & 1)
#endif
#ifdef ONE_BIT_VERSION
#define SAME(one, other) (((one) & 1) == ((other) & 1))
#else
#define SAME(one, other) ((one) == (other))
#endif

byte version;
byte buffers[2 * WORDS];
byte lock = NOBODY;
byte deaths;
byte through; /* ghost */

mtype = { w_lock, w_read, w_fill, w_commit, w_unlock, r_begin, r_copy, r_check, done };

#define STEP(label) d_step { pc == label ->

proctype Member(byte number) {
    mtype pc;
    byte turn;
    byte seen;
    byte at;
    byte copy[WORDS];
    byte last; /* ghost: the newest that this reader has returned */

    d_step {
        turn = (number < WRITERS -> COMMITS : READS);
        pc = (number < WRITERS -> w_lock : r_begin)
    }
end:
    do
    :: d_step { /* killed */
        deaths < DEATHS && pc != done ->
        deaths++;
        if
        :: lock == number -> lock = NOBODY
        :: else
        fi;
        pc = done
    }
    :: d_step { pc == done -> turn = 0; seen = 0; last = 0; pc = 0; through++ } -> break

    /* ------------------------------------------------------------------ a writer */
    :: d_step {
        pc == w_lock && lock == NOBODY ->
        lock = number;
        at = 0;
        pc = w_read
    }
    :: STEP(w_read) /* nobody else writes: no step a word */
        seen = version;
        assert(buffers[BUFFER(seen) * WORDS] == seen);
        assert(buffers[BUFFER(seen) * WORDS + WORDS - 1] == seen);
#ifdef COMMIT_BEFORE_FILL
        pc = w_commit
#else
        pc = w_fill
#endif
    }
    :: STEP(w_fill)
        buffers[BUFFER(seen + 1) * WORDS + at] = seen + 1;
        at++;
        if
        :: at < WORDS
        :: else ->
            at = 0;
#ifdef COMMIT_BEFORE_FILL
            pc = w_unlock
#else
            pc = w_commit
#endif
        fi
    }
    :: STEP(w_commit)
        assert(version == seen);
        version = seen + 1;
#ifdef COMMIT_BEFORE_FILL
        pc = w_fill
#else
        pc = w_unlock
#endif
    }
    :: STEP(w_unlock)
        lock = NOBODY;
        seen = 0;
        turn--;
        pc = (turn > 0 -> w_lock : done)
    }

    /* ------------------------------------------------------------------ a reader */
    :: STEP(r_begin)
        seen = version;
        pc = r_copy
    }
    :: STEP(r_copy)
        copy[at] = buffers[BUFFER(seen) * WORDS + at];
        at++;
        if
        :: at < WORDS
        :: else -> at = 0; pc = r_check
        fi
    }
    :: STEP(r_check)
#ifdef NO_CHECK
        if
        :: true ->
#else
        if
        :: SAME(version, seen) ->
#endif
            do
            :: at < WORDS -> assert(copy[at] == seen); copy[at] = 0; at++
            :: else -> at = 0; break
            od;
            assert(seen >= last);
            last = seen;
            seen = 0;
            turn--;
            pc = (turn > 0 -> r_begin : done)
        :: else -> pc = r_begin
        fi
    }
    od
}

init {
    byte k;
    atomic {
        do
        :: k < MEMBERS -> run Member(k); k++
        :: else -> break
        od;
        k = 0
    }
    atomic {
        timeout ->
        assert(through == MEMBERS)
    }
}
