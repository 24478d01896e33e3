/* Parking and waking on an EventCountLayout: wait_until(), announce(), retract(), notify_one(),
 * wake_one(), wake_all(), and MpmcRing::pass_on_items(), by which who is woken passes it on.
 *
 * The messages have been claimed, in order; they are published in any order, and taken in order:
 * that is all that matters of the ring here. One step is one access to shared memory or one system
 * call. The steps mirror:
 *
 *   p_...  a put that has its claim: publish(), notify_one()
 *   g_...  a get: attempt(), and the look at the next message after it
 *   a_...  wait_until(): announce(), the second look, futex_wait(), retract()
 *   n_...  wake_one(): raise, futex_wake_one() (FUTEX_CMP_REQUEUE), clear
 *   c_...  close(), notify_all(), wake_all()
 *
 * The word: every announcement and every notification raises its sequence, and only clearing the
 * bit does not, so no value comes twice (but for the wrap at 2^31). What matters of a remembered
 * value is thus only whether the word has changed since: a bit `unchanged` for each member. That is
 * exact, and finite.
 *
 * Checked:
 *   - no wake-up is lost: when nothing can happen any more, nobody sleeps before a message that is
 *     there to be taken, and after close() nobody sleeps at all. A chunk of a sleep ends only once
 *     somebody has died: without deaths nothing makes up for a lost wake-up;
 *   - the bit is never cleared while somebody sleeps, whoever has died (I1 of waiting.hpp).
 *
 * Left out: memory orders (interleavings only; fence.pml has the one place where they matter most),
 * spinning, who rescues a dead claimer (here his claim vanishes with him), the side of the
 * producers, which is the same protocol. Not checked: that loops end. They need not, see README.
 *
 * Bounds (-D): MESSAGES, each put by a producer of its own; CONSUMERS, who are busy elsewhere after
 * GETS messages each; DEATHS; LEAVERS waits that end at their deadline; SPURIOUS sleeps that end
 * for another reason: the bell beside the word; EARLY_CLOSE the ring is closed at any time.
 */

#ifndef MESSAGES
#define MESSAGES 2
#endif
#ifndef CONSUMERS
#define CONSUMERS 2
#endif
#ifndef GETS
#define GETS 1
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef LEAVERS
#define LEAVERS 0
#endif
#ifndef SPURIOUS
#define SPURIOUS 0
#endif

#define MEMBERS (MESSAGES + CONSUMERS + 1)
#define CLOSER (MEMBERS - 1)
#define BIT(number) (1 << (number))
#define ALL (BIT(MEMBERS) - 1)
#define HAS(set, number) (((set) >> (number)) & 1)

#define WRITING 0
#define FULL 1
#define TAKEN 2
#define FREE 3 /* claimed by nobody: the end */
byte messages[MESSAGES + 1];
bool closed;

bool sleepers;     /* the word's sleepers:1 */
short unchanged;   /* a bit a member: the word still is as this member remembers it */
short first;       /* a bit a member: Ticket::first. Forgotten where it cannot matter any more */
short asleep;      /* a bit a member: in the kernel's queue for the word */
short stale = ALL; /* a bit a member: something has changed since it last looked */
short gone;        /* a bit a member: killed, or through */
byte deaths;
byte leavers;
byte spurious;
bool quiet;        /* the monitor has looked: now the ring may be closed */

byte k; /* scratch within a step */

mtype = {
    p_publish,
    g_control, g_look, g_take, g_closed, g_sleepers, g_next,
    a_announce, a_sleep, a_asleep, a_retract,
    n_sleepers, n_raise, n_wake, n_clear,
    c_close, c_sleepers, c_raise, c_wake, c_clear,
    done
};

/* Only who made this change remembers the word as it is. */
#define SET_WORD unchanged = BIT(number); first = first & unchanged
#if DEATHS > 0
#define CHANGED stale = ALL
#else
#define CHANGED skip
#endif

/* Clears the bit where the word is what this member remembers. */
inline clear_bit() {
#ifdef CLEAR_BLINDLY
    if
    :: true ->
#else
    if
    :: HAS(unchanged, number) ->
#endif
        if
        :: sleepers -> assert(asleep == 0); sleepers = 0; SET_WORD
        :: else /* a bit cleared already: the word does not change */
        fi
    :: else
    fi;
    unchanged = unchanged & ~BIT(number)
}

