/* A lock for readers and writers: RwLockWord's readers' cells, its writers' word, and the sweep.
 *
 * Readers read and writers write TURNS times each. One step is one access to shared memory or one
 * system call. The steps mirror:
 *
 *   e_...  enter(): count, then look at the writers' word; leave() where somebody writes
 *   q_...  lock_shared() behind a writer: takes the word, counts, gives the word back
 *   u_...  unlock_shared(): the exchange, the wake-up
 *   d_...  lock(): the word, then drain() cell by cell
 *   f_...  wait_for() a reader: is he dead, `wanted`, futex_wait_any() on the cell and his bell
 *   s_...  a rescue: the writers' word, the mark `fallen`, the cell, then the id is free
 *
 * The writers' word is lock.pml's matter: here it is taken in one step when it is free, whoever
 * waits for it looks for a dead owner, and no wake-up of it is lost.
 *
 * Checked:
 *   - a writer is beside nobody alive, neither a reader nor a writer;
 *   - nobody is robbed: a rescuer that comes late changes no newcomer's cell;
 *   - who dies reading or writing leaves the lock marked for the next writer;
 *   - nobody is stuck, and no chunk of a sleep ends: a reader's leaving or his bell wakes the
 *     writer;
 *   - no lock is called damaged.
 *
 * Left out: memory orders (the fence between word and cells is one: fence.pml's form), the mark's
 * refusal, repair().
 *
 * Bounds (-D): READERS, WRITERS, TURNS, AGAIN a reader reads once more while it reads, GROWING
 * readers_high begins at nobody (else at everybody), DEATHS, LEAVERS waits of writers that end at
 * their deadline, NEWCOMER a reader under a dead one's id.
 */

#ifndef READERS
#define READERS 2
#endif
#ifndef WRITERS
#define WRITERS 1
#endif
#ifndef TURNS
#define TURNS 1
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef LEAVERS
#define LEAVERS 0
#endif

#define PEOPLE (READERS + WRITERS)
#define MEMBERS (PEOPLE + 1) /* the last is the newcomer */
#define NEW PEOPLE
#define BIT(number) (1 << (number))
#define HAS(set, number) (((set) >> (number)) & 1)
#define NOBODY 15

byte writer = NOBODY; /* an id */
byte writer_tag;
bool writer_abandoned;
byte count[PEOPLE];   /* cells, by id, each changed in one step with the next two */
bool wanted[PEOPLE];
byte cell_tag[PEOPLE];
bool fallen;          /* a reader died reading */
byte fallen_count;
#ifdef GROWING
byte high;            /* ids below have read */
#else
#define high PEOPLE
#endif

byte tenant[PEOPLE];  /* by id: whose it is */
short dead;           /* a bit a member, as all sets */
short asleep;
byte on_cell[MEMBERS] = NOBODY; /* which cell, and whose bell, it sleeps on */
byte on_bell[MEMBERS] = NOBODY;
byte deaths;
byte leavers;

/* ghosts */
byte through; /* who has nothing to do any more */
short reading;
short writing;
bool died_inside; /* since the last writer came in */

mtype = {
    j_join,
    e_high, e_count, e_look, e_leave, e_wake, q_wait, q_count, q_release,
    u_again, u_inner, u_leave, u_store, u_wake,
    d_wait, d_cell, d_write, d_unlock,
    f_rescue, f_look, f_dead, f_want, f_watch, f_damaged, f_sleep, f_asleep,
    s_word, s_word_still, s_word_free, s_fallen, s_cell, s_still, s_mark, s_free, s_wake, s_retire,
    done
};

#define STEP(label) d_step { pc == label ->
#define WAKE_CELL(id) \
    k = 0; \
    do \
    :: k < MEMBERS -> \
        if \
        :: on_cell[k] == (id) -> asleep = asleep & ~BIT(k) \
        :: else \
        fi; \
        k++ \
    :: else -> break \
    od; \
    k = 0
#define READ \
    reading = reading | BIT(number); \
    assert(writing == 0)

