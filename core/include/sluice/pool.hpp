// Pool: worker processes that run functions, as Python's multiprocessing.Pool.
//
//     int square(int i) { return i * i; }
//
//     sluice::Pool pool(4);
//     int nine = pool.apply(square, 3);
//     std::vector<int> squares = pool.map(square, std::vector{1, 2, 3});
//     pool.apply_async(square, 4).then([](int result) { std::cout << result << '\n'; });
//     pool.close();
//     pool.join();
//
// Workers are copies of this process as it was when the Pool was made: functions that are there are
// found there; what either side changes afterwards the other does not see. A worker's death costs
// its one task: that fails with WorkerDied, or is run again (PoolOptions::on_worker_death); the
// others never notice, and a new worker takes its place and its CPUs.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "sluice/detail/pool_codec.hpp"
#include "sluice/detail/pool_core.hpp"
#include "sluice/detail/pool_map.hpp"
#include "sluice/error.hpp"
#include "sluice/placement.hpp"
#include "sluice/pool_options.hpp"
#include "sluice/wait.hpp"

namespace sluice {

namespace detail {

/// The value of an AsyncResult<R>.
template <class R>
class AsyncValue final : public AsyncCore {
 public:
    explicit AsyncValue(std::shared_ptr<PoolCore> pool) : AsyncCore(std::move(pool), 1) {}
    [[nodiscard]] const R& value() const { return *value_; }

 protected:
    void take(std::uint32_t, std::span<const std::byte> result) override {
        value_.emplace(decode_value<R>(result));
    }

 private:
    std::optional<R> value_{};
};
template <>
class AsyncValue<void> final : public AsyncCore {
 public:
    explicit AsyncValue(std::shared_ptr<PoolCore> pool) : AsyncCore(std::move(pool), 1) {}
    void value() const {}

 protected:
    void take(std::uint32_t, std::span<const std::byte>) override {}
};

/// The same of a map, chunk by chunk.
template <class R>
class AsyncMap final : public AsyncCore {
 public:
    AsyncMap(std::shared_ptr<PoolCore> pool, std::size_t items, std::size_t chunk)
        : AsyncCore(std::move(pool), static_cast<std::uint32_t>((items + chunk - 1) / chunk)),
          items_(items),
          chunk_(chunk),
          results_(items) {}
    [[nodiscard]] auto value() const { return results_.copy(); }

 protected:
    void take(std::uint32_t part, std::span<const std::byte> result) override {
        const std::size_t first = part * chunk_;
        decode_chunk<R>(results_, first, std::min(chunk_, items_ - first), result);
    }

 private:
    std::size_t items_;
    std::size_t chunk_;
    ResultStore<R> results_;
};

}  // namespace detail

/// What will become of a task: its value or its error. A handle; copies lead to the same.
/// Destroying it neither waits nor cancels.
///
/// Errors: get() throws what became of the task: RemoteError with the type's name and the message
/// of what it threw; WorkerDied; Error where it was cancelled or the Pool broke; Closed where the
/// Pool was terminated. NotPermitted in a child of the process that made it.
/// Callers: any thread.
template <class R>
class AsyncResult {
 public:
    /// The value, a copy. Blocks: until it is there.
    R get() const {
        wait();
        throw_error();
        return value_();
    }
    /// The value if it comes in time; void: whether it did.
    template <class Rep, class Period>
    [[nodiscard]] auto get_for(std::chrono::duration<Rep, Period> timeout) const {
        if constexpr (std::is_void_v<R>) {
            const bool in_time = wait_for(timeout);
            if (in_time) {
                throw_error();
            }
            return in_time;
        } else {
            if (!wait_for(timeout)) {
                return std::optional<R>{};
            }
            throw_error();
            return std::optional<R>(value_());
        }
    }
    void wait() const { static_cast<void>(core_->wait(detail::Deadline::never())); }
    template <class Rep, class Period>
    [[nodiscard]] bool wait_for(std::chrono::duration<Rep, Period> timeout) const {
        return core_->wait(detail::Deadline::after(timeout));
    }
    /// Whether it has ended, one way or the other. Blocks: never.
    [[nodiscard]] bool ready() const noexcept { return core_->ready(); }
    /// Whether it returned. Errors: Error when it is not ready.
    [[nodiscard]] bool successful() const {
        if (!ready()) {
            throw Error("AsyncResult: not ready yet");
        }
        return core_->error() == nullptr;
    }
    /// Cancels what has not started; whether there was such. Its get() throws Error then.
    bool cancel() const { return core_->cancel(); }

