#include "spawn.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <sluice/detail/barrier_core.hpp>
#include <sluice/detail/parcel.hpp>
#include <sluice/detail/target.hpp>
#include <sluice/error.hpp>
#include <sluice/placement.hpp>
#include <sluice/process.hpp>
#include <string_view>
#include <system_error>
#include <vector>

#include "family.hpp"
#include "life_line.hpp"

namespace sluice {
namespace detail {
namespace {

// argv of a spawned child: the program, this word, the parcel's descriptor, and for people who look
// at a list of processes the child's name.
constexpr std::string_view kSpawnWord = "--sluice-spawn";
constexpr std::uint64_t kMagic = 0x4c45'4352'4150'5353ULL;  // "SSPARCEL"
constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

// Inherited by children made by fork, whose main this is, too. relaxed: set before main goes on
constinit std::atomic<bool> main_is_ready{false};

[[noreturn]] void throw_errno(int error, const std::string& what) {
    throw std::system_error(error, std::generic_category(), what);
}

/// Where the child reads the parcel: complete, and unchangeable.
Descriptor store(const Parcel& front, const Parcel& parcel, const std::string& who) {
    Descriptor file(::memfd_create("sluice:parcel", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (file.get() < 0) {
        throw_errno(errno, who + ": memfd_create");
    }
    for (std::span<const std::byte> left : {front.bytes(), parcel.bytes()}) {
        while (!left.empty()) {
            const ssize_t written = ::write(file.get(), left.data(), left.size());
            if (written > 0) {
                left = left.subspan(static_cast<std::size_t>(written));
            } else if (errno != EINTR) {
                throw_errno(errno, who + ": write of its arguments");
            }
        }
    }
    if (::fcntl(file.get(), F_ADD_SEALS, kSeals) != 0) {
        throw_errno(errno, who + ": fcntl(F_ADD_SEALS)");
    }
    return file;
}

/// What the child knows before its target: written here, read by run_spawned().
void put_descent(Parcel& parcel, const ProcessState& state) {
    const Family& here = family();
    parcel.put_text(state.name());
    parcel.put_text(state.identity());
    parcel.put(state.options().daemon);
    parcel.put_text(here.self->name());
    parcel.put_text(here.self->identity());
    parcel.put(here.self->options().daemon);
    parcel.put(here.birth.pid);
    parcel.put(here.authkey);
}

Descent take_descent(Unparcel& parcel) {
    Descent descent;
    descent.name = parcel.take_text();
    descent.identity = parcel.take_text();
    descent.daemon = parcel.take<bool>();
    descent.parent_name = parcel.take_text();
    descent.parent_identity = parcel.take_text();
    descent.parent_is_daemon = parcel.take<bool>();
    descent.parent_pid = parcel.take<pid_t>();
    descent.authkey = parcel.take<AuthKey>();
    return descent;
}

void put_binding(Parcel& parcel, const Binding& binding) {
    parcel.put_bytes(std::as_bytes(std::span(binding.cpus)));
    parcel.put(binding.node);
}

Binding take_binding(Unparcel& parcel) {
    Binding binding;
    const std::span<const std::byte> cpus = parcel.take_bytes();
    binding.cpus.resize(cpus.size() / sizeof(unsigned));
    if (!cpus.empty()) {
        std::memcpy(binding.cpus.data(), cpus.data(), binding.cpus.size() * sizeof(unsigned));
    }
    binding.node = parcel.take<int>();
    return binding;
}

/// The descriptors that came with the parcel. Who unpacks a handle duplicates its own: these are
/// closed then, since one that holds a lock would say for ever that somebody holds an end.
class InheritedDescriptors {
 public:
    explicit InheritedDescriptors(Unparcel& parcel) : list_(take(parcel)) {
        for (const int descriptor : list_) {
            ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
        }
    }
    InheritedDescriptors(const InheritedDescriptors&) = delete;
    InheritedDescriptors& operator=(const InheritedDescriptors&) = delete;
    ~InheritedDescriptors() {
        for (const int descriptor : list_) {
            ::close(descriptor);
        }
    }

    static void put(const std::vector<int>& descriptors, Parcel& parcel) {
        parcel.put_bytes(std::as_bytes(std::span(descriptors)));
    }

 private:
    static std::vector<int> take(Unparcel& parcel) {
        const std::span<const std::byte> bytes = parcel.take_bytes();
        std::vector<int> list(bytes.size() / sizeof(int));
        if (!list.empty()) {
            std::memcpy(list.data(), bytes.data(), list.size() * sizeof(int));
        }
        return list;
    }

    const std::vector<int> list_;
};

/// What posix_spawn does in the child before it executes the program.
class Inheritance {
 public:
    explicit Inheritance(const std::string& who) : who_(who) {
        if (const int error = ::posix_spawn_file_actions_init(&actions_); error != 0) {
            throw_errno(error, who_ + ": posix_spawn_file_actions_init");
        }
    }
    Inheritance(const Inheritance&) = delete;
    Inheritance& operator=(const Inheritance&) = delete;
    ~Inheritance() { ::posix_spawn_file_actions_destroy(&actions_); }

    void add(int descriptor) {
        // To itself: that takes close-on-exec away, in the child alone.
        if (const int error = ::posix_spawn_file_actions_adddup2(&actions_, descriptor, descriptor);
            error != 0) {
            throw_errno(error, who_ + ": posix_spawn_file_actions_adddup2");
        }
    }
    [[nodiscard]] const posix_spawn_file_actions_t* get() const noexcept { return &actions_; }

 private:
    const std::string& who_;
    posix_spawn_file_actions_t actions_{};
};

}  // namespace

void refuse_to_spawn_target(std::string_view type) {
    throw NotPermitted("the target (" + std::string(type) +
                       ") cannot be spawned: it captures something, or is a pointer to a member; "
                       "use a function or a lambda without captures and pass values as arguments, "
                       "or StartMethod::fork");
}

void refuse_to_spawn_argument(std::size_t number, std::string_view type) {
    throw NotPermitted("argument " + std::to_string(number) + " (" + std::string(type) +
                       ") cannot travel to a spawned process: it is neither a value that a "
                       "Queue<T> could carry (strings, containers and classes with MSGPACK_DEFINE "
                       "need <sluice/msgpack.hpp>) nor a handle; or use StartMethod::fork");
}

std::unique_ptr<Target> unpack_target(Unparcel& parcel) {
    return reinterpret_cast<Unpacker>(parcel.take_function())(parcel);
}

void require_spawn_main(const std::string& who) {
    if (!main_is_ready.load(std::memory_order_relaxed)) {  // see there
        throw NotPermitted(who +
                           ": StartMethod::spawn needs sluice::spawn_main(argc, argv) as the first "
                           "line of main");
    }
}

pid_t spawn_child(const ProcessState& state, const Target& target) {
    const std::string who = "Process '" + state.name() + "'";
    Parcel parcel;
    put_descent(parcel, state);
    put_binding(parcel, state.options().binding);
    try {
        target.pack(parcel);
    } catch (const NotPermitted& error) {
        throw NotPermitted(who + ": " + error.what());
    }
    std::vector<int> descriptors = parcel.descriptors();  // of a queue passed twice, each twice
    std::sort(descriptors.begin(), descriptors.end());
    descriptors.erase(std::unique(descriptors.begin(), descriptors.end()), descriptors.end());
    const int line = state.options().daemon ? life_line() : -1;
    Parcel front;
    front.put(kMagic);
    front.put(line);
    InheritedDescriptors::put(descriptors, front);
    const Descriptor file = store(front, parcel, who);

    Inheritance inheritance(who);
    inheritance.add(file.get());
    if (line >= 0) {
        inheritance.add(line);
    }
    for (const int descriptor : descriptors) {
        inheritance.add(descriptor);
    }
    std::string program(program_invocation_name);
    std::string word(kSpawnWord);
    std::string number = std::to_string(file.get());
    std::string name = state.name();
    char* const argv[] = {program.data(), word.data(), number.data(), name.data(), nullptr};
    flush_standard_streams();
    pid_t pid = 0;
    const int error =
        ::posix_spawn(&pid, "/proc/self/exe", inheritance.get(), nullptr, argv, environ);
    if (error != 0) {
        throw_errno(error, who + ": posix_spawn of /proc/self/exe");
    }
    return pid;
}

namespace {

/// The parcel that a parent stored; empty where the descriptor leads to none.
std::vector<std::byte> read_parcel(int descriptor) {
    struct stat info {};
    std::vector<std::byte> bytes;
    if (::fcntl(descriptor, F_GET_SEALS) != kSeals || ::fstat(descriptor, &info) != 0) {
        return bytes;
    }
    bytes.resize(static_cast<std::size_t>(info.st_size));
    for (std::size_t done = 0; done < bytes.size();) {
        const ssize_t got =
            ::pread(descriptor, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
        if (got > 0) {
            done += static_cast<std::size_t>(got);
        } else if (got == 0 || errno != EINTR) {
            return {};
        }
    }
    return bytes;
}

[[noreturn]] void run_spawned(int descriptor) {
    std::string name = "spawned";
    int code = 0;
    try {
        const std::vector<std::byte> bytes = read_parcel(descriptor);
        Unparcel parcel(bytes);
        if (bytes.size() < sizeof kMagic || parcel.take<std::uint64_t>() != kMagic) {
            throw Error(std::string(kSpawnWord) + " is for sluice's own use");
        }
        ::close(descriptor);
        if (const int line = parcel.take<int>(); line >= 0) {
            hold_life_line(line);  // first: until then nothing ends it with its parent
        }
        std::optional<InheritedDescriptors> inherited(std::in_place, parcel);
        const Descent descent = take_descent(parcel);
        name = descent.name;
        become(descent);
        bind_this_thread(take_binding(parcel));
        const std::unique_ptr<Target> target = unpack_target(parcel);
        inherited.reset();
        target->adopt();
        target->call();
    } catch (...) {
        code = 1;
        print_exception(name);
    }
    if (code == 0) {
        BarrierCore::leave_all();
    }
    end_children();
    flush_standard_streams();
    std::fflush(nullptr);  // nobody else has a copy of any of them
    ::_exit(code);
}

}  // namespace
}  // namespace detail

void spawn_main(int argc, char** argv) {
    using namespace detail;
    if (::getauxval(AT_SECURE) != 0) {
        return;
    }
    main_is_ready.store(true, std::memory_order_relaxed);  // see there
    if (argc < 3 || argv[1] != kSpawnWord) {
        return;
    }
    int descriptor = -1;
    const char* const end = argv[2] + std::strlen(argv[2]);
    if (std::from_chars(argv[2], end, descriptor).ptr != end) {
        descriptor = -1;
    }
    run_spawned(descriptor);
}

}  // namespace sluice