inline next_turn() {
    turn--;
    if
    :: turn == 0 -> pc = done
    :: turn > 0 && reads -> pc = e_high
    :: else -> pc = d_wait
    fi
}
#ifdef WATCH_BEFORE_WANTED
#define AFTER_DEAD f_watch
#define AFTER_WATCH f_want
#define AFTER_WANT f_sleep
#else
#define AFTER_DEAD f_want
#define AFTER_WANT f_watch
#define AFTER_WATCH f_sleep
#endif
#ifdef MARK_AFTER_FREE
#define NEXT s_free
#else
#define NEXT s_mark
#endif
/* The rescue of `victim` begins, where that is a dead one's id; else `otherwise`. */
inline rescue(otherwise) {
    if
    :: victim < PEOPLE && tenant[victim] != NOBODY && HAS(dead, tenant[victim]) ->
        who = tenant[victim];
        pc = s_word
    :: else -> pc = otherwise
    fi
}

proctype Member(byte number; byte mine) {
    mtype pc;
    mtype after;  /* where a rescue returns to */
    byte turn = TURNS;
    bool reads;
    byte at;      /* the cell that drain() looks at */
    byte victim;
    byte who;
    byte seen_tag;
    byte seen_count;
    bool seen_wanted;
    byte seen_fallen;
    byte k;

    d_step {
        reads = (number < READERS || number == NEW);
        pc = (reads -> e_high : d_wait);
        if
        :: number == NEW -> turn = 1; pc = j_join
        :: else
        fi
    }
end:
    do
    :: d_step { /* killed: the kernel marks its bell and wakes who sleeps on it */
        deaths < DEATHS && pc != done && pc != j_join ->
        deaths++;
        dead = dead | BIT(number);
        if
        :: HAS(reading, number) || HAS(writing, number) -> died_inside = 1
        :: else
        fi;
        reading = reading & ~BIT(number);
        writing = writing & ~BIT(number);
        asleep = asleep & ~BIT(number);
        on_cell[number] = NOBODY;
        on_bell[number] = NOBODY;
        k = 0;
        do
        :: k < MEMBERS ->
            if
            :: on_bell[k] == number -> asleep = asleep & ~BIT(k)
            :: else
            fi;
            k++
        :: else -> break
        od;
        k = 0;
        pc = done
    }
    :: d_step {
        pc == done ->
        after = 0; turn = 0; reads = 0; at = 0; victim = 0; who = 0; seen_tag = 0; seen_count = 0;
        seen_wanted = 0; seen_fallen = 0; pc = 0;
        through++
    } -> break
#ifdef NEWCOMER
    :: d_step { /* the id of a dead reader was freed */
        pc == j_join && tenant[0] == NOBODY ->
        mine = 0;
        tenant[0] = number;
        pc = e_high
    }
    :: d_step { /* join() finds no free id: it looks for the dead */
        pc == j_join && tenant[0] != NOBODY && HAS(dead, tenant[0]) ->
        victim = 0;
        after = j_join;
        rescue(j_join)
    }
#endif

    /* ------------------------------------------------------------------ a reader */
#ifdef HIGH_LATE
    :: d_step { pc == e_high && !HAS(reading, number) -> pc = e_count }
    :: d_step {
        pc == e_high && HAS(reading, number) ->
#else
    :: STEP(e_high)
#endif
#ifdef GROWING
        high = (high > mine + 1 -> high : mine + 1);
#endif
#ifdef HIGH_LATE
        pc = u_again
#elif defined(LOOK_BEFORE_COUNT)
        pc = e_look
#else
        pc = e_count
#endif
    }
    :: STEP(e_count)
        assert(count[mine] == 0);
        count[mine] = 1;
        wanted[mine] = 0;
#ifdef LOOK_BEFORE_COUNT
        READ;
        pc = u_again
#else
        pc = e_look
#endif
    }
    :: STEP(e_look)
#ifdef LOOK_BEFORE_COUNT
        pc = (writer == NOBODY -> e_count : q_wait)
#else
        if
#ifdef HIGH_LATE
        :: writer == NOBODY -> READ; pc = e_high
#else
        :: writer == NOBODY -> READ; pc = u_again
#endif
        :: else -> pc = e_leave
        fi
#endif
    }
    :: STEP(e_leave)
        count[mine] = 0;
        pc = (wanted[mine] -> e_wake : q_wait);
        wanted[mine] = 0
    }
    :: STEP(e_wake)
#ifndef NO_WAKE
        WAKE_CELL(mine);