    /// Calls back once it has ended, also when that was before: `callback` with the value (void:
    /// with nothing), or `error_callback` with a const std::exception&. On the Pool's one handler
    /// thread, in the order in which tasks end; a callback that waits holds up the others.
    template <class Callback, class ErrorCallback = std::nullptr_t>
    const AsyncResult& then(Callback callback, ErrorCallback error_callback = {}) const& {
        add(std::move(callback), std::move(error_callback));
        return *this;
    }
    template <class Callback, class ErrorCallback = std::nullptr_t>
    AsyncResult then(Callback callback, ErrorCallback error_callback = {}) && {
        add(std::move(callback), std::move(error_callback));
        return std::move(*this);
    }

 private:
    friend class Pool;
    template <class Core>
    explicit AsyncResult(const std::shared_ptr<Core>& core)
        : core_(core), value_([raw = core.get()]() -> R { return raw->value(); }) {}

    void throw_error() const {
        if (const std::exception_ptr error = core_->error()) {
            std::rethrow_exception(error);
        }
    }
    template <class Callback, class ErrorCallback>
    void add(Callback callback, ErrorCallback error_callback) const {
        // No handle of itself: what it holds would hold it. The value's core lives while it runs.
        core_->then([core = core_.get(), value = value_, callback = std::move(callback),
                     error_callback = std::move(error_callback)]() mutable {
            if (const std::exception_ptr error = core->error()) {
                if constexpr (!std::is_null_pointer_v<ErrorCallback>) {
                    try {
                        std::rethrow_exception(error);
                    } catch (const std::exception& what) {
                        std::invoke(error_callback, what);
                    }
                }
            } else if constexpr (std::is_void_v<R>) {
                std::invoke(callback);
            } else {
                std::invoke(callback, value());
            }
        });
    }

    std::shared_ptr<detail::AsyncCore> core_;
    std::function<R()> value_;
};

/// A pool of worker processes.
///
/// f may be a function, a lambda without captures, or an aggregate of values with an operator();
/// arguments and results are what a Queue can carry. Arguments are copied when the task is given.
/// Handles on shared objects (Queue, Lock, Dict, Manager, ...; alone, or in a vector, optional,
/// tuple, pair or array) can be arguments where the object was made before the Pool, or has a name;
/// results, where it has a name. (A name in a Manager does not count: send the Manager, too.) A
/// worker opens an object once, and keeps the last 64 open.
///
/// A handle: copies lead to the same Pool. When the last is destroyed the Pool is terminated, as
/// at the end of Python's with-block. In a child of the process that made it a Pool does nothing
/// when destroyed, and refuses everything else with NotPermitted; a child, and a worker, may make
/// Pools of its own.
///
/// Errors: Closed for tasks after close() or terminate(). Error when it is broken: a worker that
/// dies or throws in its start three times in a row, or the nursery (the child that makes workers)
/// was killed. NotPermitted for a handle on an object without a name that was made after the Pool;
/// the task fails with BadSegment's text where the name leads to another object by then. Whatever a
/// task ends with: see AsyncResult.
/// Callers: any thread of the process that made it.
/// Crash: the owner's death, at whatever moment, ends the workers; nothing stays behind.
/// Cost: a task needs no system call unless somebody sleeps; arguments and results above 200 bytes
/// in all need one or two. One thread in this process, from the first asynchronous task on.
/// Source: docs.python.org/3/library/multiprocessing.html#module-multiprocessing.pool
class Pool {
 public:
    /// One worker for each CPU that can be used.
    Pool() : Pool(PoolOptions{}) {}
    explicit Pool(std::size_t workers) : Pool(PoolOptions{.workers = workers}) {}
    /// Blocks: until the workers are where they are to run (not: until they are initialised).
    /// Errors: std::invalid_argument, for a placement that cannot be; std::system_error; Error,
    /// when the workers cannot be made.
    explicit Pool(PoolOptions options)
        : handle_(std::make_shared<Handle>(detail::PoolCore::make(options))) {}

    /// f(args...) in a worker. Blocks: until it has returned.
    template <class F, class... Args>
    auto apply(F&& f, Args&&... args) const {
        return call(
            [this]<class R>(std::type_identity<R>, const detail::TaskOrder& order) {
                return this->template run<R>(order);
            },
            std::forward<F>(f), std::forward<Args>(args)...);
    }

