/* A semaphore: SemaphoreWord's take(), release(), stuck() and sweep(), and wait_until() around
 * them.
 *
 * Processes take a permit and give it back, TURNS times. One step is one access to shared memory or
 * one system call. The steps mirror:
 *
 *   t_...  take(): the counter; or, OWNED, the permits' words one by one from anywhere
 *   k_...  stuck(): whose are the permits, is he dead
 *   s_...  a rescue: sweep(), permit by permit, notify_all(), then the id is free
 *   a_...  wait_until(): announce(), the second look, futex_wait(), retract()
 *   r_...  release(), wake()
 *
 * The eventcount is waiting.pml's matter. Here it is who has announced himself and not been
 * notified since, and who is asleep: the sleepers' bit is set at least then, and where it is set
 * besides, what comes of it reaches nobody. Raising the word and waking one are one step: where
 * somebody announced in between, the kernel refuses.
 *
 * Checked:
 *   - permits are conserved: counted, those free and those taken are as many as were given; owned,
 *     each is free, or the living's who took it, or the dead's and not looked for yet;
 *   - nobody is robbed: a rescuer that comes late frees no newcomer's permit;
 *   - no wake-up is lost: when nothing can happen any more, nobody sleeps before a permit that is
 *     free or the dead's. A chunk of a sleep ends only once somebody has died: without deaths
 *     nothing makes up for a lost wake-up.
 *
 * Left out: memory orders, spinning, the owners' bells (they spare a chunk).
 *
 * Bounds (-D): PROCESSES, TURNS, PERMITS, OWNED (else counted), GREEDY the first process takes all
 * permits before it gives them back in one call, GIFTS one more process releases so many at once
 * (counted; there are PERMITS - GIFTS at first), KEEP what is taken is never given back, DEATHS,
 * LEAVERS waits, but the first process's, that end at their deadline, NEWCOMER one under the id of
 * a dead one.
 */

#ifndef PROCESSES
#define PROCESSES 2
#endif
#ifndef TURNS
#define TURNS 2
#endif
#ifndef PERMITS
#define PERMITS 1
#endif
#ifndef GIFTS
#define GIFTS 0
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef LEAVERS
#define LEAVERS 0
#endif

#if GIFTS > 0
#define GIVER PROCESSES
#define MEMBERS (PROCESSES + 2)
#else
#define GIVER 15
#define MEMBERS (PROCESSES + 1)
#endif
#define NEW (MEMBERS - 1) /* the newcomer */
#define BIT(number) (1 << (number))
#define HAS(set, number) (((set) >> (number)) & 1)
#define NOBODY 15

byte value = PERMITS - GIFTS; /* counted */
byte taken, given;            /* ghost */
byte owner[PERMITS] = NOBODY; /* owned: an id */
byte tag[PERMITS];
byte holder[PERMITS] = NOBODY; /* ghost: who took it, not by its id */

short announced; /* a bit a member, as all sets: Ticket's value is still the word's */
short asleep;    /* in the kernel's queue for the word */
byte tenant[MEMBERS];   /* by id: whose it is */
short dead;
short stale;     /* something has changed since it last looked */
byte deaths;
byte leavers;

mtype = {
    j_join,
    t_first, t_next, t_take, t_name,
    k_read, k_cell, s_read, s_still, s_free, s_notify, s_retire,
    a_announce, a_sleep, a_asleep,
    r_release, r_sleepers, r_wake,
    done
};

#if DEATHS > 0
#define CHANGED stale = BIT(MEMBERS) - 1
#else
#define CHANGED skip
#endif
#define STEP(label) d_step { pc == label ->

#ifdef KEEP
#define HELD done
#else
#define HELD r_release
#endif
/* The attempt is over, with a permit. */
#define HOLD \
    announced = announced & ~BIT(number); \
    phase = 0; \
    want--; \
    pc = (want > 0 -> t_first : HELD)
#ifdef OWNED
#define WAIT k_read
#else
#define WAIT a_announce
#endif

/* The attempt is over, without a permit. */
inline fail() {
    looked = 0;
    at = 0;
    if
    :: phase == 1 -> pc = a_sleep
    :: phase == 0 || phase == 2 -> phase = 0; stale = stale & ~BIT(number); pc = WAIT
#ifdef OWNED
    :: phase == 3 -> phase = 4; pc = k_read
#endif
    :: else -> turn = 0; pc = done
    fi
}
#define NEXT_PERMIT \
    victim = 0; \
    who = 0; \
    at = (at + 1) % PERMITS; \
    pc = (at > 0 -> k_read : (phase == 4 -> t_first : a_announce))
#define NEXT_SWEPT \
    seen_tag = 0; \
    swept++; \
    pc = (swept < PERMITS -> s_read : s_notify)

