/* The asymmetric fence: a pipe's message is published by a plain store, which waits in the
 * publisher's store buffer while its load of the sleepers' word goes ahead. light_fence(),
 * heavy_fence() (fence.hpp); notify_after_store(), SpscRing::publish(), consume() (spsc_ring.hpp);
 * wait_until() with heavy_fence() as its barrier (waiting.hpp).
 *
 * The machine: stores leave the publisher's buffer in order, at any time later (x86; what a weaker
 * machine adds is within one thread what the compiler barrier of NO_LIGHT_FENCE adds here). A
 * read-modify-write empties the buffer first. membarrier(2) makes each CPU that runs a registered
 * publisher empty its buffer before the caller goes on; one that is not running has done so when it
 * was switched out.
 *
 * Checked: publisher and waiter never miss each other: when nothing can happen any more, nobody
 * sleeps before a message. Either may be killed: who dies leaves no more than a message without
 * its wake-up, which the chunk of the sleep makes up for; so only the end without deaths counts.
 *
 * Bounds (-D): MESSAGES; FULL_FENCE a publisher that could not register, with a fence of its own.
 */

#ifndef MESSAGES
#define MESSAGES 3
#endif

byte number;   /* the slots' numbers: how many messages are complete, as the waiter sees it */
byte buffered; /* stores in the publisher's buffer */
bool sleepers;    /* the word's sleepers:1 */
bool unchanged;         /* the word is as the waiter has announced it */
bool unchanged_publisher;  /* ... as the publisher has raised it */
bool asleep;

#define DRAIN number = number + buffered; buffered = 0

active proctype Machine() {
end:
    do
    :: d_step { buffered > 0 -> number++; buffered-- }
    od
}

active proctype Publisher() {
    byte put;
    bool seen;
    do
    :: put < MESSAGES ->
#ifdef NO_LIGHT_FENCE
        if
        :: seen = sleepers; buffered++ /* the compiler has turned them round */
        :: buffered++; seen = sleepers
        fi;
#else
        buffered++;
#ifdef FULL_FENCE
        d_step { DRAIN };
#endif
        seen = sleepers;
#endif
        put++;
        if
        :: seen ->
            seen = 0;
raise:
            atomic { DRAIN; unchanged = 0; unchanged_publisher = 1 };
            if /* futex_wake_one() */
            :: atomic { unchanged_publisher -> asleep = 0 }
            :: else -> goto raise
            fi;
            d_step { /* clear */
                if
                :: unchanged_publisher -> sleepers = 0; unchanged = 0; unchanged_publisher = 0
                :: else
                fi
            }
        :: else
        fi
    :: else -> break
    od
}

active proctype Waiter() {
    byte got;
    bool first;
    do
    :: got < MESSAGES ->
        if
        :: number > got -> got++
        :: else ->
#ifdef FENCE_BEFORE_ANNOUNCE
            d_step { DRAIN };
#endif
            d_step { first = !sleepers; sleepers = 1; unchanged = 1; unchanged_publisher = 0 };
#if !defined(NO_HEAVY_FENCE) && !defined(FULL_FENCE) && !defined(FENCE_BEFORE_ANNOUNCE)
            d_step { DRAIN }; /* heavy_fence() */
#endif
            if
            :: number > got -> got++
            :: else ->
                if
                :: atomic { unchanged -> asleep = 1 }; !asleep
                :: else
                fi
            fi;
            d_step { /* retract() */
                if
                :: first && unchanged -> sleepers = 0; unchanged = 0; unchanged_publisher = 0
                :: else
                fi;
                first = 0
            }
        fi
    :: else -> break
    od
}
