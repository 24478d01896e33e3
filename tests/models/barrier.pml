/* A barrier: BarrierWord's attach(), arrive(), look(), give_up(), abort(), reset(), stuck(),
 * sweep(), and BarrierCore::wait() around them.
 *
 * Parties attach and meet WAITS times; others come at any time to abort or to reset. One step is
 * one access to shared memory or one system call. The steps mirror:
 *
 *   b_...  attach(): the dead first, then the own place
 *   w_...  wait(): arrive(), wait_until() with look(), give_up()
 *   k_...  stuck(), and rescue() of all: whose are the places, is he dead
 *   s_...  a rescue: sweep(), then the id is free
 *   n_...  notify_all(), after every end of a generation
 *   m_...  abort(); reset(): the dead first
 *
 * The eventcount is as in semaphore.pml: who has announced himself and not been notified since, and
 * who is asleep.
 *
 * Checked:
 *   - nobody passes before all came: who is told "opened", however late he looks, was one of
 *     PARTIES arrivals in his generation; who is told "broken" was in one that broke, or that is
 *     forgotten;
 *   - a death breaks what waits: when nothing can happen any more, nobody sleeps in a generation
 *     that has ended, nor beside a dead party. A chunk of a sleep ends only once somebody has died;
 *   - no death breaks the barrier for those who came after it, nor after a reset() that it was
 *     before.
 *
 * Left out: memory orders, spinning, bells (they spare a chunk).
 *
 * Bounds (-D): THREADS that wait, PARTIES, WAITS each, ABORTS and RESETS by one more each, LATE the
 * last thread begins when somebody has died, LEAVES a thread may end in good order after any wait,
 * DEATHS, LEAVERS waits that end at their deadline, ENDINGS generations are remembered. Ids are not
 * given to newcomers: what a free id says is that nobody is there, and a place that is taken says
 * whose it is by the tenant's tag.
 */

#ifndef THREADS
#define THREADS 2
#endif
#ifndef PARTIES
#define PARTIES 2
#endif
#ifndef WAITS
#define WAITS 2
#endif
#ifndef ABORTS
#define ABORTS 0
#endif
#ifndef RESETS
#define RESETS 0
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef LEAVERS
#define LEAVERS 0
#endif
#ifndef ENDINGS
#define ENDINGS 3
#endif

#define BREAKER THREADS
#define RESETTER (THREADS + 1)
#define MEMBERS (THREADS + 2)
#define GENERATIONS 16
#define BIT(number) (1 << (number))
#define HAS(set, number) (((set) >> (number)) & 1)

/* The word, taken apart, changed in one step. Whether it is broken never changes within one
 * generation, so a comparison looks at generation and arrivals. */
byte generation;
byte endings; /* a bit each: whether it gave way */
bool broken;
byte arrived;

short attached;  /* a bit a thread, as all sets: its place holds its tag */
short tenants;   /* its id is its own, or was not freed since its death */
short dead;
short announced; /* Ticket's value is still the word's */
short asleep;
short stale;     /* something has changed since it last looked */
byte deaths;
byte leavers;

/* ghosts */
byte came[GENERATIONS];     /* arrivals in a generation */
short gave;                 /* a bit a generation: it gave way */
byte waits_in[THREADS];     /* the generation of its arrival */
byte died_in[THREADS];      /* the generation that went on when it died */
short beside[THREADS];      /* parties alive when it died, all if somebody waited */
bool company[THREADS];      /* when it died somebody waited, or was a party or about to be one */
short forgiven;             /* dead before a reset() that is over */
short coming;               /* who began to attach, and is alive and has not left */

mtype = {
    j_join, b_attach,
    w_read, w_arrive, w_look, a_announce, a_sleep, a_asleep, w_give_read, w_give_up, w_leave,
    k_cell, s_read, s_party, s_beside, s_still, s_break, s_retire,
    n_look, n_wake,
    m_abort_read, m_abort, m_reset, m_reset_read, m_reset_end, m_forgive,
    done
};