#define AFTER_ATTEMPT (waiting -> a_retract : (over -> done : g_control))
#define STEP(label) d_step { pc == label ->

proctype Member(byte number) {
    mtype pc;
    mtype next;     /* after wake_one() */
    byte head;
    bool waiting;   /* past the announcement: this is the second look */
    bool slept;
    byte gets = GETS;
    bool over;      /* no more to get */
    bool seen_closed;

    d_step {
        if
        :: number < MESSAGES -> head = number;
#ifdef NOTIFY_BEFORE_PUBLISH
            next = p_publish;
            pc = n_sleepers
#else
            pc = p_publish
#endif
        :: number == CLOSER -> pc = c_close
        :: else -> pc = g_control
        fi
    }
end:
    do
    :: atomic { /* killed */
        deaths < DEATHS && pc != done && number != CLOSER ->
        deaths++;
        asleep = asleep & ~BIT(number);
        unchanged = unchanged & ~BIT(number);
        first = first & ~BIT(number);
        stale = stale | BIT(number);
        if
        :: pc == p_publish -> messages[head] = TAKEN; CHANGED
        :: else
        fi;
        pc = done
    }
    :: atomic { /* through */
        pc == done ->
        pc = 0; next = 0; head = 0; waiting = 0; slept = 0; seen_closed = 0; over = 0;
        gets = 0;
        unchanged = unchanged & ~BIT(number);
        gone = gone | BIT(number);
        break
    }

    /* ------------------------------------------------------------------ a put */
    :: STEP(p_publish)
        messages[head] = FULL;
        CHANGED;
#ifdef NOTIFY_BEFORE_PUBLISH
        pc = done
#else
        next = done;
        pc = n_sleepers
#endif
    }

    /* ------------------------------------------------------------------ a get */
    :: STEP(g_control)
        seen_closed = closed;
#if DEATHS > 0
        if
        :: waiting -> stale = stale & ~BIT(number)
        :: else
        fi;
#endif
        pc = g_look
    }
    :: STEP(g_look)
        do /* what is taken stays taken: no step of its own */
        :: messages[head] == TAKEN -> head++
        :: else -> break
        od;
        if
        :: messages[head] == FULL -> pc = g_take
        :: messages[head] == FREE && seen_closed ->
            over = 1;
            pc = (waiting -> a_retract : done)
        :: else -> /* the attempt has failed */
            seen_closed = 0;
            pc = (waiting -> a_sleep : a_announce)
        fi
    }
    :: STEP(g_take)
        if
        :: messages[head] == FULL ->
            messages[head] = TAKEN;
            CHANGED;
            head++;
            gets--;
            over = (gets == 0);
            slept = 0;
            seen_closed = 0;
#if defined(EARLY_CLOSE) && !defined(NO_WAKE_AFTER_CLOSE)
            pc = g_closed
#else
            pc = g_sleepers
#endif
        :: else -> pc = g_look
        fi
    }
#ifdef EARLY_CLOSE
    :: STEP(g_closed) /* after_take(): getters wait until nobody reads any more */
        if
        :: closed -> next = g_sleepers; pc = c_sleepers
        :: else -> pc = g_sleepers
        fi
    }
#endif
    :: STEP(g_sleepers) /* pass_on_items() */
#ifdef NO_PASS_ON
        pc = AFTER_ATTEMPT
#else
        pc = (sleepers -> g_next : AFTER_ATTEMPT)
#endif
    }
    :: STEP(g_next)
        next = AFTER_ATTEMPT;
        pc = (messages[head] == FULL -> n_raise : next);
        if
        :: pc == next -> next = 0
        :: else
        fi
    }

    /* ------------------------------------------------------------------ a wait */
    :: STEP(a_announce)
        first = (sleepers -> 0 : BIT(number));
        sleepers = 1;
        SET_WORD;
#ifdef NO_SECOND_LOOK
        pc = a_sleep
#else
        waiting = 1;
        pc = g_control
#endif
    }
    :: STEP(a_sleep) /* futex_wait() compares and queues in one step */
        waiting = 0;
#ifdef SLEEP_ON_ANY_VALUE
        if
        :: true ->
#else
        if
        :: HAS(unchanged, number) ->
#endif
            asleep = asleep | BIT(number);
            pc = a_asleep
        :: else -> pc = a_retract
        fi;
