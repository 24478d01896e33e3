/* The owner-tagged ring (MpmcRing) and the rescue of its dead members, by MpmcRing and Members.
 *
 * Any member may be killed between any two steps, the rescuer too, and may be stopped there for as
 * long as it likes. One step is one access to shared memory; what a thread computes for itself is
 * folded into the access before it. The steps are named, and mirror:
 *
 *   p_...  MpmcRing::claim(), publish(), abandon()
 *   g_...  MpmcRing::next() (claim_read() and take()), claim_given_back(), commit(), give_back(),
 *          unfinished(), finish_clearing()
 *   x_...  MpmcRing::pass_by()
 *   r_...  Members::rescue(), MpmcRing::sweep(), Members::retire()
 *   j_...  Members::join()
 *   stuck  wait_until(): stuck_putting(), stuck_getting(), and the sleep. Who sleeps is woken by
 *          any change: that wake-ups arrive is what waiting.pml is about. So if nothing can change
 *          any more while somebody sleeps, the ring is stuck.
 *
 * Checked:
 *   - nobody who lives is left waiting, and every operation ends however the scheduler treats it
 *     (the graph of states has no cycle);
 *   - an acknowledged message (one that was published) is delivered, and once;
 *   - it is delivered as it was written;
 *   - the order of delivery is that of the claims, but for messages given back;
 *   - a claim is taken only from the dead; who lives finds his claim as he left it;
 *   - who reads "closed" leaves no message behind; and in the end a newcomer finds every slot
 *     EMPTY, at the same position for readers and writers.
 *
 * Left out: memory orders (interleavings only), the wrap-around of laps and tags (a rescuer that is
 * stopped while the very slot is rescued 32 times in one lap), damaged segments, the accounting of
 * join() and task_done(), who holds a claim in another thread than his own. The walks over the
 * member table are one step: they only look for the dead, and the dead stay dead.
 *
 * A message given back is RETURNED here, a state of its own, which a reader finds wherever it lies,
 * by its slot. The code of today makes it FULL again and looks for it behind find_head(): that is
 * GIVEN_BACK_BY_HEAD, and it loses messages (README.md).
 *
 * Bounds (-D): CAP slots, PRODUCERS with PUTS messages each, CONSUMERS, DEATHS (as many, wherever
 * enough are left to die), BACKS leases given back, ABANDONS slots given up, NEWCOMER a consumer
 * that joins under an id that a rescue has freed, LEAVES consumers that stop getting and leave;
 * SHARED_VIEW the consumers are threads of one process, EXTENTS memory lies beside each slot, HINTS
 * the shared hints are kept, at each position, EARLY_CLOSE the ring is closed at any time, else
 * when the producers are through.
 */

#ifndef CAP
#define CAP 2
#endif
#ifndef PRODUCERS
#define PRODUCERS 1
#endif
#ifndef PUTS
#define PUTS 2
#endif
#ifndef CONSUMERS
#define CONSUMERS 2
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef BACKS
#define BACKS 0
#endif
#ifndef ABANDONS
#define ABANDONS 0
#endif
#ifndef LEAVES
#define LEAVES 0
#endif
#ifdef NEWCOMER
#define NEWCOMERS 1
#else
#define NEWCOMERS 0
#endif

#define IDS (PRODUCERS + CONSUMERS) /* cells for all; one more for the auditor */
/* Members are numbered from 1: producers, consumers, the newcomer, the auditor. The number is what
 * a cell of the member table holds: a thread's incarnation, never used twice. */
#define FIRST_CONSUMER (PRODUCERS + 1)
#define THE_NEWCOMER (IDS + 1)
#define THE_AUDITOR (IDS + NEWCOMERS + 1)

/* The control word: lap | tag:2 | state:3 | owner:3. */
#define EMPTY 0
#define WRITING 1
#define FULL 2
#define READING 3
#define SKIP 4
#define CLEARING 5
#ifdef GIVEN_BACK_BY_HEAD
#define RETURNED FULL
#else
#define RETURNED 6
#endif
#define WORD(lap, tag, state, owner) (((lap) << 8) | (((tag) & 3) << 6) | ((state) << 3) | (owner))
#define LAP(word) ((word) >> 8)
#define TAG(word) (((word) >> 6) & 3)
#define STATE(word) (((word) >> 3) & 7)
#define OWNER(word) ((word) & 7)
#define WITH(word, state, owner) WORD(LAP(word), TAG(word), state, owner)
#define NEXT_LAP(word) WORD(LAP(word) + 1, TAG(word), EMPTY, 0)
#ifdef NO_TAG
#define RESCUED(word, state) WITH(word, state, 0)
#else
#define RESCUED(word, state) WORD(LAP(word), TAG(word) + 1, state, 0)
#endif
#define FIRST CAP /* the first position: head - CAP is not below 0 */
#define POSITION(word, index) (LAP(word) * CAP + (index))