#if DEATHS > 0
#define CHANGED stale = BIT(MEMBERS) - 1
#else
#define CHANGED skip
#endif
#define STEP(label) d_step { pc == label ->
#define IS_PARTY(number) (HAS(attached, number) && HAS(tenants, number))
#define IS_SEEN (generation == seen_generation && arrived == seen_arrived)
#define SEE \
    seen_generation = generation; \
    seen_arrived = arrived; \
    seen_broken = broken
#define FORGET \
    seen_generation = 0; \
    seen_arrived = 0; \
    seen_broken = 0
/* end_generation(): notify_all() is the caller's next step */
#define END_GENERATION(gives_way, breaks) \
    assert(generation < GENERATIONS - 1); \
    gave = gave | ((gives_way) << generation); \
    endings = ((endings << 1) | (gives_way)) & (BIT(ENDINGS) - 1); \
    generation++; \
    broken = breaks; \
    arrived = 0; \
    CHANGED
#define AGO (generation - waits_in[number] - 1)
#ifdef FORGOTTEN_HAD_ALL
#define GAVE_WAY (AGO < ENDINGS && HAS(endings, AGO))
#else
#define GAVE_WAY (AGO < ENDINGS -> HAS(endings, AGO) : endings == BIT(ENDINGS) - 1)
#endif

#ifdef LEAVES
#define FINISHED w_leave
#else
#define FINISHED (turn > 0 -> w_read : done)
#endif

inline finish_wait() {
    announced = announced & ~BIT(number);
    waits_in[number] = 0;
    FORGET;
    phase = 0;
    turn--;
    pc = FINISHED
}

/* stuck() and rescue(): on to the next place, or back. */
inline next_victim() {
    victim++;
    if
    :: victim < THREADS -> pc = k_cell
    :: else -> victim = 0; pc = after_rescue; after_rescue = 0
    fi
}

proctype Member(byte number) {
    mtype pc;
    mtype after_rescue;
    mtype after_notify;
    byte turn;
    byte phase;  /* 0: first look; 1: announced; 2: slept; 3: deadline passed; 4: has given up */
    byte seen_generation;
    byte seen_arrived;
    bool seen_broken;
    byte victim;
    byte other;
    short before; /* ghost: dead when reset() began */

    d_step {
        if
        :: number < THREADS -> turn = WAITS; pc = j_join
        :: number == BREAKER -> turn = ABORTS; pc = (ABORTS > 0 -> m_abort_read : done)
        :: number == RESETTER -> turn = RESETS; pc = (RESETS > 0 -> m_reset : done)
        fi
    }
end:
    do
    :: d_step { /* killed */
        deaths < DEATHS && pc != done && pc != j_join ->
        deaths++;
        if
        :: number < THREADS ->
            dead = dead | BIT(number);
            coming = coming & ~BIT(number);
            company[number] = (arrived > 0 || coming != 0);
            died_in[number] = generation;
            beside[number] =
                (HAS(attached, number) -> (arrived > 0 -> BIT(THREADS) - 1 : attached & coming)
                                        : 0);
            waits_in[number] = 0
        :: else
        fi;
        asleep = asleep & ~BIT(number);
        announced = announced & ~BIT(number);
        CHANGED;
        pc = done
    }
    :: d_step {
        pc == done ->
        turn = 0; phase = 0; FORGET; victim = 0; other = 0; before = 0; pc = 0; after_rescue = 0;
        after_notify = 0
    } -> break

    /* ------------------------------------------------------------------ attach() */
    :: d_step { /* it gets an id */
#ifdef LATE
        pc == j_join && (number < THREADS - 1 || deaths > 0) ->
#else
        pc == j_join ->
#endif
        tenants = tenants | BIT(number);
        coming = coming | BIT(number);
        after_rescue = b_attach;
#ifdef ATTACH_WITHOUT_RESCUE
        pc = b_attach
#else
        pc = k_cell
#endif
    }
    :: STEP(b_attach)
        attached = attached | BIT(number);
        after_rescue = 0;
        CHANGED;
        pc = (turn > 0 -> w_read : FINISHED)
    }

    /* ------------------------------------------------------------------ wait() */
    :: STEP(w_read)
        SEE;
        if
        :: seen_broken -> finish_wait()
        :: else -> pc = w_arrive
        fi
    }
    :: STEP(w_arrive)
        if
        :: IS_SEEN ->
            waits_in[number] = generation;
            came[generation]++;
            FORGET;
            if
            :: arrived + 1 >= PARTIES ->
                assert(came[generation] == PARTIES);
                END_GENERATION(0, 0);
                after_notify = w_look;