inline look(index) {
    at = index;
    looked++;
    if
    :: owner[at] == NOBODY -> seen_tag = tag[at]; pc = t_take
    :: owner[at] != NOBODY && looked < PERMITS -> pc = t_next
    :: else -> fail()
    fi
}

proctype Member(byte number; byte mine) {
    mtype pc;
    byte turn = TURNS;
    byte want;     /* permits it has yet to take, or to give back */
    byte phase;    /* 0: the first look; 1: announced; 2: slept; 3: stuck() at the deadline */
    byte at;       /* permits are walked over by take() or release(), and by stuck() */
    byte looked;
    byte seen;
    byte seen_tag;
    byte victim;   /* an id */
    byte who;      /* and whose it was */
    byte swept;    /* permits that sweep() is through with */

    d_step {
        want = 1;
#ifdef GREEDY
        want = (number == 0 -> PERMITS : 1);
#endif
        pc = t_first;
        if
        :: number == GIVER -> want = GIFTS; turn = 1; pc = r_release
        :: number == NEW -> turn = 1; pc = j_join
        :: else
        fi
    }
end:
    do
    :: d_step { /* killed */
        deaths < DEATHS && pc != done && pc != j_join ->
        deaths++;
        dead = dead | BIT(number);
        asleep = asleep & ~BIT(number);
        announced = announced & ~BIT(number);
        CHANGED;
        pc = done
    }
    :: d_step {
        pc == done ->
        seen = 0; seen_tag = 0; at = 0; looked = 0; phase = 0; want = 0; turn = 0; victim = 0;
        who = 0; swept = 0; pc = 0
    } -> break
#ifdef NEWCOMER
    :: d_step { /* the id of a dead one was freed */
        pc == j_join && (tenant[0] == NOBODY || tenant[1] == NOBODY) ->
        mine = (tenant[0] == NOBODY -> 0 : 1);
        tenant[mine] = number;
        pc = t_first
    }
#endif

    /* ------------------------------------------------------------------ take() */
#ifdef OWNED
    :: STEP(t_first) look(0) }
#if PERMITS > 1
    :: STEP(t_first) look(1) }
#endif
    :: STEP(t_next) look((at + 1) % PERMITS) }
    :: STEP(t_take)
#ifdef TAKE_BY_STORE
        if
        :: true ->
#else
        if
        :: owner[at] == NOBODY && tag[at] == seen_tag ->
#endif
            assert(holder[at] == NOBODY);
#ifdef ANONYMOUS_CLAIM
            owner[at] = NOBODY - 1;
            pc = t_name;
#else
            owner[at] = mine;
#endif
            holder[at] = number;
            CHANGED;
            seen_tag = 0;
            looked = 0;
#ifndef ANONYMOUS_CLAIM
            at = 0;
            HOLD
#endif
        :: else ->
            seen_tag = 0;
            if
            :: looked < PERMITS -> pc = t_next
            :: else -> fail()
            fi
        fi
    }
#ifdef ANONYMOUS_CLAIM
    :: STEP(t_name)
        owner[at] = mine;
        at = 0;
        HOLD
    }
#endif
#else
    :: STEP(t_first)
        seen = value;
        if
        :: seen == 0 -> fail()
        :: else -> pc = t_take
        fi
    }
    :: STEP(t_take)
#ifdef TAKE_BY_STORE
        if
        :: true ->
#else
        if
        :: value == seen ->
#endif
            value = seen - 1;
            taken++;
            seen = 0;
            CHANGED;
            HOLD
        :: else ->
            seen = value;
            if
            :: seen == 0 -> fail()
            :: else
            fi
        fi
    }
#endif

    /* ------------------------------------------------------------------ stuck(), and a rescue */
#ifdef OWNED
    :: STEP(k_read)
        victim = owner[at];
        if
        :: victim < MEMBERS && victim != mine -> pc = k_cell
        :: else -> NEXT_PERMIT
        fi
    }
    :: d_step {
        pc == k_cell ->
        who = tenant[victim];
        if
        :: who != NOBODY && HAS(dead, who) -> pc = s_read
        :: else -> NEXT_PERMIT
        fi
    }
    :: STEP(s_read)
        if
        :: owner[swept] == victim -> seen_tag = tag[swept]; pc = s_still
        :: else -> NEXT_SWEPT
        fi
    }
    :: STEP(s_still) /* DeadTenant::is_still_there() */
#ifdef NO_REASK
        pc = s_free
#else
        pc = (tenant[victim] == who -> s_free : s_retire)
#endif
    }
    :: STEP(s_free)
#ifdef NO_TAG
        if
        :: owner[swept] == victim ->
#else
        if
        :: owner[swept] == victim && tag[swept] == seen_tag ->
            tag[swept]++;