    /// The same without waiting. Blocks: never; tasks beyond what the table holds wait in this
    /// process's memory.
    template <class F, class... Args>
    auto apply_async(F&& f, Args&&... args) const {
        return call(
            [this]<class R>(std::type_identity<R>, const detail::TaskOrder& order) {
                const auto value = std::make_shared<detail::AsyncValue<R>>(this->core());
                this->core()->submit(order, value, 0);
                return AsyncResult<R>(value);
            },
            std::forward<F>(f), std::forward<Args>(args)...);
    }

    /// f of each item, in the order of the items, `chunk` of them a task (0: chosen from how long
    /// they take). The first error that is met is thrown when what had started has ended.
    /// Blocks: until then.
    template <class F, class Items>
    auto map(F&& f, const Items& items, std::size_t chunk = 0) const {
        return map_now<detail::Spread::one>(std::forward<F>(f), items, chunk);
    }
    /// The same for items that are tuples of arguments.
    template <class F, class Items>
    auto starmap(F&& f, const Items& items, std::size_t chunk = 0) const {
        return map_now<detail::Spread::tuple>(std::forward<F>(f), items, chunk);
    }
    /// The same without waiting: one result for all.
    template <class F, class Items>
    auto map_async(F&& f, const Items& items, std::size_t chunk = 0) const {
        return map_later<detail::Spread::one>(std::forward<F>(f), items, chunk);
    }
    template <class F, class Items>
    auto starmap_async(F&& f, const Items& items, std::size_t chunk = 0) const {
        return map_later<detail::Spread::tuple>(std::forward<F>(f), items, chunk);
    }

    /// A range of the results, in the order of the items, filled while it is read. The items are
    /// read lazily, at most four chunks a worker ahead; an rvalue is kept in the range. An item
    /// that failed throws where its result would be read; the next one can be read after it.
    template <class F, class Items>
    auto imap(F&& f, Items&& items, std::size_t chunk = 1) const {
        return lazily<detail::Order::as_given>(std::forward<F>(f), std::forward<Items>(items),
                                               chunk);
    }
    /// The same, results as they come.
    template <class F, class Items>
    auto imap_unordered(F&& f, Items&& items, std::size_t chunk = 1) const {
        return lazily<detail::Order::as_settled>(std::forward<F>(f), std::forward<Items>(items),
                                                 chunk);
    }

    /// Takes no more tasks. Blocks: never.
    void close() const { core()->close(); }
    /// Waits until all tasks have ended, the last callback has returned, and the workers are gone.
    /// Errors: Error without close() or terminate() before it.
    void join() const { core()->join(); }
    /// Kills the workers. Tasks that have not ended end with Closed, and their error callbacks are
    /// called. Blocks: until the workers are gone.
    void terminate() const {
        core()->require_here();
        core()->terminate();
    }
    /// The workers as they are now; pid 0 where one is just being replaced, until its successor
    /// has been bound.
    [[nodiscard]] std::vector<WorkerInfo> workers() const { return core()->workers(); }

 private:
    struct Handle {
        explicit Handle(std::shared_ptr<detail::PoolCore> made) : core(std::move(made)) {}
        Handle(const Handle&) = delete;
        Handle& operator=(const Handle&) = delete;
        ~Handle() { core->terminate(); }
        std::shared_ptr<detail::PoolCore> core;
    };

    [[nodiscard]] const std::shared_ptr<detail::PoolCore>& core() const { return handle_->core; }

    template <class R>
    R run(const detail::TaskOrder& order) const {
        if constexpr (std::is_void_v<R>) {
            core()->run(
                order, [](void*, std::span<const std::byte>) {}, nullptr);
        } else {
            std::optional<R> value;
            core()->run(
                order,
                [](void* context, std::span<const std::byte> bytes) {
                    static_cast<std::optional<R>*>(context)->emplace(
                        detail::decode_value<R>(bytes));
                },
                &value);
            return std::move(*value);
        }
    }