/* Shared memory. */
short slots[CAP];
byte payload[CAP];
byte closed_flag;
byte epoch;
byte tail_hint = FIRST;
byte head_hint = FIRST;
byte cells[IDS + 2];
byte extents; /* a bit a slot: memory lies beside it. ValueSlotLayout::extent_bytes says so */

/* A process's view: its threads share it. */
byte head_of[THE_AUDITOR + 1] = FIRST;
byte epoch_seen[THE_AUDITOR + 1];

/* What the models know and the code does not. */
byte ended;        /* a bit a member: killed. The bells have rung */
byte finished;     /* a bit a member */
byte moved = 255;  /* a bit a member: something has changed since it looked */
byte deaths;
byte backs;
byte abandons;
byte leaves;
byte left_early; /* a bit a member */
byte claimer[CAP];    /* whose claim it is */
byte content[CAP];    /* which message was published */
byte given_back;      /* a bit a slot: the message was taken before */
short published;      /* a bit a message */
short delivered;

#define BIT(number) (1 << (number))
#define HAS(set, number) (((set) >> (number)) & 1)
/* Who waits looks again. Wake-ups for one wake everybody: which one is waiting.pml's question. */
#define ALL_CONSUMERS (255 - ALL_PRODUCERS)
#define ALL_PRODUCERS (BIT(FIRST_CONSUMER) - 1)
#define NOTIFY_ITEMS moved = moved | ALL_CONSUMERS
#define NOTIFY_ROOM moved = moved | (closed_flag -> 255 : ALL_PRODUCERS)
#define NOTIFY_ALL moved = 255

hidden byte k; /* scratch within a step */

mtype = {
    p_look, p_hint, p_swap, p_owner, p_note_hint, p_closed, p_note, p_write, p_publish,
    p_late_write, p_abandon, p_full,
    g_start, g_epoch, g_find, g_scan, g_scan_swap, g_keep_epoch, g_head, g_look, g_hint, g_swap,
    g_take, g_late_copy, g_keep, g_note_hint, g_held, g_commit, g_release, g_empty, g_back, g_raise,
    g_count,
    x_swap, x_release, x_empty,
    stuck, r_early, r_slot, r_ask, r_swap, r_raise, r_retire,
    j_join, done
};

#define SLOT (pos % CAP)
#define AHEAD (LAP(seen) - pos / CAP)

#ifdef HINTS
#define NOTE_TAIL_HINT p_note_hint
#else
#define NOTE_TAIL_HINT p_closed
#endif

/* Where threads share a process's view, each access to it is a step; else it is nobody else's. */
#ifdef SHARED_VIEW
#define START_WALK pc = g_head
#define KEEP_HEAD(next) kept = pos; then = next; pc = g_keep
#define HAVE_CLAIMED kept = pos + 1; then = g_note_hint; pc = g_keep
#define KEEP_EPOCH pc = g_keep_epoch
#else
#define START_WALK pos = head_of[view]; pc = g_look
#define KEEP_HEAD(next) head_of[view] = pos; pc = next
#ifdef HINTS
#define HAVE_CLAIMED head_of[view] = pos + 1; pc = g_note_hint
#else
#define HAVE_CLAIMED head_of[view] = pos + 1; AFTER_CLAIM
#endif
#define KEEP_EPOCH epoch_seen[view] = seen_epoch; seen_epoch = 0; START_WALK
#endif
/* claim_read() holds the slot; take() is through. */
#define AFTER_CLAIM if :: seen != 0 -> pc = g_held :: else -> forget(); pc = g_start fi
#ifdef GIVEN_BACK_BY_HEAD
#define START_SCAN pos = head_of[view]; pc = g_find
#else
#define START_SCAN i = 0; pc = g_scan
#endif

/* A message is delivered at its commit store. */
inline deliver() {
    assert(message == content[SLOT]);
    assert(message != 0 && HAS(published, message));
    assert(!HAS(delivered, message));
    delivered = delivered | BIT(message);
    message = 0
}

