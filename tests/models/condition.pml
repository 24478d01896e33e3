/* A Condition: ConditionWord's announce(), wait(), notify(), notify_all(), sweep(), and what
 * Condition::wait() does with the lock around them.
 *
 * Notifiers take the lock, add something to what consumers wait for, notify, release. Consumers
 * take the lock, wait while there is nothing, take one, release. One step is one access to shared
 * memory or one system call. The steps mirror:
 *
 *   c_...  a consumer: lock, look, announce(), wait(), lock again
 *   n_...  notify(): find_oldest() cell by cell, notify_cell(), futex_wake(); notify_all()
 *   r_...  a rescue: sweep(), then the id is free
 *
 * Checked:
 *   - no wake-up is lost: when nothing can happen any more, nobody waits for what is there. A chunk
 *     of a sleep ends only once somebody has died: without deaths nothing makes up for a lost
 *     wake-up;
 *   - a newcomer with a dead one's id waits in a cell that nobody else changes.
 *
 * The lock of a dead one is free at once: that it becomes so is the lock's promise. Its waiters
 * learn of that, when a chunk ends.
 *
 * Left out: memory orders, spinning, the order of tickets among those who wait, and that notify()
 * rescues whom it finds dead before it notifies him: it spares one a chunk.
 *
 * Bounds (-D): CONSUMERS, NOTIFIERS, DEATHS, LEAVERS waits that time out and then take nothing, ALL
 * the first notifier adds for all consumers and calls notify_all(), UNLOCKED it is released before
 * it is notified (a notifier that dies before its commit store has then notified nobody: what it
 * added goes with it), NEWCOMER a consumer under the id of a dead one.
 */

#ifndef CONSUMERS
#define CONSUMERS 2
#endif
#ifndef NOTIFIERS
#define NOTIFIERS 2
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef LEAVERS
#define LEAVERS 0
#endif

#define MEMBERS (CONSUMERS + NOTIFIERS + 1) /* the last is the newcomer */
#define NEW (MEMBERS - 1)
#define BIT(number) (1 << (number))
#define HAS(set, number) (((set) >> (number)) & 1)
#define NOBODY 15

#define IDLE 0
#define WAITING 1
#define ASLEEP 2
#define NOTIFIED 3
byte state[CONSUMERS]; /* of cells */
byte tag[CONSUMERS];   /* raised by each wait and each rescue */
byte ticket[CONSUMERS];
byte next_ticket;
byte everybody;
short bits;            /* `waiting`: a bit a cell */
short asleep;          /* a bit a cell: in the kernel's queue for it */
short dead;            /* a bit a cell: its owner has died, and the id is not free yet */
short free;            /* a bit a cell: the id is free */

byte lock = NOBODY;
byte fallen;           /* how often its owner died */
byte things;           /* what consumers wait for */
short stale;           /* a bit a member: something has changed since it last looked */
byte deaths;
byte leavers;
byte still_waiting;    /* consumers that have not ended */
#ifdef NEWCOMER
bool newcomer_came;
#endif

mtype = {
    c_lock, c_finish, c_look, c_announce, c_bit, c_release, c_try, c_mark, c_doze, c_everybody, c_sleep,
    c_asleep, c_clear, c_give_up, c_disturbed, c_unlock, c_idle_early,
    n_lock, n_add, n_all, n_before, n_find, n_notify, n_wake, n_check, n_release,
    r_read, r_still, r_free_early, r_mend, r_free, r_next,
    done
};

#if DEATHS > 0
#define CHANGED stale = BIT(MEMBERS) - 1
#else
#define CHANGED skip
#endif
#define STEP(label) d_step { pc == label ->
#define IS_WAITING(number) (state[number] == WAITING || state[number] == ASLEEP)

proctype Member(byte number; byte mine) {
    mtype pc;
    mtype after_notify; /* where notify() returns to */
    mtype after_rescue;
    byte seen_state;
    byte seen_tag;
    byte before;   /* tickets that this call means */
    byte k;
    byte found = NOBODY;
    byte found_tag;
    byte victim;   /* whom it rescues */
    byte mended_tag;
    bool mended_notified;
    byte fallen_seen;
    bool all;
    bool left;
    bool committed;
    bool added;

    d_step {
        if
        :: number < CONSUMERS || number == NEW -> pc = c_lock
        :: else ->
            pc = n_lock;
#ifdef ALL
            all = (number == CONSUMERS)
#endif
        fi
    }
end:
    do
    :: atomic { /* killed */
        deaths < DEATHS && pc != done && number != NEW ->
        deaths++;
        if
        :: lock == number -> lock = NOBODY; fallen++
        :: else
        fi;
        if
        :: number < CONSUMERS ->
            dead = dead | BIT(mine);
            asleep = asleep & ~BIT(mine);
            still_waiting--
#ifdef UNLOCKED
        :: added && !committed -> /* others may have taken of it already */
            k = (all -> CONSUMERS : 1);
            things = (things > k -> things - k : 0)
#endif
        :: else
        fi;
        CHANGED;
        pc = done
    }
    :: atomic { pc == done -> break }

    /* ------------------------------------------------------------------ a consumer */
    :: d_step {
        pc == c_lock && lock == NOBODY ->
        lock = number;
        pc = c_finish
    }
    :: STEP(c_finish)
        if
        :: state[mine] == NOTIFIED -> state[mine] = IDLE; CHANGED
        :: else
        fi;
        pc = (left -> c_unlock : c_look)
    }
    :: STEP(c_look)
        if
        :: things > 0 -> things--; CHANGED; pc = c_unlock
        :: else ->