    // Checks the types, encodes, and passes the order on.
    template <class Send, class F, class... Args>
    auto call(Send&& send, F&& f, Args&&... args) const {
        using Function = std::decay_t<F>;
        static_assert(detail::check_pool_function<Function>());
        if constexpr (detail::is_pool_function<Function>) {
            using Stored = detail::StoredTuple<Function, Args...>;
            const Function function = std::forward<F>(f);
            return encode_and_send(function, Stored(std::forward<Args>(args)...), send);
        }
    }
    template <class Function, class Stored, class Send>
    auto encode_and_send(const Function& function, const Stored& stored, Send& send) const {
        return std::apply(
            [&]<class... S>(const S&... arguments) {
                static_assert((detail::check_pool_value<S>() && ...));
                static_assert(detail::CallableWith<Function, S...>,
                              "sluice: the function cannot be called with these arguments");
                using R = typename detail::ResultOf<Function, Stored>::Type;
                check_result<R>();
                const auto order = [&](std::span<const std::byte> bytes) {
                    return detail::TaskOrder{&detail::CallThunk<Function, Stored>::run,
                                             detail::function_word(function), bytes, false};
                };
                if constexpr (detail::travels_with_arguments<Function>) {
                    const detail::Encoded<Function, S...> encoded(
                        detail::Inherited{core()->inherited()}, function, arguments...);
                    return send(std::type_identity<R>{}, order(encoded.bytes()));
                } else {
                    const detail::Encoded<S...> encoded(detail::Inherited{core()->inherited()},
                                                        arguments...);
                    return send(std::type_identity<R>{}, order(encoded.bytes()));
                }
            },
            stored);
    }
    template <class R>
    static void check_result() {
        if constexpr (!std::is_void_v<R>) {
            static_assert(detail::check_pool_value<R>());
        }
    }

    template <detail::Spread kSpread, class F, class Items>
    auto map_now(F&& f, const Items& items, std::size_t chunk) const {
        using Function = std::decay_t<F>;
        static_assert(detail::check_pool_function<Function>());
        using T = std::decay_t<decltype(*std::begin(items))>;
        static_assert(detail::check_pool_value<T>());
        using R = detail::ItemResult<kSpread, Function, T>;
        check_result<R>();
        const Function function = std::forward<F>(f);
        core()->require_open();
        const auto count =
            static_cast<std::size_t>(std::distance(std::begin(items), std::end(items)));
        detail::ResultStore<R> results(count);
        if (count != 0) {
            detail::work_through<kSpread, Function, T, R>(core(), function, std::begin(items),
                                                          count, chunk, results);
        }
        return results.take();
    }

    template <detail::Spread kSpread, class F, class Items>
    auto map_later(F&& f, const Items& items, std::size_t chunk) const {
        using Function = std::decay_t<F>;
        static_assert(detail::check_pool_function<Function>());
        using T = std::decay_t<decltype(*std::begin(items))>;
        static_assert(detail::check_pool_value<T>());
        using R = detail::ItemResult<kSpread, Function, T>;
        check_result<R>();
        using Result = AsyncResult<std::conditional_t<std::is_void_v<R>, void, VectorOf<R>>>;
        const Function function = std::forward<F>(f);
        core()->require_open();
        const auto count =
            static_cast<std::size_t>(std::distance(std::begin(items), std::end(items)));
        if (chunk == 0) {  // nothing is measured yet: four a worker, as Python
            chunk = std::max<std::size_t>(1, count / (4 * core()->worker_count()));
        }
        const auto map = std::make_shared<detail::AsyncMap<R>>(core(), count, chunk);
        detail::ChunkBytes<Function, T> bytes(detail::Inherited{core()->inherited()});
        auto item = std::begin(items);
        std::uint32_t part = 0;
        for (std::size_t first = 0; first < count; first += chunk) {
            core()->submit(
                {&detail::MapThunk<kSpread, Function, T>::run, detail::function_word(function),
                 bytes.encode(function, item, std::min(chunk, count - first)), false},
                map, part++);
        }
        if (count == 0) {
            map->settle_empty();
        }
        return Result(map);
    }
    template <class R>
    using VectorOf = std::vector<std::conditional_t<std::is_void_v<R>, char, R>>;

    template <detail::Order kOrder, class F, class Items>
    auto lazily(F&& f, Items&& items, std::size_t chunk) const {
        using Function = std::decay_t<F>;
        static_assert(detail::check_pool_function<Function>());
        using Range = detail::PoolRange<detail::Spread::one, kOrder, Function, Items>;
        static_assert(detail::check_pool_value<typename Range::T>());
        static_assert(detail::check_pool_value<typename Range::R>());
        core()->require_open();
        return Range(core(), std::forward<F>(f), std::forward<Items>(items), chunk);
    }

    std::shared_ptr<Handle> handle_;
};

}  // namespace sluice