/* A message is claimed for reading for the first time: nothing older may be waiting. */
inline check_order() {
    if
    :: !HAS(given_back, SLOT) ->
        k = 0;
        do
        :: k < CAP ->
            assert(!(POSITION(slots[k], k) < pos &&
                     (STATE(slots[k]) == WRITING ||
                      (STATE(slots[k]) == FULL && !HAS(given_back, k)))));
            k++
        :: else -> break
        od;
        k = 0
    :: else
    fi
}

/* Between operations nothing is remembered. */
inline forget() {
    pos = 0; seen = 0; i = 0; message = 0; seen_epoch = 0; seen_closed = 0;
    moved = moved | BIT(number)
}

inline attempt() {
    if
    :: producer -> pos = tail; pc = p_look
    :: else -> pc = g_start
    fi
}

/* After a put. */
inline put_next() {
    forget();
    if
    :: left == 0 -> pc = done
    :: else -> attempt()
    fi
}

/* The next of the dead to be rescued, from this id on; where there is none, back to the attempt. */
inline next_dead(from) {
    id_dead = from;
    do
#ifdef RESCUE_WITHOUT_PROOF
    :: id_dead <= IDS && (cells[id_dead] == 0 || id_dead == id) -> id_dead++
#else
    :: id_dead <= IDS && (cells[id_dead] == 0 || !HAS(ended, cells[id_dead])) -> id_dead++
#endif
    :: else -> break
    od;
    if
    :: id_dead <= IDS ->
        dead = cells[id_dead];
#ifdef RETIRE_BEFORE_SWEEP
        pc = r_early
#else
        pc = r_slot
#endif
    :: else ->
        id_dead = 0;
        if
        :: id == 0 -> pc = j_join
        :: else -> attempt()
        fi
    fi
}

/* Nothing is left of who is gone. */
inline vanish() {
    pc = 0; then = 0; back_to = 0; id = 0; view = 0; tail = 0; left = 0; pos = 0; seen = 0; i = 0;
    message = 0; id_dead = 0; dead = 0; seen_epoch = 0; seen_closed = 0; mended = 0; kept = 0;
    NOTIFY_ALL
}

#define STEP(label) d_step { pc == label ->

proctype Member(byte number; bool producer) {
    mtype pc;
    mtype then;      /* after g_keep */
    mtype back_to;   /* after x_... */
    byte id;
    byte view;
    byte tail = FIRST;
    byte left;       /* messages to put */
    byte pos;
    short seen;
    byte i;
    byte message;
    byte id_dead;
    byte dead;       /* whose proof of death it has */
    bool mended;
    byte seen_epoch;
    bool seen_closed;
    byte kept;

    d_step {
        view = number;
        id = number;
        if
        :: number == THE_AUDITOR -> id = IDS + 1; head_of[view] = head_hint; next_dead(1)
        :: number == THE_NEWCOMER && number != THE_AUDITOR -> id = 0; pc = j_join
        :: producer -> left = PUTS; pos = tail; pc = p_look
        :: else -> pc = g_start;
#ifdef SHARED_VIEW
            view = FIRST_CONSUMER
#endif
        fi
    }
end:
    do
    /* ------------------------------------------------------------------ killed, or through */
    :: atomic {
        deaths < DEATHS && number != THE_AUDITOR && pc != done && id != 0 ->
        deaths++;
        ended = ended | BIT(number);
        vanish();
        break
    }
    :: atomic { /* Members::leave() */
        pc == g_start && id != 0 && leaves < LEAVES && number != THE_AUDITOR ->
        leaves++;
        cells[id] = 0;
        finished = finished | BIT(number);
        left_early = left_early | BIT(number);
        vanish();
        break
    }
    :: atomic {
        pc == done ->
        finished = finished | BIT(number);
        vanish();
        break
    }

#ifdef NEWCOMER
    /* ------------------------------------------------------------------ joining */
    :: d_step { /* any free cell will do; if there is none, after a rescue */
        pc == j_join && deaths > 0 ->
        k = 1;
        do
        :: k <= IDS && cells[k] != 0 -> k++
        :: else -> break
        od;
        if
        :: k <= IDS -> cells[k] = number; id = k; head_of[view] = head_hint; pc = g_start
        :: else -> next_dead(1)
        fi
    }
#endif

    /* ------------------------------------------------------------------ claim() */
    :: STEP(p_look)
        seen = slots[SLOT];
        if
        :: AHEAD == 0 && STATE(seen) == EMPTY -> pc = p_swap
        :: AHEAD == 0 && STATE(seen) != EMPTY -> pos++
        :: AHEAD > 0 ->
            k = POSITION(seen, SLOT) + 1;
            if
            :: STATE(seen) == EMPTY -> k = k - CAP
            :: else
            fi;
            pos = (k > pos -> k : pos + 1);
            k = 0;
#ifdef HINTS
            pc = p_hint
#endif
        :: AHEAD < 0 ->
            tail = pos;
            if
            :: STATE(seen) == SKIP -> back_to = p_look; pc = x_swap
            :: else -> pc = p_full
            fi
        fi
    }
