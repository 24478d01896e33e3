// The journal: a line of JSON for each order, and one for each acknowledgement.
#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <system_error>

#include "stages.hpp"

namespace sluice::pipeline {
namespace {

const char* word(Side side) {
    return side == Side::buy ? "buy" : "sell";
}

const char* word(Verdict verdict) {
    switch (verdict) {
        case Verdict::accepted:
            return "accepted";
        case Verdict::killed:
            return "kill switch";
        case Verdict::rate:
            return "order rate";
        case Verdict::collar:
            return "price collar";
        case Verdict::position:
            return "position limit";
    }
    return "";
}

/// A file to append lines to; without a path, one that takes them and keeps nothing.
class LineFile {
 public:
    explicit LineFile(std::string path) : path_(std::move(path)) {
        if (!path_.empty()) {
            file_.reset(std::fopen(path_.c_str(), "we"));
            check(file_ != nullptr, "cannot be opened");
        }
    }
    void write(const fmt::memory_buffer& line) {
        if (file_) {
            check(std::fwrite(line.data(), 1, line.size(), file_.get()) == line.size(),
                  "cannot be written");
        }
    }
    void flush() {
        if (file_) {
            check(std::fflush(file_.get()) == 0, "cannot be written");
        }
    }

 private:
    void check(bool good, const char* what) const {
        if (!good) {
            throw std::system_error(errno, std::generic_category(), path_ + ": " + what);
        }
    }
    struct Close {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };
    std::string path_;
    std::unique_ptr<std::FILE, Close> file_{};
};

void format(const JournalEntry& entry, const std::vector<std::string>& inputs,
            fmt::memory_buffer& line) {
    const Order& order = entry.order;
    if (entry.what == JournalEntry::What::order) {
        fmt::format_to(std::back_inserter(line),
                       R"({{"type":"order","strategy":{},"id":{},"input":{},"receive_ns":{},)"
                       R"("side":"{}","price":"{}","quantity":"{}"}})"
                       "\n",
                       order.strategy, order.id, inputs[order.input], order.receive_ns,
                       word(order.side), to_text(order.price), to_text(order.quantity));
        return;
    }
    const bool accepted = entry.verdict == Verdict::accepted;
    fmt::format_to(std::back_inserter(line),
                   R"({{"type":"acknowledgement","strategy":{},"id":{},"status":"{}")",
                   order.strategy, order.id, accepted ? "accepted" : "rejected");
    if (!accepted) {
        fmt::format_to(std::back_inserter(line), R"(,"reason":"{}")", word(entry.verdict));
    }
    fmt::format_to(std::back_inserter(line), "}}\n");
}

}  // namespace

void run_journal(const JournalJob& job, Connection<JournalEntry>& entries, const Reports& reports) {
    LineFile file(job.path);
    std::vector<std::string> inputs;  // as JSON, quotes and all
    for (const std::string& input : job.inputs) {
        inputs.push_back(
            nlohmann::json(input).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    }
    Hop from_risk{"risk", "journal"};
    Hop end_to_end{"feed", "journal"};
    JournalReport report;
    fmt::memory_buffer line;
    for (;;) {
        if (!entries.poll()) {
            file.flush();  // while there is nothing else to do, what is known goes out
        }
        const JournalEntry entry = entries.recv();
        if (entry.what == JournalEntry::What::end) {
            break;
        }
        const std::int64_t now = now_ns();
        from_risk.durations.record(now - entry.sent_ns);
        if (entry.what == JournalEntry::What::acknowledgement) {
            end_to_end.durations.record(now - entry.order.intended_ns);
        }
        line.clear();
        format(entry, inputs, line);
        file.write(line);
        ++report.lines;
    }
    file.flush();
    report.hops = {from_risk.report(), end_to_end.report()};
    reports.put(report);
}

}  // namespace sluice::pipeline
