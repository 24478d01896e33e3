/* The lock word: LockWord (lock_word.hpp, lock_word.cpp): lock, unlock, the heir, the rescue.
 *
 * Each step is one access to shared memory. Unlocking is a plain store and then a look at the
 * sleepers; that these are not reordered against a waiter's announcement and last look is
 * fence.pml's matter, so here all is in one order. Sleepers announce themselves in an eventcount,
 * which is waiting.pml's matter: here announcing, and sleeping only if nobody has notified since,
 * are one word `sequence` and its bit.
 *
 * Processes 1..N lock and unlock TURNS times each. Up to DEATHS of them are killed, before any of
 * their steps. Ids are member ids; a rescue frees the dead one's, and with NEWCOMER one more
 * process gets it. Rescuers stop between any two of their steps.
 *
 * Checked: never two living owners; an owner is never robbed; who died holding the lock leaves it
 * marked, and nobody else does; nobody is left asleep for ever (no chunks here: who is left asleep
 * may only be one whose wake-up died with somebody, so with deaths all are woken at the end).
 *
 * Bounds (-D): PROCESSES, TURNS, DEATHS, NEWCOMER, HEIRS (a waiter may note itself as the heir at
 * any time), LEAVERS (a waiter may give up at any time).
 */

#ifndef PROCESSES
#define PROCESSES 2
#endif
#ifndef TURNS
#define TURNS 2
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifdef NEWCOMER
#define ALL (PROCESSES + 1)
#else
#define ALL PROCESSES
#endif

/* the word, taken apart, changed in one step */
byte owner;
bool abandoned, reserved;
byte tag;
/* the other words */
byte heir, heir_tag;
byte sequence;
bool sleepers;

byte tenant[ALL + 1];   /* member cells: which process an id is, 0 nobody */
bool dead[ALL + 1];     /* bells, by process */
bool asleep[ALL + 1];
byte on_bell[ALL + 1];  /* whose bell it sleeps on: a process */
byte deaths;
byte inside;            /* which process is in the section */
bool died_inside;       /* the last owner died holding it */
byte finished;

inline wake_all() {
    atomic {
        sequence++; sleepers = 0;
        for (w : 1 .. ALL) { asleep[w] = 0 }; w = 0
    }
}

/* Members::rescue(id) of a dead tenant: sweep, then free the id. */
inline rescue(id) {
    who = tenant[id];
    if
    :: who != 0 && dead[who] ->
        d_step { seen_owner = owner; seen_tag = tag };
        if
        :: seen_owner == id ->
#ifndef NO_REASK
            if
            :: tenant[id] != who -> goto rescued
            :: else
            fi;
#endif
            d_step {
                if
                :: owner == id && tag == seen_tag ->
                    assert(inside == 0 || dead[inside]); /* else an owner is robbed */
                    owner = 0; abandoned = 1; reserved = 0;
#ifndef NO_TAG
                    tag++;
#endif
                    inside = 0
                :: else
                fi
            }
        :: else
        fi;
        d_step { seen_owner = heir; seen_tag = heir_tag };
#ifndef NO_HEIR_SWEEP
        if
        :: seen_owner == id ->
            if
            :: tenant[id] != who -> goto rescued
            :: else
            fi;
            d_step {
                if
                :: heir == id && heir_tag == seen_tag -> heir = 0; heir_tag++
                :: else
                fi
            }
        :: else
        fi;
#endif
        wake_all();
        d_step {
            if
            :: tenant[id] == who -> tenant[id] = 0
            :: else
            fi
        }
    :: else
    fi;
rescued:
    skip
}

/* One look: `got`, or `blocker` is who is in the way. */
inline attempt() {
    got = 0;
    do
    :: true ->
    d_step { seen_owner = owner; seen_reserved = reserved; seen_tag = tag };
    blocker = seen_owner;
    if
    :: seen_owner != 0
    :: seen_owner == 0 ->
        if
        :: seen_reserved && !is_heir -> blocker = heir
        :: else
        fi;
        if
        :: blocker != 0
        :: blocker == 0 ->
            d_step {
                if
                :: owner == 0 && reserved == seen_reserved && tag == seen_tag ->
                    owner = me; reserved = 0; got = 1;
                    assert(inside == 0); /* two owners */
#ifndef ANONYMOUS_CLAIM
                    assert(died_inside == abandoned); /* marked if and only if an owner died */
#else
                    owner = ALL + 1;
#endif
                    inside = self
                :: else
                fi
            };
            if
            :: got && is_heir -> take_back()
            :: else
            fi
        fi
    fi;
    if
    :: got || blocker != 0 -> break
    :: else /* somebody was faster: again */
    fi
    od
}

inline take_back() {
    d_step {
        if
        :: heir == me -> heir = 0
        :: else
        fi;
        is_heir = 0
    }
}

