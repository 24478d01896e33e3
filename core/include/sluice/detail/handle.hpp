// What handles on shared objects have in common: they share the object's body in this process, and
// are passed on to spawned processes and to a Pool's workers. Their public names they say
// themselves.
#pragma once

#include <concepts>
#include <memory>
#include <utility>

#include "sluice/detail/object_core.hpp"
#include "sluice/detail/parcel.hpp"

namespace sluice::detail {

class AnyHandle {};

/// A handle on an object whose body in this process is a Core, made as `Core(origin, shape...)`.
template <class Core>
class Handle : public AnyHandle {
 protected:
    template <class... Shape>
    explicit Handle(const Origin& origin, const Shape&... shape)
        : core_(std::make_shared<Core>(origin, shape...)) {}
    explicit Handle(std::shared_ptr<Core> core) : core_(std::move(core)) {}

    /// The body of the object that comes next in a parcel. A handle whose shape says more than the
    /// Core's default hides this by one of its own.
    template <class... Shape>
    static std::shared_ptr<Core> received(Unparcel& parcel, const Shape&... shape) {
        return parcel.take_object<Core>(
            [&] { return std::make_shared<Core>(Origin(parcel), shape...); });
    }

    std::shared_ptr<Core> core_;

 private:
    template <class>
    friend struct Passing;
};

/// There may be as many copies as one likes.
template <std::derived_from<AnyHandle> T>
struct Passing<T> {
    static constexpr bool kIsShared = true;
    static void pack(const T& handle, Parcel& parcel) {
        parcel.put_segment(handle.core_->segment(), handle.core_->object());
    }
    static T unpack(Unparcel& parcel) { return T(T::received(parcel)); }
};

}  // namespace sluice::detail
