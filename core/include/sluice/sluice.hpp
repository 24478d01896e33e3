// All of Sluice. One header a noun where compile time matters: msgpack.hpp is by far the largest.
#pragma once

#include "sluice/byte_pipe.hpp"
#include "sluice/codec.hpp"
#include "sluice/error.hpp"
#include "sluice/msgpack.hpp"
#include "sluice/pipe.hpp"
#include "sluice/placement.hpp"
#include "sluice/pool.hpp"
#include "sluice/process.hpp"
#include "sluice/queue.hpp"
#include "sluice/topology.hpp"
#include "sluice/wait.hpp"
