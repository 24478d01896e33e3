// The kill sweep over names: making, opening and removing named objects, and the first operation of
// a process on them. What a half-way death leaves must neither lie about nor stand in the way, and
// what was acknowledged must be there for whoever comes next.
#include <dirent.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "crash/ledger.hpp"
#include "crash/report.hpp"
#include "crash/sweep.hpp"
#include "sluice/msgpack.hpp"
#include "sluice/pipe.hpp"
#include "sluice/queue.hpp"
#include "support/processes.hpp"

namespace sluice::crash {
namespace {

using Numbers = Queue<std::uint64_t>;

enum class NameState : std::uint8_t {
    missing,  // nothing has that name
    there,    // a queue with one message, which nobody has open
    in_use,   // the same, and the survivor has it open
};
const char* name_of(NameState state) {
    constexpr const char* kNames[] = {"no such name", "there, nobody has it open", "in use"};
    return kNames[static_cast<int>(state)];
}

// Files of /dev/shm that carry this name, or have none of ours.
std::vector<std::string> files_of(const std::string& name) {
    std::vector<std::string> found;
    DIR* directory = opendir("/dev/shm");
    require(directory != nullptr, "no /dev/shm");
    while (const dirent* entry = readdir(directory)) {
        const std::string file = entry->d_name;
        if (file.find(name) != std::string::npos) {
            found.push_back(file);
        }
    }
    closedir(directory);
    return found;
}

class NameScene : public Scene {
 public:
    using Operation = void (*)(NameScene&);
    struct Plan {
        Operation act{};
        std::uint32_t puts{};
        bool removes{};
    };
    static constexpr std::uint64_t kOld = 1;
    static constexpr std::uint64_t kVictimValue = 100;

    NameScene(NameState state, const Plan& plan) : name_("sweep"), plan_(plan) {
        if (state != NameState::missing) {
            auto queue = std::make_unique<Numbers>(Numbers::create(name_.name(), options()));
            queue->put(kOld);
            ledger_.put(kOld);
            if (state == NameState::in_use) {
                held_ = std::move(queue);
            }
        }
    }

    void prepare() override {
        // Arm this thread's bell: how that goes has a sweep of its own.
        Numbers({.capacity = 1}).put(0);
    }
    void act() override {
        try {
            plan_.act(*this);
        } catch (const std::system_error&) {
            // The name is taken, or there is none: as the state has it.
        }
        notes_->ended.store(1);
    }

    void rival() override {
        // Somebody else comes to the same name and uses it.
        if (!plan_.removes) {
            Numbers::open_or_create(name_.name(), options()).put(kRivalValue);
            ledger_.put(kRivalValue);
        }
    }

    int check(bool returned) override {
        // One file at most, complete or not at all.
        const std::vector<std::string> files = files_of(name_.name());
        require(files.size() <= 1, "files are left in /dev/shm");
        int happened = static_cast<int>(files.size());
        if (plan_.removes) {
            happened = 1 - happened;
            require(!returned || happened == 1, "it was removed, and is there");
            if (files.empty()) {
                ledger_ = {};  // its messages with it
            }
        } else {
            require(!returned || happened == 1, "it was made or opened, and is not there");
        }
        held_.reset();
        // Everybody is gone. Who comes now finds what was acknowledged, and can work.
        Numbers queue = Numbers::open_or_create(name_.name(), options());
        for (int attempt = 0; attempt < 300; ++attempt) {
            if (const auto got = queue.try_get()) {
                ledger_.got(*got);
            }
        }
        std::vector<std::uint64_t> putting;
        for (std::uint32_t index = 0; index < plan_.puts; ++index) {
            putting.push_back(kVictimValue + index);
        }
        const int put = ledger_.settle_puts(putting, notes_->put.load());
        ledger_.settle();
        for (std::size_t count = 0; count < queue.capacity(); ++count) {
            queue.put(count);
        }
        require(queue.full(), "slots are missing: not full");
        require(files_of(name_.name()).size() == 1, "files are left in /dev/shm");
        return happened + put;
    }

