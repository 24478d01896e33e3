// The scenes, and what the bytes of a program mean:
//
//   0          scene, modulo their number
//   then, command by command, a byte c:
//   c < 128    operation c modulo their number, one byte of argument
//   c >= 128   patch (c - 128) modulo kPatches, with its arguments
//
// Where the program ends in the middle of a command, zeros follow.
#include "fuzz/segment_driver.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <type_traits>
#include <utility>

#include "fuzz/scene.hpp"
#include "sluice/byte_pipe.hpp"
#include "sluice/msgpack.hpp"
#include "sluice/pipe.hpp"
#include "sluice/queue.hpp"

namespace sluice::fuzz {

MappingEnd expected_mapping_end{};

namespace {

constexpr std::size_t kCommandsMax = 64;

/// A patch's value: out of the program, or out of what damage is likely to be.
std::uint64_t value_of(Reader& program, std::uint64_t now) {
    constexpr std::array<std::uint64_t, 20> kLikely{
        0,          1,          2,          3,          7,          8,          16,
        64,         4096,       65'536,     1ULL << 26, 1ULL << 31, 1ULL << 32, 1ULL << 36,
        1ULL << 40, 1ULL << 62, 1ULL << 63, ~0ULL,      ~0ULL - 7,  ~4095ULL};
    const std::uint8_t how = program.byte();
    switch (how % 4) {
        case 0:
            return program.word();
        case 1:
            return kLikely[(how / 4) % kLikely.size()];
        case 2:
            return now + static_cast<std::uint64_t>(static_cast<std::int8_t>(program.byte()));
        default:
            return now ^ (1ULL << (how / 4));
    }
}

}  // namespace

// Any bytes would do; these reach with few bytes what matters.
void Scene::patch(std::uint8_t kind, Reader& program, bool in_use) {
    constexpr std::uint8_t kPatches = 9;
    switch (kind % kPatches) {
        case 0: {  // a word of the header
            const std::size_t words = sizeof(shm::SegmentLayout) / 8;
            patch_word(8 * (program.byte() % words), program);
            break;
        }
        case 1: {  // half a word of the header
            const std::size_t offset = 4 * (program.byte() % (sizeof(shm::SegmentLayout) / 4));
            const auto value = static_cast<std::uint32_t>(value_of(program, word_at(offset)));
            write(offset, &value, sizeof value);
            break;
        }
        case 2:  // the first words of the body: gates, positions, ends
            patch_word(body_offset_ + 8 * (program.byte() % 256U), program);
            break;
        case 3:  // any word of the body
            patch_word(body_offset_ + 8 * (program.half() % ((bytes_ - body_offset_) / 8)),
                       program);
            break;
        case 4:  // the control words of slots
            if (is_queue()) {
                patch_control(program);
            }
            break;
        case 5:  // the table of members
            patch_word(256 + 8 * (program.byte() % 64U), program);
            break;
        case 6: {  // bytes anywhere
            const std::size_t offset = program.half() % bytes_;
            const std::uint64_t value = program.word();
            write(offset, &value, program.byte() % 8U + 1U);
            break;
        }
        case 7:  // the length of a value in a queue, or of a record in a pipe
            if (is_queue()) {
                patch_length(program);
            } else if (element_bytes_ == 1) {
                patch_record(program);
            }
            break;
        default: {  // a file that is too short; under a user that would be SIGBUS
            const std::size_t bytes = std::min<std::size_t>(program.half(), file_bytes_);
            if (!in_use) {
                require(ftruncate(descriptor_, static_cast<off_t>(bytes)) == 0, "ftruncate");
                file_bytes_ = bytes;
                damaged_ = true;
                header_damaged_ = true;
            }
        }
    }
}

void Scene::patch_word(std::size_t offset, Reader& program) {
    const std::uint64_t value = value_of(program, word_at(offset));
    write(offset, &value, sizeof value);
}

void Scene::patch_control(Reader& program) {
    // Laps are counted modulo 2^40: four slots a quarter apart are each ahead of the one before.
    constexpr std::array<std::uint64_t, 8> kLaps{
        0, 1, ~0ULL, 2, 1ULL << 38U, (1ULL << 39U) - 1, 1ULL << 39U, 1ULL << 26U};
    const std::uint8_t where = program.byte();
    const std::uint8_t what = program.byte();
    const std::uint64_t lap = kLaps[what % kLaps.size()];
    const auto state = static_cast<shm::SlotState>(what / kLaps.size() % 8);
    const auto owner = static_cast<shm::MemberId>(where / 16 % 8);
    for (std::size_t slot = 0; slot < capacity_; ++slot) {
        // Each by so many laps more than the one before, or one of them.
        const bool all = where >= 128;
        if (all || slot == where % capacity_) {
            const std::size_t offset = slot_offset(slot);
            const shm::SlotControl now{word_at(offset)};
            const auto control =
                shm::SlotControl::make(now.lap() + (all ? slot : 1) * lap, now.tag(), state, owner);
            write(offset, &control.word, sizeof control.word);
        }
    }
}

void Scene::patch_length(Reader& program) {
    const std::size_t offset = slot_offset(program.byte() % capacity_) + sizeof(std::uint64_t);
    const std::uint64_t bytes = value_of(program, word_at(offset));
    const std::uint64_t memory = value_of(program, bytes);
    write(offset, &bytes, sizeof bytes);
    write(offset + sizeof bytes, &memory, sizeof memory);
}

void Scene::patch_record(Reader& program) {
    // The data of the two directions begins at a page's boundary, and the oldest records there.
    const std::uint8_t where = program.byte();
    const std::size_t control = sizeof(detail::PipeLayout) + 2 * sizeof(shm::ByteRingLayout);
    const std::size_t data =
        shm::round_up(body_offset_ + control, shm::kPageBytesMin) + where % 2U * capacity_;
    const shm::RecordLayout record{program.half(), program.byte() % 4U};
    write(data + 8 * (where / 2U), &record, sizeof record);
}

namespace {

// Values by their numbers. Long ones lie beside their slots (queues), or fill much of a ring.
template <class T>
T make_value(std::uint8_t which, bool is_queue) {
    if constexpr (std::is_same_v<T, std::string>) {
        constexpr std::array<std::size_t, 8> kQueue{0, 5, 31, 230, 240, 300, 5000, 70'000};
        constexpr std::array<std::size_t, 8> kPipe{0, 5, 31, 230, 2000, 9000, 20'000, 30'000};
        return std::string((is_queue ? kQueue : kPipe)[which % 8U], static_cast<char>(which));
    } else {
        return T{which};
    }
}

enum class QueueState { empty, some, full, crashed, closed };

template <class T>
class QueueScene final : public Scene {
 public:
    QueueScene(std::string title, QueueState state) : Scene(std::move(title)) {
        auto queue = Queue<T>::create(name(), {.capacity = kCapacity});
        if (state != QueueState::empty) {
            fill(queue, state);
        }
        capture(std::is_same_v<T, std::string>);
        constexpr std::size_t kMembers = 512;
        const shm::MpmcRing::Shape shape{kCapacity, detail::SlotCodec<T>::slot_bytes(0), false, 0};
        set_used_bytes(shm::round_up(shm::MpmcRing::bytes(shape), shm::kIsolationBytes) +
                       kMembers * sizeof(detail::TaskCellLayout));
    }

    bool is_open() const noexcept override { return queue_.has_value(); }
    void close() override {
        slots_.clear();
        leases_.clear();
        second_.reset();
        queue_.reset();
    }
    void operate(std::uint8_t operation, std::uint8_t argument) override;

 protected:
    void open_handle() override { queue_.emplace(Queue<T>::open(name())); }

 private:
    static constexpr std::size_t kCapacity = 4;
    static constexpr std::size_t kHeldMax = 3;

    static void fill(Queue<T>& queue, QueueState state) {
        // Beyond the first lap; the long value leaves memory beside its slot.
        for (std::uint8_t which = 1; which < 8; ++which) {
            require(queue.try_put(make_value<T>(which, true)), "put");
            require(queue.try_get().has_value(), "get");
        }
        for (const unsigned which : {1U, 3U, 5U}) {
            require(queue.try_put(make_value<T>(static_cast<std::uint8_t>(which), true)), "put");
        }
        if (state == QueueState::full) {
            require(queue.try_put(make_value<T>(7, true)), "put");
        }
        if (state == QueueState::crashed) {
            leave_a_corpse([&] {
                static_cast<void>(queue.try_get());  // an open task
                auto lease = queue.try_lease();
                auto slot = queue.try_claim();
                if (!lease || !slot) {
                    _exit(2);
                }
                raise(SIGKILL);
            });
        }
        if (state == QueueState::closed) {
            queue.close();
        }
    }

    std::optional<Queue<T>> queue_{};
    std::optional<Queue<T>> second_{};
    std::vector<Slot<T>> slots_{};
    std::vector<Lease<T>> leases_{};
};

template <class T>
void QueueScene<T>::operate(std::uint8_t operation, std::uint8_t argument) {
    const Queue<T>& queue = second_ && argument % 2 != 0 ? *second_ : *queue_;
    std::array<T, 6> several{};
    switch (operation % 20U) {
        case 0:
            static_cast<void>(queue.try_put(make_value<T>(argument, true)));
            break;
        case 1:
            static_cast<void>(queue.try_get());
            break;
        case 2:
            several.fill(make_value<T>(argument, true));
            static_cast<void>(queue.try_put_many(several));
            break;
        case 3:
            static_cast<void>(queue.try_get_many(several));
            break;
        case 4:
            if (slots_.size() < kHeldMax) {
                if (auto slot = queue.try_claim()) {
                    **slot = make_value<T>(argument, true);
                    slots_.push_back(std::move(*slot));
                }
            }
            break;
        case 5:
            if (!slots_.empty()) {
                Slot<T> slot = std::move(slots_.back());
                slots_.pop_back();
                slot.publish();
            }
            break;
        case 6:
            if (!slots_.empty()) {
                slots_.pop_back();
            }
            break;
        case 7:
            if (leases_.size() < kHeldMax) {
                if (auto lease = queue.try_lease()) {
                    leases_.push_back(std::move(*lease));
                }
            }
            break;
        case 8:
            if (!leases_.empty()) {
                Lease<T> lease = std::move(leases_.back());
                leases_.pop_back();
                lease.commit();
            }
            break;
        case 9:
            if (!leases_.empty()) {
                leases_.pop_back();
            }
            break;
        case 10:
            queue.task_done();
            break;
        case 11:
            static_cast<void>(queue.try_join());
            break;
        case 12:
            static_cast<void>(queue.size() + queue.empty() + queue.full() + queue.closed());
            break;
        case 13:
            queue.close();
            break;
        case 14:
            static_cast<void>(queue.try_get_for(kMoment));
            break;
        case 15:
            static_cast<void>(queue.try_put_for(make_value<T>(argument, true), kMoment));
            break;
        case 16:
            static_cast<void>(queue.try_join_for(kMoment));
            break;
        case 17:
            static_cast<void>(queue.try_lease_for(kMoment));
            break;
        case 18:
            second_.reset();
            this->expect_mapping_end();
            second_.emplace(Queue<T>::open(name()));
            break;
        default:
            static_cast<void>(queue.memory_bytes());
    }
}

// What all pipes have in common: whose ends they are.
enum class PipeState { empty, some, unowned, one_way, crashed };

template <class P, class Send>
void fill_pipe(const P& pipe, PipeState state, Send&& send) {
    if (state == PipeState::empty) {
        static_cast<void>(pipe.first.poll());  // this process takes the ends
        static_cast<void>(pipe.second.poll());
    } else if (state == PipeState::one_way) {
        send(pipe.second);
        static_cast<void>(pipe.first.poll());
    } else if (state == PipeState::crashed) {
        send(pipe.first);
        leave_a_corpse([&] { send(pipe.second); });
    } else {
        send(pipe.first);
        send(pipe.second);
    }
}

template <class T>
class PipeScene final : public Scene {
 public:
    PipeScene(std::string title, PipeState state) : Scene(std::move(title)) {
        auto pipe =
            Pipe<T>::create(name(), {.duplex = state != PipeState::one_way, .capacity = kCapacity});
        fill_pipe(pipe, state, [](const Connection<T>& end) {
            require(end.try_send(make_value<T>(1, false)), "send");
            if constexpr (std::is_same_v<T, std::string>) {
                require(end.try_send(std::string(40'000, 'f')), "send");  // two fragments
            }
            require(end.try_send(make_value<T>(2, false)), "send");
        });
        capture();
        if constexpr (Plain<T>) {
            using Ring = typename detail::SlotChannel<T>::Ring;
            set_used_bytes(sizeof(detail::PipeLayout) +
                           2 * shm::round_up(Ring::bytes(kCapacity), shm::kIsolationBytes));
        }
        if (state == PipeState::unowned) {
            set_word(body_offset(), detail::EndLayout::kNobody);
            set_word(body_offset() + sizeof(detail::EndLayout), detail::EndLayout::kNobody);
        }
    }

    bool is_open() const noexcept override { return pipe_.has_value(); }
    void close() override { pipe_.reset(); }
    void operate(std::uint8_t operation, std::uint8_t argument) override {
        const Connection<T>& end = argument % 2 == 0 ? pipe_->first : pipe_->second;
        std::array<T, 6> several{};
        switch (operation % 10U) {
            case 0:
                static_cast<void>(end.try_send(make_value<T>(argument, false)));
                break;
            case 1:
                static_cast<void>(end.try_recv());
                break;
            case 2:
                several.fill(make_value<T>(argument, false));
                static_cast<void>(end.try_send_many(several));
                break;
            case 3:
                static_cast<void>(end.try_recv_many(several));
                break;
            case 4:
                static_cast<void>(end.poll());
                break;
            case 5:
                static_cast<void>(end.try_send_for(make_value<T>(argument, false), kMoment));
                break;
            case 6:
                static_cast<void>(end.try_recv_for(kMoment));
                break;
            case 7:
                static_cast<void>(end.poll_for(kMoment));
                break;
            case 8:
                end.close();
                break;
            default:
                static_cast<void>(end.closed());
        }
    }

 protected:
    void open_handle() override { pipe_.emplace(Pipe<T>::open(name())); }

 private:
    static constexpr std::size_t kCapacity = 4;
    std::optional<Pipe<T>> pipe_{};
};

class BytePipeScene final : public Scene {
 public:
    BytePipeScene(std::string title, PipeState state) : Scene(std::move(title)) {
        auto pipe = BytePipe::create(
            name(), {.duplex = state != PipeState::one_way, .capacity_bytes = kRingBytes});
        fill_pipe(pipe, state, [](const ByteConnection& end) {
            require(end.try_send(bytes_of(100)), "send");
            require(end.try_send(bytes_of(2500)), "send");  // two fragments
            require(end.try_send(bytes_of(3)), "send");
        });
        capture();
        if (state == PipeState::unowned) {
            set_word(body_offset(), detail::EndLayout::kNobody);
            set_word(body_offset() + sizeof(detail::EndLayout), detail::EndLayout::kNobody);
        }
    }

    bool is_open() const noexcept override { return pipe_.has_value(); }
    void close() override { pipe_.reset(); }
    void operate(std::uint8_t operation, std::uint8_t argument) override;

 protected:
    void open_handle() override { pipe_.emplace(BytePipe::open(name())); }

 private:
    static constexpr std::size_t kRingBytes = 4096;

    static std::span<const std::byte> bytes_of(std::size_t count) {
        static const std::array<std::byte, kRingBytes> bytes{};
        return std::span(bytes).first(count);
    }
    // Longer ones travel in fragments, and wait for room for the second.
    static std::size_t length(std::uint8_t which) noexcept {
        constexpr std::array<std::size_t, 8> kLengths{0, 1, 7, 8, 9, 500, 1500, 2000};
        return kLengths[which / 2U % 8U];
    }

    std::optional<BytePipe> pipe_{};
};

void BytePipeScene::operate(std::uint8_t operation, std::uint8_t argument) {
    const ByteConnection& end = argument % 2 == 0 ? pipe_->first : pipe_->second;
    const std::size_t bytes = length(argument);
    std::array<std::byte, 600> buffer{};
    switch (operation % 14U) {
        case 0:
            static_cast<void>(end.try_send(bytes_of(bytes)));
            break;
        case 1:
            static_cast<void>(end.try_recv());
            break;
        case 2:
            static_cast<void>(end.try_recv_into(buffer));
            break;
        case 3:
            // To the last byte: the room must be there.
            if (auto room = end.try_claim(argument >= 240 ? end.claim_max() : bytes)) {
                std::fill(room->begin(), room->end(), std::byte{argument});
            }
            break;
        case 4:
            end.commit();
            break;
        case 5:
            end.commit(bytes);
            break;
        case 6:
            if (const auto message = end.try_peek()) {
                std::copy_n(message->begin(), std::min(message->size(), buffer.size()),
                            buffer.begin());
                std::copy_n(message->rbegin(), std::min(message->size(), buffer.size()),
                            buffer.begin());
            }
            break;
        case 7:
            end.consume();
            break;
        case 8:
            static_cast<void>(end.poll());
            break;
        case 9:
            static_cast<void>(end.try_send_for(bytes_of(bytes), kMoment));
            break;
        case 10:
            static_cast<void>(end.try_recv_for(kMoment));
            break;
        case 11:
            static_cast<void>(end.try_claim_for(bytes, kMoment));
            break;
        case 12:
            static_cast<void>(end.poll_for(kMoment));
            break;
        default:
            end.close();
    }
}

template <class T>
void add_queues(Scenes& scenes, const std::string& kind) {
    const auto add = [&](const char* state, QueueState which) {
        scenes.push_back(std::make_unique<QueueScene<T>>(kind + state, which));
    };
    add("empty", QueueState::empty);
    add("with some messages", QueueState::some);
    add("full", QueueState::full);
    add("with claims of the dead", QueueState::crashed);
    add("closed", QueueState::closed);
}

template <class AnyPipe>
void add_pipes(Scenes& scenes, const std::string& kind) {
    const auto add = [&](const char* state, PipeState which) {
        scenes.push_back(std::make_unique<AnyPipe>(kind + state, which));
    };
    add("empty", PipeState::empty);
    add("with some messages", PipeState::some);
    add("its ends nobody's", PipeState::unowned);
    add("one-way", PipeState::one_way);
    add("an owner killed", PipeState::crashed);
}

// A process that crashed could not remove its files.
void remove_what_crashes_left() {
    std::error_code ignored;
    const std::string prefix = "sluice." + std::string(kStem);
    for (const auto& entry : std::filesystem::directory_iterator("/dev/shm", ignored)) {
        const std::string file = entry.path().filename().string();
        pid_t pid = 0;
        if (file.starts_with(prefix) &&
            std::from_chars(file.data() + prefix.size(), file.data() + file.size(), pid).ec ==
                std::errc{} &&
            kill(pid, 0) != 0 && errno == ESRCH) {
            std::filesystem::remove(entry.path(), ignored);
        }
    }
}

// True when the operation was answered as operations on damaged segments may be.
template <class Operation>
bool answers(Operation&& operation) {
    try {
        operation();
        return true;
    } catch (const Error&) {
    } catch (const std::system_error&) {
    } catch (const std::invalid_argument&) {  // claim() of more than the ring
    } catch (const std::length_error&) {      // recv_into() of more than the buffer
    } catch (const std::out_of_range&) {      // an index, a key
    }
    return false;
}

}  // namespace

SegmentDriver::SegmentDriver() {
    remove_what_crashes_left();
    add_queues<std::uint64_t>(scenes_, "Queue of numbers, ");
    add_queues<std::string>(scenes_, "Queue of strings, ");
    add_pipes<PipeScene<std::uint64_t>>(scenes_, "Pipe of numbers, ");
    add_pipes<PipeScene<std::string>>(scenes_, "Pipe of strings, ");
    add_pipes<BytePipeScene>(scenes_, "BytePipe, ");
    add_object_scenes(scenes_);
}

SegmentDriver::~SegmentDriver() = default;

std::string SegmentDriver::scene_name(std::size_t index) const {
    return scenes_[index]->title();
}

void SegmentDriver::run(std::span<const std::uint8_t> program) {
    Reader reader(program);
    Scene& scene = *scenes_[reader.byte() % scenes_.size()];
    scene.restore();
    struct Close {
        Scene& scene;
        ~Close() { scene.close(); }
    } close{scene};
    bool asked = false;
    for (std::size_t command = 0; command < kCommandsMax && !reader.done(); ++command) {
        const std::uint8_t code = reader.byte();
        if (code >= 128) {
            scene.patch(static_cast<std::uint8_t>(code - 128U), reader, asked);
            continue;
        }
        const std::uint8_t argument = reader.byte();
        if (!asked) {
            asked = true;
            if (!answers([&] { scene.open(); }) && !scene.damaged()) {
                throw std::logic_error("fuzz: an undamaged segment was refused");
            }
        }
        if (!scene.is_open()) {
            return;
        }
        static_cast<void>(answers([&] { scene.operate(code, argument); }));
    }
}

}  // namespace sluice::fuzz