#endif
            assert(HAS(dead, holder[swept])); /* else a newcomer is robbed */
            owner[swept] = NOBODY;
            holder[swept] = NOBODY;
            CHANGED
        :: else
        fi;
        NEXT_SWEPT
    }
    :: STEP(s_notify)
        announced = 0;
        asleep = 0;
        CHANGED;
        pc = s_retire
    }
    :: STEP(s_retire)
        if
        :: tenant[victim] == who -> tenant[victim] = NOBODY; CHANGED
        :: else
        fi;
        swept = 0;
        seen_tag = 0;
        NEXT_PERMIT
    }
#endif

    /* ------------------------------------------------------------------ a wait */
    :: STEP(a_announce)
        announced = announced | BIT(number);
#ifdef NO_SECOND_LOOK
        pc = a_sleep
#else
        phase = 1;
        pc = t_first
#endif
    }
    :: STEP(a_sleep) /* compares and queues in one step */
        phase = 2;
        if
        :: HAS(announced, number) ->
            asleep = asleep | BIT(number);
            pc = a_asleep
        :: else ->
            pc = t_first
        fi;
        announced = announced & ~BIT(number)
    }
    :: d_step { /* woken */
        pc == a_asleep && !HAS(asleep, number) ->
        pc = t_first
    }
    :: d_step { /* a chunk has ended */
        pc == a_asleep && HAS(asleep, number) && deaths > 0 && HAS(stale, number) ->
        asleep = asleep & ~BIT(number);
        pc = t_first
    }
    :: d_step { /* the deadline has passed: one more attempt, though it may have been woken */
        pc == a_asleep && number != 0 && leavers < LEAVERS ->
        leavers++;
        asleep = asleep & ~BIT(number);
#ifdef LEAVE_WITHOUT_LOOK
        turn = 0;
        pc = done
#else
        phase = 3;
        pc = t_first
#endif
    }

    /* ------------------------------------------------------------------ release() */
#ifdef OWNED
    :: STEP(r_release)
        if
        :: owner[at] == mine ->
            assert(holder[at] == number);
            owner[at] = NOBODY;
            holder[at] = NOBODY;
            CHANGED;
            want++;
        :: else
        fi;
        at++;
        if
        :: at == PERMITS ->
            assert(want != 0); /* else it was robbed */
            at = 0;
            pc = r_sleepers
        :: else
        fi
    }
#else
    :: STEP(r_release) /* all in one read-modify-write */
        if
        :: number == GIVER -> value = value + GIFTS; want = GIFTS; given = GIFTS
        :: else ->
            want = 1;
#ifdef GREEDY
            want = (number == 0 -> PERMITS : 1);
#endif
            value = value + want;
            taken = taken - want
        fi;
        assert(value <= PERMITS);
        CHANGED;
        pc = r_sleepers
    }
#endif
    :: STEP(r_sleepers)
        if
        :: want != 0 && (announced | asleep) != 0 -> pc = r_wake
        :: else ->
            turn--;
            want = 1;
#ifdef GREEDY
            want = (number == 0 -> PERMITS : 1);
#endif
            pc = (turn > 0 -> t_first : done)
        fi
    }
    :: atomic { /* futex_wake_one(): the kernel picks whom */
        pc == r_wake ->
        want--;
#ifdef WAKE_ONE_ONLY
        want = 0;
#endif
        announced = 0;
        if
        :: asleep == 0
        :: HAS(asleep, 0) -> asleep = asleep & ~BIT(0)
        :: HAS(asleep, 1) -> asleep = asleep & ~BIT(1)
#if MEMBERS > 2
        :: HAS(asleep, 2) -> asleep = asleep & ~BIT(2)
#endif
#if MEMBERS > 3
        :: HAS(asleep, 3) -> asleep = asleep & ~BIT(3)
#endif
        fi;
        pc = r_sleepers
    }
    od
}

init {
    byte k;
    atomic {
        do
        :: k < MEMBERS ->
            tenant[k] = (k == NEW -> NOBODY : k);
#ifndef NEWCOMER
            if
            :: k != NEW -> run Member(k, k)
            :: else
            fi;
#else
            run Member(k, k);
#endif
            k++
        :: else -> break
        od;
        k = 0
    }
    atomic {
        timeout -> /* nothing can happen any more */
#ifdef OWNED
        assert(asleep == 0);
        do
        :: k < PERMITS ->
            assert(owner[k] == NOBODY || owner[k] < MEMBERS);
            assert(owner[k] == NOBODY ||
                   (tenant[owner[k]] == holder[k] && HAS(dead, holder[k])));
            k++
        :: else -> break
        od
#else
        assert(asleep == 0 || value == 0);
        assert(value + taken == PERMITS - GIFTS + given)
#endif
    }
}