#ifdef HINTS
    :: STEP(p_hint)
        pos = (tail_hint > pos -> tail_hint : pos);
        pc = p_look
    }
#endif
    :: STEP(p_swap)
        if
        :: slots[SLOT] == seen ->
#ifdef ANONYMOUS_CLAIM
            seen = WITH(seen, WRITING, 0);
            pc = p_owner;
#else
            seen = WITH(seen, WRITING, id);
            pc = NOTE_TAIL_HINT;
#endif
            slots[SLOT] = seen;
            claimer[SLOT] = number;
            tail = pos + 1
        :: else -> pc = p_look
        fi
    }
#ifdef ANONYMOUS_CLAIM
    :: STEP(p_owner)
        seen = WITH(seen, WRITING, id); slots[SLOT] = seen; pc = NOTE_TAIL_HINT
    }
#endif
#ifdef HINTS
    :: STEP(p_note_hint)
        tail_hint = pos;
        pc = p_closed
    }
#endif
    :: STEP(p_closed)
        if
#ifndef NO_LOOK_AT_CLOSED
        :: closed_flag -> left = 1; pc = p_abandon
#endif
        :: else ->
            message = (number - 1) * PUTS + left;
#ifdef PUBLISH_BEFORE_WRITE
            pc = p_publish
#elif defined(EXTENTS)
            pc = p_note
#else
            pc = p_write
#endif
        fi
    }
#ifdef EXTENTS
    :: STEP(p_note) /* write_extent(): noted before it is taken */
        assert(!HAS(extents, SLOT));
        extents = extents | BIT(SLOT);
        pc = p_write
    }
#endif
    :: STEP(p_write)
        payload[SLOT] = message;
        pc = p_publish
    }
    :: d_step {
        pc == p_write && abandons < ABANDONS ->
        abandons++;
        message = 0;
        pc = p_abandon
    }
    :: STEP(p_publish)
        assert(slots[SLOT] == seen && claimer[SLOT] == number);
        slots[SLOT] = WITH(seen, FULL, 0);
        claimer[SLOT] = 0;
        content[SLOT] = message;
        published = published | BIT(message);
        NOTIFY_ITEMS;
#ifdef PUBLISH_BEFORE_WRITE
        pc = p_late_write
    }
    :: STEP(p_late_write)
        payload[SLOT] = message;
#endif
        left--;
        put_next()
    }
    :: STEP(p_abandon)
        assert(slots[SLOT] == seen && claimer[SLOT] == number);
        slots[SLOT] = WITH(seen, SKIP, 0);
        claimer[SLOT] = 0;
        NOTIFY_ITEMS;
        left--;
        put_next()
    }
    :: STEP(p_full)
        if
        :: closed_flag -> forget(); left = 0; pc = done
        :: else -> pc = stuck
        fi
    }

    /* ------------------------------------------------------------------ pass_by() */
    :: STEP(x_swap)
        if
        :: slots[SLOT] == seen ->
#ifdef EXTENTS
            if
            :: HAS(extents, SLOT) ->
                seen = WITH(seen, CLEARING, id);
                slots[SLOT] = seen;
                claimer[SLOT] = number;
                pc = x_release
            :: else -> slots[SLOT] = NEXT_LAP(seen); NOTIFY_ROOM; pc = back_to; back_to = 0
            fi
#else
            slots[SLOT] = NEXT_LAP(seen);
            NOTIFY_ROOM;
            pc = back_to;
            back_to = 0
#endif
        :: else -> pc = back_to; back_to = 0
        fi
    }