    static QueueOptions options() { return {.capacity = 4, .wait = Wait::park}; }
    const std::string& name() const noexcept { return name_.name(); }
    Notes& notes() noexcept { return *notes_; }

 private:
    static constexpr std::uint64_t kRivalValue = 200;

    test::FreshName name_;
    Plan plan_;
    Ledger ledger_;
    test::Shared<Notes> notes_;
    std::unique_ptr<Numbers> held_;
};

void create(NameScene& scene) {
    static_cast<void>(Numbers::create(scene.name(), NameScene::options()));
}
void open(NameScene& scene) {
    static_cast<void>(Numbers::open(scene.name()));
}
void open_or_create(NameScene& scene) {
    static_cast<void>(Numbers::open_or_create(scene.name(), NameScene::options()));
}
void open_and_put(NameScene& scene) {
    const Numbers queue = Numbers::open_or_create(scene.name(), NameScene::options());
    for (std::uint64_t index = 0; index < 2; ++index) {
        queue.put(NameScene::kVictimValue + index);
        scene.notes().note_put();
    }
}
void remove(NameScene& scene) {
    Numbers::unlink(scene.name());
}

// With others at work only where the name appears or is in use: the rest is the same code.
void sweep_name(const std::string& operation, const NameScene::Plan& plan,
                const std::vector<NameState>& states,
                const std::vector<NameState>& with_others = {}) {
    for (const NameState state : states) {
        SweepOptions options;
        options.pairs =
            std::find(with_others.begin(), with_others.end(), state) != with_others.end();
        Report::add(sweep(
            "Queue::" + operation, name_of(state),
            [&] { return std::make_unique<NameScene>(state, plan); }, options));
    }
}

TEST(KillSweep, NamedQueue) {
    Report::run([] {
        using State = NameState;
        sweep_name("create", {.act = create}, {State::missing, State::there}, {State::missing});
        using States = std::vector<State>;
        sweep_name("open", {.act = open},
                   is_thorough() ? States{State::there, State::in_use} : States{State::there});
        sweep_name("open_or_create", {.act = open_or_create},
                   is_thorough() ? States{State::missing, State::there} : States{State::there});
        sweep_name("open_or_create, put", {.act = open_and_put, .puts = 2},
                   is_thorough() ? States{State::missing, State::there, State::in_use}
                                 : States{State::missing, State::in_use},
                   {State::in_use});
        sweep_name("unlink", {.act = remove, .removes = true}, {State::there});
    });
}

/// The first operation of a thread anywhere: its bell is armed, it becomes a member.
class AttachScene : public Scene {
 public:
    AttachScene() : queue_({.capacity = 4, .wait = Wait::park}) {}

    // It looks for a free entry in the registry of all processes.
    bool depends_on_others() const override { return true; }
    void act() override {
        queue_.put(100);
        notes_->note_put();
    }
    void rival() override {
        require(queue_.try_put(200), "no room for a rival");
        ledger_.put(200);
    }
    int check(bool) override {
        for (int attempt = 0; attempt < 300; ++attempt) {
            if (const auto got = queue_.try_get()) {
                ledger_.got(*got);
            }
        }
        const int put = ledger_.settle_puts({100}, notes_->put.load());
        ledger_.settle();
        // Many more come and go: neither places nor bells run out.
        for (std::size_t count = 0; count < queue_.capacity(); ++count) {
            queue_.put(count);
        }
        require(queue_.full(), "slots are missing: not full");
        return put;
    }

 private:
    Numbers queue_;
    Ledger ledger_;
    test::Shared<Notes> notes_;
};

TEST(KillSweep, FirstOperationOfAForkedChild) {
    Report::run([] {
        Report::add(
            sweep("fork, first put", "empty", [] { return std::make_unique<AttachScene>(); }));
    });
}

}  // namespace
}  // namespace sluice::crash