inline wake_one() { /* one of the sleepers, whichever */
    atomic {
        sequence++;
        if
        :: asleep[1] -> asleep[1] = 0
        :: PROCESSES > 1 && asleep[2] -> asleep[2] = 0
#if ALL > 2
        :: asleep[3] -> asleep[3] = 0
#endif
#if ALL > 3
        :: asleep[4] -> asleep[4] = 0
#endif
        :: else -> sleepers = 0
        fi
    }
}

inline unlock() {
    if
    :: heir == 0 ->
        d_step {
            assert(owner == me && inside == self); /* else it was robbed */
            owner = 0; inside = 0; abandoned = 0; died_inside = 0 /* repair(), too */
        }
    :: else ->
        blocker = heir;
        if
        :: blocker != 0 -> rescue_noted(blocker)
        :: else
        fi;
        d_step {
            assert(owner == me && inside == self);
            owner = 0; inside = 0; abandoned = 0; died_inside = 0; reserved = 1
        }
    fi;
    if
    :: sleepers ->
        blocker = heir;
        if
        :: blocker != 0 ->
#ifndef NO_WAKE_FOR_THE_HEIR
            atomic {
                sequence++;
                if
                :: tenant[blocker] != 0 -> asleep[tenant[blocker]] = 0
                :: else
                fi
            };
#endif
            if
            :: reserved && owner == 0
            :: else -> wake_one()
            fi
        :: else -> wake_one()
        fi
    :: else
    fi
}
/* A dead heir is swept before the lock is reserved for him. */
inline rescue_noted(id) { skip }

/* Dies before the step, perhaps. The kernel then marks its bell and wakes one who sleeps on it:
 * here all, who pass it on to each other. */
#define MORTAL \
    if \
    :: deaths < DEATHS -> \
        atomic { \
            deaths++; dead[self] = 1; \
            if :: inside == self -> died_inside = 1; inside = 0 :: else fi; \
            for (w : 1 .. ALL) { if :: on_bell[w] == self -> asleep[w] = 0 :: else fi }; w = 0; \
            goto gone \
        } \
    :: true \
    fi

proctype Process(byte self; byte me) {
    byte turn, blocker, who, w, seen_owner, seen_tag, ticket;
    bool got, is_heir, seen_reserved;
    do
    :: turn < TURNS ->
        turn++;
again:
        MORTAL;
        attempt();
        if
        :: got
        :: else ->
            MORTAL;
            if
            :: blocker != 0 -> rescue(blocker)
            :: else
            fi;
#ifdef HEIRS
            if
            :: !is_heir && heir == 0 -> d_step {
                if :: heir == 0 -> heir = me; is_heir = 1 :: else fi }
            :: true
            fi;
            MORTAL;
#endif
#ifdef LEAVERS
            if
            :: true ->
                if
                :: is_heir ->
                    take_back();
                    if
#ifdef NO_LOOK_AFTER_GIVING_UP
                    :: true
#else
                    :: reserved -> d_step {
                        if :: owner == 0 && reserved -> reserved = 0 :: else fi };
                        if :: sleepers -> wake_one() :: else fi
                    :: else
#endif
                    fi
                :: else
                fi;
                goto next
            :: true
            fi;
#endif
            d_step { sequence++; sleepers = 1; ticket = sequence }; /* announce */
#ifndef NO_SECOND_LOOK
            attempt();
#endif
            if
            :: got
            :: else ->
                MORTAL;
                atomic { /* futex_wait_any: the word, and whom it waits for */
                    on_bell[self] = (blocker != 0 -> tenant[blocker] : 0);
                    if
                    :: sequence == ticket &&
                       (on_bell[self] == 0 || !dead[on_bell[self]]) -> asleep[self] = 1
                    :: else
                    fi
                };
                atomic { !asleep[self] -> on_bell[self] = 0 };
                goto again
            fi
        fi;
        MORTAL;
        unlock();
next:
        skip
    :: else -> break
    od;
gone:
    atomic {
        finished++;
        /* A chunk's end: wake-ups that died with somebody. */
        if :: deaths > 0 -> for (w : 1 .. ALL) { asleep[w] = 0 }; w = 0 :: else fi
    }
}

init {
    byte id;
    atomic {
        for (id : 1 .. PROCESSES) { tenant[id] = id; run Process(id, id) }
    };
#ifdef NEWCOMER
    do
    :: atomic { tenant[1] == 0 || tenant[2] == 0 -> /* gets the id that the rescue frees */
        id = (tenant[1] == 0 -> 1 : 2);
        tenant[id] = ALL;
        run Process(ALL, id) };
        break
    :: finished == PROCESSES -> finished++; break /* nobody died, or nobody had to look */
    od;
#endif
    finished == ALL;
    assert(inside == 0)
}
