// The main process: makes the channels, starts a process for each stage, watches over them,
// and puts their reports together.
#pragma once

#include "settings.hpp"

namespace sluice::pipeline {

inline constexpr int kExitGood = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitInterrupted = 130;

/// Runs the pipeline to its end and returns the program's exit code; what there is to say is
/// printed to stdout (the table) and stderr (the rest).
/// Errors: std::invalid_argument for a placement this machine cannot give; std::system_error for
///         files that cannot be written, before anything is started where it can be known.
int run_pipeline(const Settings& settings);

}  // namespace sluice::pipeline