#if LEAVERS > 0
        slept = 1
#endif
    }
    :: d_step { /* woken: who woke it took it off the queue */
        pc == a_asleep && !HAS(asleep, number) ->
        pc = a_retract
    }
    :: d_step { /* a chunk has ended */
        pc == a_asleep && HAS(asleep, number) && deaths > 0 && HAS(stale, number) ->
        asleep = asleep & ~BIT(number);
        pc = a_retract
    }
    :: d_step { /* the bell beside the word has rung */
        pc == a_asleep && HAS(asleep, number) && spurious < SPURIOUS ->
        spurious++;
        asleep = asleep & ~BIT(number);
        pc = a_retract
    }
    :: STEP(a_retract)
        waiting = 0;
        stale = stale | BIT(number);
        if
#ifdef RETRACT_THOUGH_NOT_FIRST
        :: true -> clear_bit()
#else
        :: HAS(first, number) -> clear_bit()
#endif
        :: else
        fi;
        first = first & ~BIT(number);
        unchanged = unchanged & ~BIT(number);
        pc = (over -> done : g_control)
    }
    :: d_step { /* the deadline has passed: after a sleep and one more attempt */
        pc == a_announce && slept && leavers < LEAVERS ->
        leavers++;
        pc = done
    }

    /* ------------------------------------------------------------------ wake_one() */
    :: STEP(n_sleepers)
        if
        :: sleepers -> pc = n_raise
        :: else -> pc = next; next = 0
        fi
    }
    :: STEP(n_raise)
#ifndef NO_RAISE
        SET_WORD;
        first = 0;
#endif
        pc = n_wake
    }
    :: atomic { /* futex_wake_one(): compares and wakes in one step; the kernel picks whom */
        pc == n_wake ->
        if
#if !defined(NO_RAISE)
        :: !HAS(unchanged, number) -> pc = n_raise
        :: HAS(unchanged, number) && asleep == 0 -> pc = n_clear
#else
        :: asleep == 0 -> unchanged = unchanged | BIT(number); pc = n_clear
#endif
        :: HAS(unchanged, number) && asleep != 0 ->
            k = 0;
            do
            :: HAS(asleep, k) -> break
            :: (asleep >> (k + 1)) != 0 -> k++
            od;
            asleep = asleep & ~BIT(k);
            k = 0;
#ifdef CLEAR_WITHOUT_ASKING
            pc = n_clear
#else
            if
            :: asleep != 0 ->
                unchanged = unchanged & ~BIT(number);
                pc = next;
                next = 0
            :: else -> pc = n_clear
            fi
#endif
        fi
    }
    :: STEP(n_clear)
        clear_bit();
        pc = next;
        next = 0
    }

    /* ------------------------------------------------------------------ close(), wake_all() */
    :: d_step { /* only when all is quiet, so that it hides no wake-up that was lost */
#ifdef EARLY_CLOSE
        pc == c_close ->
#else
        pc == c_close && quiet ->
#endif
        closed = 1;
        CHANGED;
        next = done;
        pc = c_sleepers
    }
    :: STEP(c_sleepers)
        pc = (sleepers -> c_raise : next);
        if
        :: pc == next -> next = 0
        :: else
        fi
    }
    :: STEP(c_raise)
        SET_WORD;
        pc = c_wake
    }
    :: STEP(c_wake)
        asleep = 0;
        pc = c_clear
    }
    :: STEP(c_clear)
        clear_bit();
        pc = next;
        next = 0
    }
    od
}

init {
    atomic {
        messages[MESSAGES] = FREE;
        k = 0;
        do
        :: k < MEMBERS -> run Member(k); k++
        :: else -> break
        od;
        k = 0
    }
    atomic {
        timeout -> /* nothing can happen any more */
        do
        :: k < MEMBERS ->
            assert(HAS(gone | asleep, k) || (k == CLOSER && !closed));
            k++
        :: else -> break
        od;
        k = 0;
        do
        :: messages[k] == TAKEN -> k++
        :: else -> break
        od;
        assert(messages[k] == FREE || asleep == 0);
        k = 0;
        quiet = 1
    }
    atomic {
        timeout ->
        do
        :: k < MEMBERS -> assert(HAS(gone, k)); k++
        :: else -> break
        od;
        k = 0
    }
}
