// All of Sluice. One header a noun where compile time matters: msgpack.hpp is by far the largest.
#pragma once

#include "sluice/byte_pipe.hpp"
#include "sluice/codec.hpp"
#include "sluice/condition.hpp"
#include "sluice/error.hpp"
#include "sluice/guarded.hpp"
#include "sluice/lock.hpp"
#include "sluice/msgpack.hpp"
#include "sluice/pipe.hpp"
#include "sluice/placement.hpp"
#include "sluice/process.hpp"
#include "sluice/queue.hpp"
#include "sluice/rw_lock.hpp"
#include "sluice/topology.hpp"
#include "sluice/wait.hpp"