#ifdef ANNOUNCE_AFTER_RELEASE
            pc = c_release
#else
            pc = c_announce
#endif
        fi
    }
    :: STEP(c_announce)
        fallen_seen = fallen;
        ticket[mine] = next_ticket;
        next_ticket++;
        state[mine] = WAITING;
        tag[mine]++;
        CHANGED;
        pc = c_bit
    }
    :: STEP(c_bit)
        bits = bits | BIT(mine);
        CHANGED;
#ifdef ANNOUNCE_AFTER_RELEASE
        pc = c_try
#else
        pc = c_release
#endif
    }
    :: STEP(c_release)
        lock = NOBODY;
        CHANGED;
#ifdef ANNOUNCE_AFTER_RELEASE
        pc = c_announce
#else
        pc = c_try
#endif
    }
    :: STEP(c_try) /* is_notified() */
        if
        :: !IS_WAITING(mine) -> pc = c_clear
        :: IS_WAITING(mine) && ticket[mine] < everybody -> pc = c_mark
#ifndef OWNERS_DEATH_UNTOLD
        :: IS_WAITING(mine) && ticket[mine] >= everybody && fallen_seen != fallen ->
            pc = c_disturbed
#endif
        :: else -> pc = c_doze
        fi
    }
    :: STEP(c_mark)
        state[mine] = NOTIFIED; /* its compare-and-swap fails only if it is so already */
        CHANGED;
        pc = c_clear
    }
    :: STEP(c_doze)
        if
        :: state[mine] == WAITING -> state[mine] = ASLEEP; CHANGED
        :: else
        fi;
        pc = c_everybody
    }
    :: STEP(c_everybody)
        pc = (ticket[mine] < everybody -> c_try : c_sleep)
    }
    :: STEP(c_sleep) /* futex_wait() compares and queues in one step */
#ifdef SLEEP_ON_ANY_VALUE
        asleep = asleep | BIT(mine);
        pc = c_asleep
#else
        if
        :: state[mine] == ASLEEP -> asleep = asleep | BIT(mine); pc = c_asleep
        :: else -> pc = c_try
        fi
#endif
    }
    :: d_step { /* woken */
        pc == c_asleep && !HAS(asleep, mine) -> pc = c_try
    }
    :: d_step { /* a chunk has ended: it looks for the dead, then again */
        pc == c_asleep && HAS(asleep, mine) && deaths > 0 && HAS(stale, number) ->
        asleep = asleep & ~BIT(mine);
        stale = stale & ~BIT(number);
        after_rescue = c_try;
        victim = 0;
        pc = r_read
    }
    :: d_step { /* the deadline has passed */
        pc == c_asleep && HAS(asleep, mine) && leavers < LEAVERS ->
        leavers++;
        asleep = asleep & ~BIT(mine);
        pc = c_give_up
    }
    :: STEP(c_give_up)
#ifdef GIVE_UP_BLINDLY
        left = 1;
        state[mine] = IDLE;
#else
        if
        :: IS_WAITING(mine) -> state[mine] = IDLE; left = 1
        :: else
        fi;
#endif
        CHANGED;
        pc = c_clear
    }
    :: STEP(c_disturbed)
        if
        :: IS_WAITING(mine) -> state[mine] = IDLE; CHANGED
        :: else
        fi;
        pc = c_clear
    }
    :: STEP(c_clear)
        bits = bits & ~BIT(mine);
        CHANGED;
#ifdef IDLE_BEFORE_LOCK
        pc = c_idle_early
#else
        pc = c_lock
#endif
    }
    :: STEP(c_idle_early)
        state[mine] = IDLE;
        pc = c_lock
    }
    :: STEP(c_unlock)
        lock = NOBODY;
        still_waiting--;
        CHANGED;
        pc = done
    }

    /* ------------------------------------------------------------------ a notifier */
    :: d_step {
        pc == n_lock && lock == NOBODY ->
        lock = number;
        pc = n_add
    }
    :: STEP(n_add)
        things = things + (all -> CONSUMERS : 1);
        added = 1;
        CHANGED;
#ifdef UNLOCKED
        lock = NOBODY;
#endif
        after_notify = n_release;
        pc = (all -> n_all : n_before)
    }
    :: STEP(n_all)
