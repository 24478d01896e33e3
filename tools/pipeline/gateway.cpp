#include "gateway.hpp"

#include <algorithm>
#include <cstdlib>

#include "stages.hpp"

namespace sluice::pipeline {

Risk::Risk(RiskLimits limits, std::size_t strategies, std::size_t inputs)
    : limits_(limits), accounts_(strategies) {
    for (Account& account : accounts_) {
        account.position_lots.resize(inputs);
    }
}

Verdict Risk::judge(const Order& order) {
    const Verdict verdict = check(order);
    if (verdict != Verdict::accepted) {
        ++rejected_;
        killed_ = killed_ || rejected_ == limits_.kill_after_rejections;
    }
    return verdict;
}

Verdict Risk::check(const Order& order) {
    if (killed_) {
        return Verdict::killed;
    }
    Account& account = accounts_[order.strategy];
    const std::int64_t second = order.receive_ns / 1'000'000'000;
    if (account.second != second) {
        account.second = second;
        account.orders_in_second = 0;
    }
    if (++account.orders_in_second > limits_.orders_per_second_max) {
        return Verdict::rate;
    }
    if (outside_collar(order)) {
        return Verdict::collar;
    }
    std::int64_t& position = account.position_lots[order.input];
    const std::int64_t next = position + (order.side == Side::buy ? 1 : -1);
    if (std::abs(next) > limits_.position_lots_max) {
        return Verdict::position;
    }
    position = next;
    return Verdict::accepted;
}

bool Risk::outside_collar(const Order& order) const {
    const Wide reference = at_common_scale(order.reference);
    if (reference == 0) {  // nothing has been traded yet
        return false;
    }
    const Wide off = at_common_scale(order.price) - reference;
    // Divided first, because a price of 18 digits leaves no room to multiply.
    const Wide allowed = reference / 10'000 * limits_.collar_basis_points;
    return off > allowed || -off > allowed;
}

void run_gateway(const GatewayJob& job, const Queue<Order>& orders,
                 const std::vector<Queue<Acknowledgement>>& strategies,
                 Connection<JournalEntry>& journal, const Reports& reports) {
    Risk risk(job.limits, job.strategies, job.inputs);
    Hop from_strategy{"strategy", "risk"};
    GatewayReport report;
    report.orders.resize(job.strategies);
    std::vector<bool> ended(job.strategies);  // a strategy that was started again may say so twice
    while (std::find(ended.begin(), ended.end(), false) != ended.end()) {
        const Order order = orders.get();
        if (order.what == Order::What::end) {
            ended[order.strategy] = true;
            continue;
        }
        ++report.orders[order.strategy];
        from_strategy.durations.record(now_ns() - order.sent_ns);
        ++report.received;
        journal.send({JournalEntry::What::order, Verdict::accepted, now_ns(), order});
        const Verdict verdict = risk.judge(order);
        strategies[order.strategy].put({order.id, order.input, verdict, order.side});
        journal.send({JournalEntry::What::acknowledgement, verdict, now_ns(), order});
        ++report.acknowledged;
    }
    journal.send(JournalEntry{});
    report.rejected = risk.rejected();
    report.killed = risk.killed();
    report.hops.push_back(from_strategy.report());
    reports.put(report);
}

}  // namespace sluice::pipeline
