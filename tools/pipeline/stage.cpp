// What all stages share: how they end, and how they tell of problems.
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdio>
#include <sluice/error.hpp>
#include <sluice/process.hpp>

#include "stages.hpp"

namespace sluice::pipeline {

void run_stage(const std::function<void()>& stage) {
    ::signal(SIGINT, SIG_IGN);
    ::signal(SIGTERM, SIG_IGN);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent_process()->pid()) {  // it was gone before the request
        ::_exit(kExitPeerGone);
    }
    try {
        stage();
    } catch (const Closed&) {
        std::fflush(stdout);
        std::fflush(stderr);
        ::_exit(kExitPeerGone);
    }
}

void ProblemTeller::tell(const std::string& text) {
    if (count_++ < kToldMax) {
        reports_.put(Problem{text});
    }
}

void ProblemTeller::tell_always(const std::string& text) {
    reports_.put(Problem{text});
}

void ProblemTeller::finish(const std::string& about) {
    if (count_ > kToldMax) {
        reports_.put(Problem{fmt::format("{}: {} more of the kind", about, count_ - kToldMax)});
    }
}

}  // namespace sluice::pipeline
