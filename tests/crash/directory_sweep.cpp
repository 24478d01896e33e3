// Making, opening and removing objects in a bare table. What a half-way death leaves must neither
// lie about nor be given to somebody else while it is used.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "crash/manager_sweep.hpp"
#include "sluice/shm/directory.hpp"
#include "support/processes.hpp"
#include "support/words.hpp"

namespace sluice::crash {
namespace {

using shm::Directory;
using shm::Failure;
using shm::Segment;
using test::Child;

constexpr const char* kName = "subject";
constexpr const char* kBystander = "bystander";

enum class DirectoryState : std::uint8_t {
    free,         // nobody has the name
    last,         // the same, and all but four windows are taken
    there,        // an object has it, which nobody has open
    in_use,       // the same, and the survivor has it open
    removed,      // the survivor has open what had it
    half_made,    // the next window is full of what a dead maker left
    dead_holder,  // the lock is that of one who died
};
const char* name_of(DirectoryState state) {
    constexpr const char* kNames[] = {"free",
                                      "the last windows",
                                      "there",
                                      "in use",
                                      "removed",
                                      "a dead maker's left",
                                      "a dead holder's lock"};
    return kNames[static_cast<int>(state)];
}

/// An object of this sweep: every word of its body says whose it is.
constexpr std::size_t kWords = 1024;  // two pages: it is filled for a while

shm::SegmentSpec spec() {
    shm::SegmentSpec made;
    made.kind = shm::SegmentKind::guarded;
    made.capacity = kWords;
    made.member_capacity = 4;
    made.body_bytes = kWords * sizeof(std::uint64_t);
    return made;
}
void fill(Segment& segment, std::uint64_t owner) {
    auto* words = reinterpret_cast<std::uint64_t*>(segment.body());
    std::fill(words, words + kWords, owner);
}
bool is_full_of(const Segment& segment, std::uint64_t owner) {
    const auto* words = reinterpret_cast<const std::uint64_t*>(segment.body());
    return std::all_of(words, words + kWords, [owner](auto word) { return word == owner; });
}

class DirectoryScene : public Scene {
 public:
    using Operation = void (*)(DirectoryScene&);
    struct Plan {
        Operation act{};
        bool makes{};
        bool removes{};
    };
    static constexpr std::uint64_t kOld = 1;
    static constexpr std::uint64_t kMine = 2;
    static constexpr std::uint64_t kRivals = 3;
    static constexpr std::uint64_t kOthers = 4;