#ifdef EXTENTS
    :: STEP(x_release)
        extents = extents & ~BIT(SLOT);
        pc = x_empty
    }
    :: STEP(x_empty)
        assert(slots[SLOT] == seen && claimer[SLOT] == number);
        slots[SLOT] = NEXT_LAP(seen);
        claimer[SLOT] = 0;
        NOTIFY_ROOM;
        pc = back_to;
        back_to = 0
    }
#endif

    /* ------------------------------------------------------------------ next() */
    :: STEP(g_start)
        seen_closed = closed_flag;
        seen_epoch = epoch;
#ifdef SHARED_VIEW
        pc = g_epoch
    }
    :: STEP(g_epoch)
#endif
        if
        :: seen_epoch != epoch_seen[view] -> START_SCAN
        :: else -> seen_epoch = 0; START_WALK
        fi
    }
#ifdef GIVEN_BACK_BY_HEAD
    :: STEP(g_find) /* find_head() */
        seen = slots[SLOT];
        if
        :: AHEAD < 0 || (AHEAD == 0 && STATE(seen) != READING && STATE(seen) != CLEARING) ->
            kept = pos;
            pos = pos - CAP;
            pc = g_scan
        :: else ->
            k = (AHEAD > 0 -> POSITION(seen, SLOT) - CAP + 1 : 0);
            pos = (k > pos -> k : pos + 1);
            k = 0
        fi
    }
    :: STEP(g_scan)
        seen = slots[SLOT];
        if
        :: AHEAD == 0 && STATE(seen) == FULL -> pc = g_scan_swap
        :: else -> pos++;
            if
            :: pos == kept -> kept = 0; KEEP_EPOCH
            :: else
            fi
        fi
    }
    :: STEP(g_scan_swap)
        if
        :: slots[SLOT] == seen ->
            seen = WITH(seen, READING, id);
            slots[SLOT] = seen;
            claimer[SLOT] = number;
            kept = 0;
            pc = g_held
        :: else -> pos++;
            if
            :: pos == kept -> kept = 0; KEEP_EPOCH
            :: else -> pc = g_scan
            fi
        fi
    }
#else
    :: STEP(g_scan) /* claim_given_back() */
        seen = slots[i];
        if
        :: STATE(seen) == RETURNED -> pc = g_scan_swap
        :: else -> i++;
            if
            :: i == CAP -> i = 0;
#ifdef EPOCH_AFTER_SCAN
                seen_epoch = epoch;
#endif
                KEEP_EPOCH
            :: else
            fi
        fi
    }
    :: STEP(g_scan_swap)
        if
        :: slots[i] == seen ->
            pos = POSITION(seen, i);
            i = 0;
            seen = WITH(seen, READING, id);
            slots[SLOT] = seen;
            claimer[SLOT] = number;
            pc = g_held
        :: else -> i++;
            if
            :: i == CAP -> i = 0; KEEP_EPOCH
            :: else -> pc = g_scan
            fi
        fi
    }
#endif
#ifdef SHARED_VIEW
    :: STEP(g_keep_epoch)
        if
        :: epoch_seen[view] != seen_epoch -> NOTIFY_ITEMS
        :: else
        fi;
        epoch_seen[view] = seen_epoch;
        seen_epoch = 0;
        pc = g_head
    }
    :: STEP(g_head)
        pos = head_of[view];
        pc = g_look
    }
    :: STEP(g_keep)
        if
        :: head_of[view] != kept -> NOTIFY_ITEMS
        :: else
        fi;
        head_of[view] = kept;
        kept = 0;
        pc = then;
        then = 0;
#ifndef HINTS
        if
        :: pc == g_note_hint -> AFTER_CLAIM
        :: else
        fi
#endif
    }
#endif
    :: STEP(g_look)
        seen = slots[SLOT];
        if
        :: AHEAD == 0 && (STATE(seen) == FULL || STATE(seen) == RETURNED) -> pc = g_swap
        :: AHEAD == 0 && STATE(seen) == EMPTY ->
            KEEP_HEAD((seen_closed -> g_count : stuck))
        :: AHEAD == 0 && STATE(seen) == SKIP -> back_to = g_look; pc = x_swap
        :: AHEAD == 0 && STATE(seen) == WRITING ->
#ifdef STEP_OVER_WRITING
            pos++
#else
            pc = stuck
#endif
        :: AHEAD == 0 && (STATE(seen) == READING || STATE(seen) == CLEARING) -> pos++
        :: AHEAD > 0 ->
            k = POSITION(seen, SLOT) - CAP + 1;
            pos = (k > pos -> k : pos + 1);
            k = 0;