#endif
        pc = q_wait
    }
    :: d_step { /* while it spins the word was free: counts once more */
        pc == q_wait && writer == NOBODY && turn == TURNS -> pc = e_count
    }
    :: d_step {
        pc == q_wait && writer == NOBODY ->
        writer = mine;
        pc = q_count
    }
    :: d_step {
        pc == q_wait && writer != NOBODY && HAS(dead, tenant[writer]) ->
        victim = writer;
        after = q_wait;
        rescue(q_wait)
    }
    :: STEP(q_count)
        count[mine]++;
        READ;
        pc = q_release
    }
    :: STEP(q_release)
        assert(writer == mine);
        writer = NOBODY;
        pc = u_again
    }
    :: d_step { pc == u_again -> pc = u_leave }
#ifdef AGAIN
    :: STEP(u_again)
        count[mine]++;
        pc = u_inner
    }
#endif
    :: STEP(u_inner)
        assert(count[mine] == 2);
        count[mine]--;
        pc = u_leave
    }
#ifdef LEAVE_BY_STORE
    :: STEP(u_leave)
        seen_wanted = wanted[mine];
        pc = u_store
    }
    :: STEP(u_store)
#else
    :: STEP(u_leave)
        seen_wanted = wanted[mine];
#endif
        assert(count[mine] == 1); /* else it was robbed */
        reading = reading & ~BIT(number);
        count[mine] = 0;
        wanted[mine] = 0;
        if
        :: seen_wanted -> pc = u_wake
        :: else -> next_turn()
        fi;
        seen_wanted = 0
    }
    :: STEP(u_wake)
#ifndef NO_WAKE
        WAKE_CELL(mine);
#endif
        next_turn()
    }

    /* ------------------------------------------------------------------ a writer */
    :: d_step {
        pc == d_wait && writer == NOBODY ->
        writer = mine;
        at = 0;
#ifdef NO_DRAIN
        pc = d_write
#else
        pc = d_cell
#endif
    }
    :: d_step {
        pc == d_wait && writer != NOBODY && HAS(dead, tenant[writer]) ->
        victim = writer;
        after = d_wait;
        rescue(d_wait)
    }
    :: STEP(d_cell)
        if
        :: at < high && count[at] != 0 -> pc = f_rescue
        :: at < high && count[at] == 0 -> at++
        :: else -> at = 0; pc = d_write
        fi
    }
    :: STEP(d_write)
        assert(reading == 0 && writing == 0);
        assert(!died_inside || fallen || writer_abandoned);
        writing = BIT(number);
        pc = d_unlock
    }
    :: STEP(d_unlock)
        assert(writer == mine && reading == 0 && writing == BIT(number));
        writing = 0;
        died_inside = 0; /* repair() */
        fallen = 0;
        writer_abandoned = 0;
        writer = NOBODY;
        next_turn()
    }

    /* ------------------------------------------------------------------ wait_for() */
    :: STEP(f_rescue)
        victim = at;
        after = f_look;
        rescue(f_look)
    }
    :: STEP(f_look)
        seen_count = count[at];
        seen_wanted = wanted[at];
        seen_tag = cell_tag[at];
        if
        :: seen_count == 0 -> seen_wanted = 0; seen_tag = 0; at++; pc = d_cell
        :: else -> pc = f_dead
        fi
    }
    :: STEP(f_dead) /* has_ended() */
        k = tenant[at];
        if
        :: k != NOBODY && HAS(dead, k) -> victim = at; after = f_look; rescue(f_look)
        :: else -> pc = AFTER_DEAD
        fi;
        k = 0
    }
    :: STEP(f_want)
        if
        :: seen_wanted -> pc = AFTER_WANT
        :: !seen_wanted && count[at] == seen_count && !wanted[at] && cell_tag[at] == seen_tag ->
            wanted[at] = 1;
            seen_wanted = 1;
            pc = AFTER_WANT
        :: else -> on_bell[number] = NOBODY; pc = f_look
        fi
    }
    :: STEP(f_watch)
        on_bell[number] = tenant[at];
        pc = (tenant[at] == NOBODY -> f_damaged : AFTER_WATCH)
    }
    :: STEP(f_damaged) /* it is, if the word is still the same */
        assert(count[at] != seen_count || cell_tag[at] != seen_tag || wanted[at] != seen_wanted);
        pc = f_look
    }
    :: STEP(f_sleep) /* compares word and bell and queues in one step */
        seen_wanted = 0;
        if
#ifdef SLEEP_ON_ANY_VALUE
        :: !HAS(dead, on_bell[number]) ->