#ifdef NO_WAKE_BY_THE_LAST
                pc = w_look
#else
                pc = n_look
#endif
            :: else ->
                arrived++;
                CHANGED;
                pc = w_look
            fi
        :: else ->
            SEE;
            if
            :: seen_broken -> finish_wait()
            :: else
            fi
        fi
    }
    :: STEP(w_look)
        if
        :: generation != waits_in[number] ->
            assert(AGO >= ENDINGS || GAVE_WAY == HAS(gave, waits_in[number]));
            assert(GAVE_WAY || came[waits_in[number]] == PARTIES);
            finish_wait()
        :: else ->
            if
            :: phase == 1 -> pc = a_sleep
            :: phase == 3 -> pc = w_give_read
            :: else ->
                stale = stale & ~BIT(number);
                after_rescue = a_announce;
                pc = k_cell
            fi
        fi
    }
    :: STEP(a_announce)
        announced = announced | BIT(number);
#ifdef NO_SECOND_LOOK
        pc = a_sleep
#else
        phase = 1;
        pc = w_look
#endif
    }
    :: STEP(a_sleep) /* compares and queues in one step */
        phase = 2;
        if
        :: HAS(announced, number) -> asleep = asleep | BIT(number); pc = a_asleep
        :: else -> pc = w_look
        fi;
        announced = announced & ~BIT(number)
    }
    :: d_step { /* woken */
        pc == a_asleep && !HAS(asleep, number) -> pc = w_look
    }
    :: d_step { /* a chunk has ended */
        pc == a_asleep && HAS(asleep, number) && deaths > 0 && HAS(stale, number) ->
        asleep = asleep & ~BIT(number);
        pc = w_look
    }
    :: d_step { /* the deadline has passed: one more look */
        pc == a_asleep && leavers < LEAVERS ->
        leavers++;
        asleep = asleep & ~BIT(number);
        phase = 3;
        pc = w_look
    }
    :: STEP(w_give_read)
        SEE;
        pc = w_give_up
    }
    :: STEP(w_give_up)
        if
#ifdef GIVE_UP_BLINDLY
        :: true ->
#else
        :: seen_generation != waits_in[number] -> FORGET; phase = 4; pc = w_look
        :: seen_generation == waits_in[number] && !IS_SEEN -> SEE
        :: seen_generation == waits_in[number] && IS_SEEN ->
#endif
            assert(generation == waits_in[number]); /* else it breaks what others wait for */
            END_GENERATION(1, 1);
            FORGET;
            phase = 4;
            after_notify = w_look; /* which tells what end_generation() knows */
            pc = n_look
        fi
    }
#ifdef LEAVES
    :: d_step { /* Members::leave() */
        pc == w_leave ->
        tenants = tenants & ~BIT(number);
        coming = coming & ~BIT(number);
        CHANGED;
        pc = done
    }
    :: d_step { pc == w_leave -> pc = (turn > 0 -> w_read : done) }
