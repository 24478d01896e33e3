#include "message_tap.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <sluice/shm/byte_ring.hpp>
#include <sluice/shm/mpmc_ring.hpp>
#include <sluice/shm/spsc_ring.hpp>

namespace sluice::tool {

using shm::RingPlace;
using shm::SlotControl;
using shm::SlotState;

namespace {

constexpr std::size_t kMessagesAtOnce = 256;
constexpr std::uint64_t kValueBytesMax = 64U << 20U;  // what is longer is told as gone
constexpr std::uint64_t kLookedAtMax = 1U << 16U;     // hints lag by less
constexpr unsigned kExtentShift = 36;                 // mpmc_ring.hpp: 64 GiB beside each slot

std::uint64_t word_at(const std::vector<std::byte>& bytes, std::size_t offset) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + offset, sizeof word);
    return word;
}

}  // namespace

MessageTap::MessageTap(const shm::Inspector& inspector, const RingPlace& place, Begin begin)
    : inspector_(inspector), place_(place), capacity_(inspector.facts().capacity) {
    const bool oldest = begin == Begin::with_the_oldest;
    if (place_.form != RingPlace::Form::slots) {
        next_ = inspector_.word(place_.offset +
                                (oldest ? offsetof(shm::ByteRingLayout, read_position)
                                        : offsetof(shm::ByteRingLayout, write_position)));
        return;
    }
    // Hints are lower bounds: whoever begins at one goes through messages that were there before.
    next_ = inspector_.word(place_.offset + (oldest ? offsetof(shm::MpmcRingLayout, head_hint)
                                                    : offsetof(shm::MpmcRingLayout, tail_hint)));
    for (std::uint64_t step = 0; step < std::min(capacity_, kLookedAtMax); ++step) {
        const SlotControl slot{inspector_.word(slot_offset(next_))};
        const std::int64_t ahead =
            slot.laps_ahead_of(next_ >> static_cast<unsigned>(std::countr_zero(capacity_)));
        const bool taken = ahead > 0;
        const bool there = ahead == 0 && slot.state() != SlotState::empty;
        if (oldest ? !taken : !taken && !there) {
            break;
        }
        ++next_;
    }
}

std::uint64_t MessageTap::slot_offset(std::uint64_t position) const noexcept {
    const std::size_t slots = place_.form == RingPlace::Form::slots
                                  ? offsetof(shm::MpmcRingLayout, slots)
                                  : offsetof(shm::SpscRingLayout, slots);
    return place_.offset + slots + (position & (capacity_ - 1)) * place_.slot_bytes;
}

void MessageTap::read(std::vector<TappedMessage>& messages) {
    switch (place_.form) {
        case RingPlace::Form::slots:
            return read_slots(messages);
        case RingPlace::Form::numbered:
            return read_numbered(messages);
        case RingPlace::Form::records:
            return read_records(messages);
        case RingPlace::Form::none:
            return;
    }
}

void MessageTap::read_slots(std::vector<TappedMessage>& messages) {
    const auto lap_shift = static_cast<unsigned>(std::countr_zero(capacity_));
    std::vector<std::byte> slot(place_.slot_bytes);
    for (std::size_t count = 0; count < kMessagesAtOnce; ++count) {
        if (!inspector_.read(slot_offset(next_), slot)) {
            return;
        }
        const SlotControl seen{word_at(slot, 0)};
        const std::int64_t ahead = seen.laps_ahead_of(next_ >> lap_shift);
        const bool taken = ahead == 1 && seen.state() == SlotState::empty;
        if (ahead < 0 || (ahead == 0 && (seen.state() == SlotState::empty ||
                                         seen.state() == SlotState::writing))) {
            return;  // not yet
        }
        if (ahead > 0 && !taken) {
            // Overtaken: what can still be there is of the slot's lap, or of the one before.
            const std::uint64_t over =
                std::max<std::uint64_t>(static_cast<std::uint64_t>(ahead - 1) << lap_shift, 1);
            missed_ += over;
            next_ += over;
            continue;
        }
        if (ahead == 0 && seen.state() == SlotState::skip) {
            ++next_;
            continue;
        }
        TappedMessage message{next_, {}, false};
        if (place_.packed) {
            message.gone = !copy_packed(next_ & (capacity_ - 1), slot, message.bytes);
        } else {
            message.bytes.assign(slot.begin() + static_cast<std::ptrdiff_t>(place_.payload_offset),
                                 slot.end());
        }
        // Still the same life of the slot: nobody has begun to write it again.
        const SlotControl after{inspector_.word(slot_offset(next_))};
        const std::int64_t moved = after.laps_ahead_of(next_ >> lap_shift);
        if (moved == 0 || (moved == 1 && after.state() == SlotState::empty)) {
            messages.push_back(std::move(message));
        } else {
            ++missed_;
        }
        ++next_;
    }
}