#else
        :: count[at] == seen_count && wanted[at] && cell_tag[at] == seen_tag &&
           !HAS(dead, on_bell[number]) ->
#endif
            asleep = asleep | BIT(number);
            on_cell[number] = at;
#ifdef NO_BELL
            on_bell[number] = NOBODY;
#endif
            pc = f_asleep
        :: else -> on_bell[number] = NOBODY; pc = f_look
        fi;
        seen_tag = 0;
        seen_count = 0
    }
    :: d_step { /* woken */
        pc == f_asleep && !HAS(asleep, number) ->
        on_cell[number] = NOBODY;
        on_bell[number] = NOBODY;
        pc = f_look
    }
    :: d_step { /* the deadline has passed */
        pc == f_asleep && HAS(asleep, number) && leavers < LEAVERS ->
        leavers++;
        asleep = asleep & ~BIT(number);
        on_cell[number] = NOBODY;
        on_bell[number] = NOBODY;
        at = 0;
        writer = NOBODY;
        next_turn()
    }

    /* ------------------------------------------------------------------ a rescue of `victim` */
    :: STEP(s_word)
        seen_tag = writer_tag;
        pc = (writer == victim -> s_word_still : s_fallen)
    }
    :: STEP(s_word_still)
        if
        :: tenant[victim] == who -> pc = s_word_free
        :: else -> seen_tag = 0; pc = s_fallen /* LockWord's sweep is over, not this one */
        fi
    }
    :: STEP(s_word_free)
        if
        :: writer == victim && writer_tag == seen_tag ->
            assert(HAS(dead, tenant[victim]));
            writer = NOBODY;
            writer_abandoned = 1;
            writer_tag++
        :: else
        fi;
        seen_tag = 0;
        pc = s_fallen
    }
    :: STEP(s_fallen)
        seen_fallen = fallen_count;
        pc = s_cell
    }
    :: STEP(s_cell)
        seen_count = count[victim];
        seen_wanted = wanted[victim];
        seen_tag = cell_tag[victim];
        pc = s_still
    }
    :: STEP(s_still)
#ifdef NO_REASK
        pc = (seen_count == 0 -> s_retire : NEXT)
#else
        pc = (tenant[victim] != who || seen_count == 0 -> s_retire : NEXT)
#endif
    }
    :: STEP(s_mark)
#ifdef MARK_AFTER_FREE
        fallen = 1;
        pc = (seen_wanted -> s_wake : s_retire)
#else
        if
        :: fallen_count == seen_fallen ->
            assert(HAS(dead, who));
            fallen_count++;
            fallen = 1;
            pc = s_free
        :: else -> pc = s_fallen
        fi
#endif
    }
    :: STEP(s_free)
        if
#ifdef NO_TAG
        :: count[victim] == seen_count && wanted[victim] == seen_wanted ->
#else
        :: count[victim] == seen_count && wanted[victim] == seen_wanted &&
           cell_tag[victim] == seen_tag ->
            cell_tag[victim]++;
#endif
            assert(tenant[victim] == who); /* else a newcomer is robbed */
            count[victim] = 0;
            wanted[victim] = 0;
            pc = (seen_wanted -> s_wake : s_retire);
#ifdef MARK_AFTER_FREE
            pc = s_mark
#endif
        :: else -> pc = s_fallen
        fi
    }
    :: STEP(s_wake)
        WAKE_CELL(victim);
        pc = s_retire
    }
    :: STEP(s_retire)
        if
        :: tenant[victim] == who -> tenant[victim] = NOBODY
        :: else
        fi;
        victim = 0;
        who = 0;
        seen_count = 0;
        seen_wanted = 0;
        seen_tag = 0;
        seen_fallen = 0;
        pc = after;
        after = 0
    }
    od
}

#ifdef NEWCOMER /* somebody dies, and it is not the newcomer itself that waits for ever */
#define EVERYBODY (deaths > 0 && HAS(dead, 0) -> MEMBERS : PEOPLE)
#else
#define EVERYBODY PEOPLE
#endif

init {
    byte k;
    atomic {
        do
        :: k < PEOPLE -> tenant[k] = k; run Member(k, k); k++
        :: else -> break
        od;
#ifdef NEWCOMER
        run Member(NEW, NOBODY);
#endif
        k = 0
    }
    atomic {
        timeout -> /* nothing can happen any more */
        assert(asleep == 0);
        assert(through == EVERYBODY)
    }
}