#ifndef NO_EVERYBODY
        everybody = (next_ticket > everybody -> next_ticket : everybody);
        CHANGED;
#endif
        committed = 1;
        pc = n_before
    }
    :: STEP(n_before)
        before = next_ticket;
        k = 0;
        found = NOBODY;
        pc = n_find
    }
    :: STEP(n_find)
        if
        :: k < CONSUMERS ->
            if
            :: HAS(bits, k) && IS_WAITING(k) && ticket[k] < before &&
                (found == NOBODY || ticket[k] < ticket[found]) ->
                found = k;
                found_tag = tag[k]
            :: else
            fi;
            k++
        :: else ->
            pc = (found == NOBODY -> after_notify : n_notify);
            if
            :: found == NOBODY && after_notify != r_mend -> committed = 1
            :: else
            fi
        fi
    }
    :: STEP(n_notify)
        if
        :: IS_WAITING(found) && tag[found] == found_tag ->
            seen_state = state[found];
            state[found] = NOTIFIED;
            CHANGED;
            if
            :: after_notify != r_mend -> committed = 1
            :: else
            fi;
            pc = (seen_state == ASLEEP -> n_wake : n_check);
            seen_state = 0
        :: else -> k = 0; found = NOBODY; pc = n_find
        fi
    }
    :: STEP(n_wake)
        asleep = asleep & ~BIT(found);
        CHANGED;
        pc = n_check
    }
    :: STEP(n_check) /* has it died just before? */
        k = 0;
        if
        :: after_notify != r_mend && HAS(dead, found) ->
            victim = found;
            after_rescue = (all -> n_find : after_notify);
            pc = r_still
        :: else -> pc = (all && after_notify != r_mend -> n_find : after_notify)
        fi;
        seen_state = (pc == r_still -> state[victim] : 0);
        mended_tag = (pc == r_still -> tag[victim] : 0);
        found = NOBODY
    }
    :: STEP(n_release)
        if
        :: lock == number -> lock = NOBODY
        :: else
        fi;
        CHANGED;
        pc = done
    }

    /* ------------------------------------------------------------------ a rescue of `victim` */
    :: STEP(r_read)
        if
        :: HAS(dead, victim) ->
            seen_state = state[victim];
            mended_tag = tag[victim];
            pc = r_still
        :: else -> pc = r_next
        fi
    }
    :: STEP(r_still) /* DeadTenant::is_still_there() */
        if
        :: !HAS(dead, victim) -> pc = r_next
        :: HAS(dead, victim) && seen_state == IDLE -> pc = r_free
        :: else ->
#if defined(FREE_BEFORE_PASS_ON)
            pc = r_free_early
#elif defined(NO_PASS_ON)
            pc = r_mend
#else
            after_notify = (seen_state == NOTIFIED -> r_mend : after_notify);
            pc = (seen_state == NOTIFIED -> n_before : r_mend)
#endif
        fi
    }
    :: STEP(r_free_early)
        after_notify = r_mend;
        if
        :: state[victim] == seen_state && tag[victim] == mended_tag ->
            state[victim] = IDLE;
            tag[victim]++;
            pc = (seen_state == NOTIFIED -> n_before : r_free)
        :: else -> pc = r_read
        fi
    }
    :: STEP(r_mend)
        after_notify = (number < CONSUMERS || number == NEW -> 0 : n_release);
        if
        :: state[victim] == seen_state && tag[victim] == mended_tag ->
            assert(HAS(dead, victim));
            state[victim] = IDLE;
            tag[victim]++;
            CHANGED;
            pc = r_free
        :: else -> pc = r_read
        fi
    }
    :: STEP(r_free)
        if
        :: HAS(dead, victim) && state[victim] == IDLE ->
            dead = dead & ~BIT(victim);
            free = free | BIT(victim);
            CHANGED
        :: else
        fi;
        pc = r_next
    }
    :: STEP(r_next)
        seen_state = 0;
        mended_tag = 0;
        if
        :: after_rescue == c_try && victim + 1 < CONSUMERS -> victim++; pc = r_read
        :: else -> victim = 0; pc = after_rescue
        fi
    }
    od
}

#ifdef NEWCOMER
proctype Newcomer() {
    byte id;
    end:
    atomic {
        free != 0 ->
        do
        :: HAS(free, id) -> break
        :: else -> id++
        od;
        free = free & ~BIT(id);
        newcomer_came = 1;
        still_waiting++;
        run Member(NEW, id)
    }
}
#endif

init {
    byte number;
    atomic {
        still_waiting = CONSUMERS;
        do
        :: number < CONSUMERS + NOTIFIERS ->
            run Member(number, (number < CONSUMERS -> number : 0));
            number++
        :: else -> break
        od;
#ifdef NEWCOMER
        run Newcomer();
#endif
        number = 0
    }
    atomic {
        timeout -> /* nothing can happen any more */
        assert(lock == NOBODY);
        assert(things == 0 || still_waiting == 0)
    }
}