bool MessageTap::copy_packed(std::uint64_t index, const std::vector<std::byte>& slot,
                             std::vector<std::byte>& value) const {
    constexpr std::size_t kInline = offsetof(shm::ValueSlotLayout, inline_bytes);
    if (slot.size() < kInline) {
        return false;
    }
    const std::uint64_t bytes = word_at(slot, offsetof(shm::ValueSlotLayout, value_bytes));
    if (bytes <= slot.size() - kInline) {
        const auto begin = slot.begin() + static_cast<std::ptrdiff_t>(kInline);
        value.assign(begin, begin + static_cast<std::ptrdiff_t>(bytes));
        return true;
    }
    if (bytes > kValueBytesMax ||
        bytes > word_at(slot, offsetof(shm::ValueSlotLayout, extent_bytes))) {
        return false;
    }
    value.resize(bytes);
    return inspector_.read(inspector_.facts().total_bytes + (index << kExtentShift), value);
}

void MessageTap::read_numbered(std::vector<TappedMessage>& messages) {
    std::vector<std::byte> slot(place_.slot_bytes);
    for (std::size_t count = 0; count < kMessagesAtOnce; ++count) {
        if (!inspector_.read(slot_offset(next_), slot)) {
            return;
        }
        const auto ahead = static_cast<std::int64_t>(word_at(slot, 0) - (next_ + 1));
        if (ahead < 0) {
            return;
        }
        // The sender writes a slot before it numbers it, several where it sends many: so only what
        // is unread, or not nearly a lap old, is sure to be whole.
        const std::uint64_t written =
            inspector_.word(place_.offset + offsetof(shm::SpscRingLayout, write_position));
        const std::uint64_t taken =
            inspector_.word(place_.offset + offsetof(shm::SpscRingLayout, read_position));
        const bool unread = static_cast<std::int64_t>(next_ - taken) >= 0;
        if (ahead > 0 || (!unread && written - next_ > capacity_ / 2)) {
            const std::uint64_t resume =
                static_cast<std::int64_t>(taken - next_) > 1 ? taken : next_ + 1;
            missed_ += resume - next_;
            next_ = resume;
            continue;
        }
        messages.push_back(
            {next_,
             {slot.begin() + static_cast<std::ptrdiff_t>(place_.payload_offset), slot.end()},
             false});
        ++next_;
    }
}

bool MessageTap::read_ring(std::uint64_t position, std::span<std::byte> bytes) const {
    const std::uint64_t at = position & (capacity_ - 1);
    const std::size_t first = std::min<std::uint64_t>(bytes.size(), capacity_ - at);
    return inspector_.read(place_.data_offset + at, bytes.first(first)) &&
           inspector_.read(place_.data_offset, bytes.subspan(first));
}

void MessageTap::read_records(std::vector<TappedMessage>& messages) {
    const auto position_of = [&](std::size_t offset) {
        return inspector_.word(place_.offset + offset) & ~std::uint64_t{7};
    };
    for (std::size_t count = 0; count < kMessagesAtOnce; ++count) {
        const std::uint64_t written = position_of(offsetof(shm::ByteRingLayout, write_position));
        if (next_ == written) {
            return;
        }
        shm::RecordLayout record{};
        const bool copied = read_ring(next_, std::as_writable_bytes(std::span(&record, 1)));
        const std::uint64_t record_bytes =
            shm::round_up(sizeof record + std::size_t{record.payload_bytes}, 8);
        std::vector<std::byte> payload;
        bool whole = copied && record_bytes <= written - next_ && record_bytes <= capacity_;
        if (whole) {
            payload.resize(record.payload_bytes);
            whole = read_ring(next_ + sizeof record, payload);
        }
        // As above: unread, or not nearly a lap old.
        const std::uint64_t taken = position_of(offsetof(shm::ByteRingLayout, read_position));
        const std::uint64_t now = position_of(offsetof(shm::ByteRingLayout, write_position));
        const bool unread = static_cast<std::int64_t>(next_ - taken) >= 0;
        if (!whole || (!unread && now - next_ > capacity_ / 2)) {
            const std::uint64_t resume = unread ? written : taken;
            missed_ += resume - next_;
            next_ = resume;
            fragments_.clear();
            continue;
        }
        fragments_.insert(fragments_.end(), payload.begin(), payload.end());
        if ((record.flags & shm::RecordLayout::kMore) == 0) {
            messages.push_back({next_, std::move(fragments_), false});
            fragments_.clear();
        } else if (fragments_.size() > kValueBytesMax) {
            fragments_.clear();
        }
        next_ += record_bytes;
    }
}

}  // namespace sluice::tool
