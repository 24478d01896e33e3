/* An event: EventWord's set(), clear(), begin() and has_come(), and EventCore::wait() around them.
 *
 * Setters set the event and clear it at once, SETS times each; waiters wait WAITS times. One step
 * is one access to shared memory or one system call. The steps mirror:
 *
 *   s_...  set(): the exchange, has_sleepers(), wake_all(); clear()
 *   w_...  wait(): is_set(), begin(), wait_until() with has_come()
 *
 * The eventcount is as in semaphore.pml: who has announced himself and not been notified since, and
 * who is asleep.
 *
 * Checked:
 *   - who waits is not overlooked: when nothing can happen any more, the event has not been set
 *     since any sleeper began to wait. A chunk of a sleep ends only once somebody has died: without
 *     deaths nothing makes up for a lost wake-up;
 *   - nobody returns though the event was clear when he began and has not been set since.
 *
 * Left out: memory orders (why set() writes though the event is set is one), spinning.
 *
 * Bounds (-D): SETTERS, SETS, WAITERS, WAITS, DEATHS, LEAVERS waits that end at their deadline,
 * STAY the last set of each setter is not followed by a clear(). The count of sets does not wrap.
 */

#ifndef SETTERS
#define SETTERS 1
#endif
#ifndef SETS
#define SETS 2
#endif
#ifndef WAITERS
#define WAITERS 2
#endif
#ifndef WAITS
#define WAITS 2
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef LEAVERS
#define LEAVERS 0
#endif

#define MEMBERS (SETTERS + WAITERS)
#define BIT(number) (1 << (number))
#define HAS(set, number) (((set) >> (number)) & 1)

/* the word, taken apart, changed in one step */
byte sets;
bool is_set;

short announced;      /* a bit a member, as all sets: Ticket's value is still the word's */
short asleep;
short stale;          /* something has changed since it last looked */
byte come;            /* ghost: how often it became set */
byte began[MEMBERS];  /* ghost: `come` when it found the event clear */
byte deaths;
byte leavers;

mtype = {
    s_set, s_sleepers, s_wake, s_clear,
    w_fast, w_begin, w_look, w_announce, w_sleep, w_asleep,
    done
};

#if DEATHS > 0
#define CHANGED stale = BIT(MEMBERS) - 1
#else
#define CHANGED skip
#endif
#define STEP(label) d_step { pc == label ->
#ifdef ONE_BIT_COUNT
#define RAISED ((sets + 1) & 1)
#else
#define RAISED (sets + 1)
#endif

inline finish_wait() {
    announced = announced & ~BIT(number);
    seen = 0;
    phase = 0;
    turn--;
    pc = (turn > 0 -> w_fast : done)
}

proctype Member(byte number) {
    mtype pc;
    byte turn;
    byte seen;   /* the count of sets when it began */
    byte phase;  /* 0: the first look; 1: announced; 2: slept; 3: the deadline has passed */

    d_step {
        if
        :: number < SETTERS -> turn = SETS;
#ifdef WAKE_BEFORE_SET
            pc = s_sleepers
#else
            pc = s_set
#endif
        :: else -> turn = WAITS; pc = w_fast
        fi
    }
end:
    do
    :: d_step { /* killed */
        deaths < DEATHS && pc != done ->
        deaths++;
        asleep = asleep & ~BIT(number);
        announced = announced & ~BIT(number);
        CHANGED;
        pc = done
    }
    :: d_step {
        pc == done ->
        turn = 0; seen = 0; phase = 0; pc = 0; began[number] = 0
    } -> break

    /* ------------------------------------------------------------------ set() and clear() */
    :: STEP(s_set)
        if
        :: !is_set ->
            is_set = 1;
            come++;
#ifndef NO_COUNT
            sets = RAISED;
#endif
            CHANGED
        :: else
        fi;
#ifdef WAKE_BEFORE_SET
        pc = s_clear
#else
        pc = s_sleepers
#endif
    }
    :: STEP(s_sleepers)
#ifdef WAKE_BEFORE_SET
        pc = ((announced | asleep) != 0 -> s_wake : s_set)
#else
        pc = ((announced | asleep) != 0 -> s_wake : s_clear)
#endif
    }
    :: atomic { /* wake_all() */
        pc == s_wake ->
        announced = 0;
#ifdef WAKE_ONE
        if
        :: HAS(asleep, SETTERS) -> asleep = asleep & ~BIT(SETTERS)
        :: HAS(asleep, MEMBERS - 1) -> asleep = asleep & ~BIT(MEMBERS - 1)
        :: asleep == 0
        fi;
#else
        asleep = 0;
#endif
#ifdef WAKE_BEFORE_SET
        pc = s_set
#else
        pc = s_clear
#endif
    }
    :: STEP(s_clear)
        turn--;
#ifdef STAY
        if
        :: turn > 0 -> is_set = 0
        :: else
        fi;
#else
        is_set = 0;
#endif
#ifdef CLEAR_COUNTS
        sets = RAISED;
#endif
        CHANGED;
#ifdef WAKE_BEFORE_SET
        pc = (turn > 0 -> s_sleepers : done)
#else
        pc = (turn > 0 -> s_set : done)
#endif
    }

    /* ------------------------------------------------------------------ wait() */
    :: STEP(w_fast)
        began[number] = come;
        if
        :: is_set -> finish_wait()
        :: else -> pc = w_begin
        fi
    }
    :: STEP(w_begin)
        if
        :: is_set -> finish_wait()
        :: else ->
            seen = sets;
            began[number] = come;
            pc = w_look
        fi
    }
    :: STEP(w_look) /* has_come() */
        if
        :: is_set || sets != seen ->
            assert(come != began[number]); /* else it has not come */
            finish_wait()
        :: else ->
            if
            :: phase == 1 -> pc = w_sleep
            :: phase == 3 -> finish_wait()
            :: else -> stale = stale & ~BIT(number); pc = w_announce
            fi
        fi
    }
    :: STEP(w_announce)
        announced = announced | BIT(number);
#ifdef NO_SECOND_LOOK
        pc = w_sleep
#else
        phase = 1;
        pc = w_look
#endif
    }
    :: STEP(w_sleep) /* compares and queues in one step */
        phase = 2;
        if
        :: HAS(announced, number) -> asleep = asleep | BIT(number); pc = w_asleep
        :: else -> pc = w_look
        fi;
        announced = announced & ~BIT(number)
    }
    :: d_step { /* woken */
        pc == w_asleep && !HAS(asleep, number) -> pc = w_look
    }
    :: d_step { /* a chunk has ended */
        pc == w_asleep && HAS(asleep, number) && deaths > 0 && HAS(stale, number) ->
        asleep = asleep & ~BIT(number);
        pc = w_look
    }
    :: d_step { /* the deadline has passed: one more look */
        pc == w_asleep && leavers < LEAVERS ->
        leavers++;
        asleep = asleep & ~BIT(number);
        phase = 3;
        pc = w_look
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
        timeout -> /* nothing can happen any more */
        do
        :: k < MEMBERS -> assert(!HAS(asleep, k) || come == began[k]); k++
        :: else -> break
        od
    }
}