#ifdef HINTS
            pc = g_hint
#endif
        :: AHEAD < 0 -> pc = (seen_closed -> g_count : stuck)
        fi
    }
#ifdef HINTS
    :: STEP(g_hint)
        pos = (head_hint > pos -> head_hint : pos);
        pc = g_look
    }
#endif
    :: STEP(g_swap) /* claim_read() */
        if
        :: slots[SLOT] == seen ->
            check_order();
            seen = WITH(seen, READING, id);
            slots[SLOT] = seen;
            claimer[SLOT] = number;
            HAVE_CLAIMED
        :: else -> pc = g_look
        fi
    }
#ifdef HINTS
    :: STEP(g_note_hint)
        head_hint = pos;
        AFTER_CLAIM
    }
#endif
#ifndef EXTENTS
    :: d_step { /* take(), instead: copies, then one exchange */
        pc == g_swap ->
        message = payload[SLOT];
        pc = g_take
    }
    :: STEP(g_take)
        if
        :: slots[SLOT] == seen ->
            check_order();
            slots[SLOT] = NEXT_LAP(seen);
            given_back = given_back & ~BIT(SLOT);
            NOTIFY_ROOM;
            seen = 0;
#ifdef TAKE_BEFORE_COPY
            message = content[SLOT];
            pc = g_late_copy
#else
            deliver();
            HAVE_CLAIMED
#endif
        :: else -> message = 0; pc = g_look
        fi
    }
#ifdef TAKE_BEFORE_COPY
    :: STEP(g_late_copy)
        assert(payload[SLOT] == message);
        delivered = delivered | BIT(message);
        HAVE_CLAIMED
    }
#endif
#endif
    :: STEP(g_held)
        message = payload[SLOT];
        pc = g_commit
    }
    :: d_step { /* a lease is dropped: give_back() */
        pc == g_held && backs < BACKS && number != THE_AUDITOR ->
        backs++;
        pc = g_back
    }
    :: STEP(g_commit)
        assert(slots[SLOT] == seen && claimer[SLOT] == number);
        deliver();
        given_back = given_back & ~BIT(SLOT);
#ifdef EXTENTS
        seen = WITH(seen, CLEARING, id);
        slots[SLOT] = seen;
#ifdef RELEASE_AFTER_EMPTY
        pc = g_empty
#else
        pc = g_release
#endif
    }
    :: STEP(g_release)
        extents = extents & ~BIT(SLOT);
#ifdef RELEASE_AFTER_EMPTY
        forget();
        pc = g_start
#else
        pc = g_empty
#endif
    }
    :: STEP(g_empty)
        assert(slots[SLOT] == seen && claimer[SLOT] == number);
#endif
        slots[SLOT] = NEXT_LAP(seen);
        claimer[SLOT] = 0;
        NOTIFY_ROOM;
#ifdef RELEASE_AFTER_EMPTY
        pc = g_release
#else
        forget();
        pc = g_start
#endif
    }
    :: STEP(g_back)
        assert(slots[SLOT] == seen && claimer[SLOT] == number);
        slots[SLOT] = WITH(seen, RETURNED, 0);
        claimer[SLOT] = 0;
        given_back = given_back | BIT(SLOT);
        pc = g_raise
    }
    :: STEP(g_raise)
        epoch++;
        NOTIFY_ITEMS;
        forget();
        pc = g_start
    }
    :: STEP(g_count) /* unfinished(), up to the first slot that counts */
        k = STATE(slots[i]);
#ifdef CLOSED_IF_EMPTY
        k = EMPTY;
#endif
        if
        :: k == READING || k == FULL || k == WRITING || k == RETURNED -> i = 0; pc = stuck
        :: else -> i++;
            if
            :: i == CAP -> forget(); pc = done
            :: else
            fi
        fi;
        k = 0
    }

    /* ------------------------------------------------------------------ before each sleep */
    :: d_step {
        pc == stuck && HAS(moved, number) ->
        forget();
        moved = moved & ~BIT(number);
        if
        :: producer -> /* looks only after whom it waits for */
            k = OWNER(slots[tail % CAP]);
            if
            :: k != 0 && cells[k] != 0 && HAS(ended, cells[k]) -> next_dead(k)
            :: else -> attempt()
            fi
        :: else -> next_dead(1)
        fi
    }

    /* ------------------------------------------------------------------ sweep(), retire() */
