#include "pipeline/progress.hpp"

#include <gtest/gtest.h>

namespace sluice::pipeline {
namespace {

TEST(ProgressBar, ShowsShareCountTimesAndRate) {
    EXPECT_EQ(ProgressBar::text(0, 0, 0), "  0%|                    | 0 messages [00:00<?, 0/s]");
    EXPECT_EQ(ProgressBar::text(0.5, 42'123, 3),
              " 50%|██████████          | 42123 messages [00:03<00:03, 14041/s]");
    EXPECT_EQ(ProgressBar::text(0.33, 10, 3'700),
              " 33%|██████▌             | 10 messages [1:01:40<2:05:12, 0/s]");
    EXPECT_EQ(ProgressBar::text(7, 10, 60),
              "100%|████████████████████| 10 messages [01:00<00:00, 0/s]");
}

}  // namespace
}  // namespace sluice::pipeline