#endif

    /* ------------------------------------------------------------------ a rescue of `victim` */
    :: STEP(k_cell) /* rescue() of all; stuck() of the parties only */
        if
        :: HAS(dead, victim) && HAS(tenants, victim) && victim != number &&
           (after_rescue != a_announce || HAS(attached, victim)) ->
            pc = s_read
        :: else -> next_victim()
        fi
    }
    :: STEP(s_read)
        SEE;
        after_notify = s_retire;
        pc = (seen_broken -> n_look : s_party)
    }
    :: STEP(s_party)
        other = 0;
        if
        :: !IS_PARTY(victim) -> pc = n_look
        :: IS_PARTY(victim) && seen_arrived != 0 -> pc = s_still
        :: else -> pc = s_beside
        fi
    }
    :: STEP(s_beside) /* has_living_party_beside(), place by place */
        if
        :: other != victim && IS_PARTY(other) && !HAS(dead, other) -> other = 0; pc = s_still
        :: else ->
            other++;
            if
            :: other < THREADS
            :: else -> other = 0; pc = n_look
            fi
        fi
    }
    :: STEP(s_still) /* DeadTenant::is_still_there() */
#ifdef NO_REASK
        pc = s_break
#else
        if
        :: HAS(tenants, victim) -> pc = s_break
        :: else -> after_notify = 0; pc = s_retire
        fi
#endif
    }
    :: STEP(s_break)
        if
#ifdef BREAK_BLINDLY
        :: !broken ->
#else
        :: IS_SEEN ->
#endif
            assert(company[victim]);
            assert(!HAS(forgiven, victim));
            END_GENERATION(1, 1);
            pc = n_look
        :: else ->
            SEE;
            pc = (seen_broken -> n_look : s_party)
        fi
    }
    :: STEP(s_retire)
        tenants = tenants & ~BIT(victim);
        after_notify = 0;
        FORGET;
        CHANGED;
        next_victim()
    }

    /* ------------------------------------------------------------------ notify_all() */
    :: STEP(n_look)
        pc = ((announced | asleep) != 0 -> n_wake : after_notify)
    }
    :: STEP(n_wake)
        announced = 0;
        asleep = 0;
        pc = after_notify
    }

    /* ------------------------------------------------------------------ abort() and reset() */
#if ABORTS > 0
    :: STEP(m_abort_read)
        SEE;
        turn--;
        pc = m_abort
    }
    :: STEP(m_abort)
        after_notify = (turn > 0 -> m_abort_read : done);
        if
        :: seen_broken -> pc = n_look
        :: !seen_broken && IS_SEEN -> END_GENERATION(1, 1); pc = n_look
        :: else -> SEE
        fi
    }
#endif
#if RESETS > 0
    :: STEP(m_reset)
        before = dead;
        turn--;
        after_rescue = m_reset_read;
        pc = k_cell
    }
    :: STEP(m_reset_read)
        SEE;
        pc = m_reset_end
    }
    :: STEP(m_reset_end)
        after_notify = m_forgive;
        if
#ifdef RESET_ONLY_IF_NEEDED
        :: !seen_broken && seen_arrived == 0 -> pc = n_look
        :: (seen_broken || seen_arrived != 0) && IS_SEEN -> END_GENERATION(1, 0); pc = n_look
#else
        :: IS_SEEN -> END_GENERATION(1, 0); pc = n_look
#endif
        :: else -> SEE
        fi
    }
    :: STEP(m_forgive) /* ghost: reset() is over */
        forgiven = forgiven | before;
        before = 0;
        pc = (turn > 0 -> m_reset : done)
    }
#endif
    od
}

init {
    byte k, other;
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
        :: k < THREADS ->
            if
            :: HAS(asleep, k) ->
                assert(generation == waits_in[k] && !broken);
                other = 0;
                do
                :: other < THREADS ->
                    assert(!HAS(dead, other) || died_in[other] != generation ||
                           !HAS(beside[other], k));
                    assert(!HAS(dead, other) || !IS_PARTY(other));
                    other++
                :: else -> break
                od
            :: else
            fi;
            k++
        :: else -> break
        od
    }
}