    DirectoryScene(DirectoryState state, const Plan& plan)
        : directory_(std::make_shared<Directory>(
              test::make_segment(
                  shm::SegmentKind::manager, Directory::bytes(), 64,
                  [](std::byte* body, std::uint32_t) { Directory::initialise(body); }),
              "Manager")),
          state_(state),
          plan_(plan) {
        empty_bytes_ = bytes();
        directory_->layout().cursor.store(~0U);  // it wraps
        if (state == DirectoryState::last) {
            constexpr std::uint32_t kTaken = shm::DirectoryLayout::kObjects - 4;
            constexpr std::uint32_t kForEver = 99;  // no state: nobody gives them back
            directory_->layout().high.store(kTaken);
            for (std::size_t index = 0; index < kTaken; ++index) {
                directory_->layout().states[index].store(kForEver);
            }
        }
        bystander_ = make(kBystander, kOthers);
        bystander_bytes_ = bytes() - empty_bytes_;
        if (state == DirectoryState::there || state == DirectoryState::in_use ||
            state == DirectoryState::removed) {
            held_ = make(kName, kOld);
        }
        if (state == DirectoryState::there) {
            held_.reset();
        }
        if (state == DirectoryState::removed) {
            Failure failure;
            require(directory_->remove(kName, failure), "the scene cannot be set");
        }
        if (state == DirectoryState::half_made) {
            leave_behind([this] {
                Failure failure;
                auto window = directory_->make_window(failure);
                require(window && window->create_in_window(20'000, {}, failure), failure.text);
                std::memset(window->data(), 0xee, window->bytes());
                return window;
            });
        }
        if (state == DirectoryState::dead_holder) {
            leave_behind([this] {
                shm::LockWord lock(directory_->layout().lock, directory_->segment().members());
                require(lock.try_lock_now(directory_->segment().members().id()), "it is held");
                return 0;
            });
        }
    }

    void prepare() override { static_cast<void>(directory_->segment().members().id()); }
    // The victim's mapping comes and goes where nobody else can see it.
    void act() override { plan_.act(*this); }

    void rival() override {
        if (directory_->layout().lock.word.load() % 0x10000 != 0 &&
            state_ != DirectoryState::dead_holder) {
            return;  // the victim stands in the middle of it: whoever comes waits for it
        }
        if (state_ == DirectoryState::dead_holder && !rescue()) {
            return;
        }
        // Others take windows, fill and leave them.
        for (int count = 0; count < 3; ++count) {
            require(make("", kRivals) != nullptr, "a rival can make nothing");
        }
        rivals_ = make("", kRivals);
        require(rivals_ != nullptr, "a rival can make nothing");
    }

    int check(bool returned) override {
        require(clobbered_->load() == 0, "the victim's object was given to somebody else");
        require(is_full_of(*bystander_, kOthers), "another's object has changed");
        require(held_ == nullptr || is_full_of(*held_, kOld), "an open object has changed");
        require(rivals_ == nullptr || is_full_of(*rivals_, kRivals), "a rival's has changed");
        Failure failure;
        bool is_there = false;
        for (const shm::DirectoryEntry& entry : directory_->list(failure)) {
            require(entry.name == kName || entry.name == kBystander,
                    "there is a name that nobody gave: \"" + entry.name + '"');
            require(entry.kind == shm::SegmentKind::guarded, "what has a name is not complete");
            require(!(is_there && entry.name == kName), "the name is there twice");
            is_there = is_there || entry.name == kName;
        }
        require(!failure, failure.text);
        const bool was_there = state_ == DirectoryState::there || state_ == DirectoryState::in_use;
        const int happened = plan_.removes ? !is_there : plan_.makes ? is_there : 0;
        require(plan_.removes || plan_.makes || is_there == was_there, "the name came or went");
        require(!was_there || plan_.removes || is_there, "the name went");
        require(!returned || happened == (plan_.removes || plan_.makes ? 1 : 0),
                "what returned has not happened");
        if (is_there) {
            const auto found = open();
            require(found != nullptr, "what has a name cannot be opened");
            require(is_full_of(*found, was_there ? kOld : kMine), "what has a name is not whole");
        }
        // Who comes next can do it all.
        if (is_there) {
            require(directory_->remove(kName, failure), "it cannot be removed");
        }
        auto anew = make(kName, kRivals);
        require(anew != nullptr && is_full_of(*open(), kRivals), "it cannot be made anew");
        require(directory_->remove(kName, failure), "it cannot be removed again");
        require(is_full_of(*anew, kRivals), "a removed object has changed");
        anew.reset();
        held_.reset();
        rivals_.reset();
        // Whatever was left is cleared by who comes by. A maker looks at some entries, so that a
        // round of makers is enough however many there are.
        const std::uint64_t wanted = empty_bytes_ + bystander_bytes_;
        std::size_t makers = 0;
        do {
            require(make("", kRivals) != nullptr, "nothing can be made");
        } while (bytes() != wanted && ++makers < shm::DirectoryLayout::kObjects &&
                 state_ == DirectoryState::last);
        require(bytes() == wanted, "memory is left: " + std::to_string(bytes() - wanted));
        return happened;
    }

    std::shared_ptr<Segment> make(const char* name, std::uint64_t owner) {
        Failure failure;
        return Segment::create({name, directory_}, spec(), {}, 0600, failure,
                               [owner](Segment& made) { fill(made, owner); });
    }
    std::shared_ptr<Segment> open() {
        Failure failure;
        return Segment::open({kName, directory_}, spec(), failure);
    }
    Directory& directory() noexcept { return *directory_; }
    /// By the victim, of an object that it has.
    void look_at(const std::shared_ptr<Segment>& mine, std::uint64_t owner) {
        if (mine && !is_full_of(*mine, owner)) {
            clobbered_->store(1);
        }
    }

 private:
    std::uint64_t bytes() const { return directory_->segment().mapping().bytes_allocated(); }

    /// `act` is done by a child, which is killed then, with what it returned in its hands.
    template <class Act>
    void leave_behind(Act&& act) {
        Child child([&] {
            [[maybe_unused]] const auto held = act();
            ready_->store(1);
            for (;;) {
                pause();
            }
        });
        test::await([this] { return ready_->load() != 0; });
        child.kill_and_join();
    }
    bool rescue() {
        // Whoever holds it now: a dead one, or the victim after him.
        static_cast<void>(directory_->segment().members().rescue());
        return directory_->layout().lock.word.load() % 0x10000 == 0;
    }

    std::shared_ptr<Directory> directory_;
    DirectoryState state_;
    Plan plan_;
    std::uint64_t empty_bytes_{};
    std::uint64_t bystander_bytes_{};
    std::shared_ptr<Segment> bystander_;
    std::shared_ptr<Segment> held_;
    std::shared_ptr<Segment> rivals_;
    test::Shared<std::atomic<int>> ready_;
    test::Shared<std::atomic<int>> clobbered_;
};

void make(DirectoryScene& scene) {
    const auto mine = scene.make(kName, DirectoryScene::kMine);
    scene.look_at(mine, DirectoryScene::kMine);
}
void make_unnamed(DirectoryScene& scene) {
    const auto mine = scene.make("", DirectoryScene::kMine);
    scene.look_at(mine, DirectoryScene::kMine);
}
void open(DirectoryScene& scene) {
    const auto found = scene.open();
    scene.look_at(found, DirectoryScene::kOld);
}
void remove(DirectoryScene& scene) {
    Failure failure;
    static_cast<void>(scene.directory().remove(kName, failure));
}
void open_and_remove(DirectoryScene& scene) {
    const auto found = scene.open();
    remove(scene);
    scene.look_at(found, DirectoryScene::kOld);
}

}  // namespace

SweepCounts sweep_directory() {
    using State = DirectoryState;
    SweepCounts sum;
    // With others at work only where they come near the victim's window: the rest is the same code.
    const auto run = [&sum](const std::string& operation, const DirectoryScene::Plan& plan,
                            const std::vector<State>& alone,
                            const std::vector<State>& with_others) {
        SweepOptions options;
        const auto run_state = [&](State state) {
            sum += sweep(
                "manager: " + operation, name_of(state),
                [&] { return std::make_unique<DirectoryScene>(state, plan); }, options);
        };
        std::for_each(with_others.begin(), with_others.end(), run_state);
        options.pairs = is_thorough();
        std::for_each(alone.begin(), alone.end(), run_state);
    };
    const auto if_thorough = [](std::vector<State> states) {
        return is_thorough() ? states : std::vector<State>{};
    };
    run("make", {.act = make, .makes = true}, {State::half_made}, {State::free});
    run("make", {.act = make, .makes = true}, {},
        if_thorough({State::last, State::removed, State::dead_holder}));
    run("make", {.act = make}, {State::in_use}, {});
    run("make, unnamed", {.act = make_unnamed}, {}, {State::removed});
    run("open", {.act = open}, {}, {State::there});
    run("open", {.act = open}, if_thorough({State::free}), {});
    run("remove", {.act = remove, .removes = true}, if_thorough({State::in_use}), {State::there});
    run("open, remove", {.act = open_and_remove, .removes = true}, {}, if_thorough({State::there}));
    run("remove", {.act = remove}, {}, {State::dead_holder});
    return sum;
}

}  // namespace sluice::crash