#ifdef RETIRE_BEFORE_SWEEP
    :: STEP(r_early)
        if
        :: cells[id_dead] == dead -> cells[id_dead] = 0; pc = r_slot
        :: else -> dead = 0; next_dead(id_dead + 1)
        fi
    }
#endif
    :: STEP(r_slot)
        seen = slots[i];
        if
        :: OWNER(seen) == id_dead && (STATE(seen) == WRITING || STATE(seen) == READING ||
                                      STATE(seen) == CLEARING) ->
#if defined(NO_REASK) || defined(RETIRE_BEFORE_SWEEP)
            pc = r_swap
#else
            pc = r_ask
#endif
        :: else -> seen = 0; i++;
            if
            :: i == CAP -> i = 0; pc = r_raise
            :: else
            fi
        fi
    }
    :: STEP(r_ask)
        if
        :: cells[id_dead] == dead -> pc = r_swap
        :: else -> seen = 0; i = 0; mended = 0; pc = r_retire /* whose exchange will fail */
        fi
    }
    :: STEP(r_swap)
        if
        :: slots[i] == seen ->
            assert(HAS(ended, claimer[i]));
            claimer[i] = 0;
            if
            :: STATE(seen) == READING ->
                slots[i] = RESCUED(seen, RETURNED);
                given_back = given_back | BIT(i)
#ifdef CLEARING_BACK_TO_FULL
            :: STATE(seen) == CLEARING -> slots[i] = RESCUED(seen, RETURNED)
#endif
            :: else -> slots[i] = RESCUED(seen, SKIP)
            fi;
            mended = 1
        :: else
        fi;
        seen = 0;
        i++;
        if
        :: i == CAP -> i = 0; pc = r_raise
        :: else -> pc = r_slot
        fi
    }
    :: STEP(r_raise)
#ifdef NO_EPOCH
        skip;
#else
#ifdef EPOCH_ONLY_IF_MENDED
        epoch = epoch + mended;
#else
        epoch++;
#endif
#endif
        NOTIFY_ALL;
        mended = 0;
        pc = r_retire
    }
    :: STEP(r_retire)
        if
        :: cells[id_dead] == dead -> cells[id_dead] = 0
        :: else
        fi;
        dead = 0;
        if
        :: producer -> id_dead = 0; attempt()
        :: else -> next_dead(id_dead + 1)
        fi
    }
    od
}

init {
    atomic {
        k = 0;
        do
        :: k < CAP -> slots[k] = WORD(FIRST / CAP, 0, EMPTY, 0); k++
        :: else -> break
        od;
        k = 1;
        do
        :: k <= IDS + NEWCOMERS ->
            if
            :: k <= IDS -> cells[k] = k
            :: else
            fi;
            run Member(k, k <= PRODUCERS);
            k++
        :: else -> break
        od;
        k = 0
    }
    d_step { /* close(), at any time */
#ifndef EARLY_CLOSE
        ((finished | ended) & (BIT(FIRST_CONSUMER) - 2)) == BIT(FIRST_CONSUMER) - 2 ->
#endif
        closed_flag = 1;
        NOTIFY_ALL
    }
    atomic {
        timeout -> /* nothing can happen any more */
        k = 1;
        do
        :: k <= IDS + NEWCOMERS ->
            assert(HAS(finished | ended, k) || (k > IDS && deaths == 0));
            k++
        :: else -> break
        od;
        k = 0;
        /* A consumer has read "closed": it left nothing behind. */
        assert(((finished & ~left_early) >> FIRST_CONSUMER) == 0 || delivered == published);
        run Member(THE_AUDITOR, false)
    }
    atomic {
        timeout ->
        assert(HAS(finished, THE_AUDITOR));
        assert(delivered == published);
        k = 0;
        do
        :: k < CAP ->
            assert(OWNER(slots[k]) == 0);
#ifdef EXTENTS
            /* What a dead one had not cleared, the next writer will. */
            assert(STATE(slots[k]) == EMPTY || STATE(slots[k]) == SKIP);
#else
            assert(STATE(slots[k]) == EMPTY);
            assert(POSITION(slots[k], k) - POSITION(slots[0], 0) < CAP);
            assert(POSITION(slots[0], 0) - POSITION(slots[k], k) < CAP);
#endif
            k++
        :: else -> break
        od;
        k = 0
    }
}
