// The one place where failures of shm/ become exceptions.
#include "sluice/detail/failure.hpp"

#include <stdexcept>
#include <string>
#include <system_error>

#include "sluice/error.hpp"

namespace sluice::detail {

void throw_failure(std::string_view object, const shm::Failure& failure) {
    const std::string text = std::string(object) + ": " + failure.text;
    switch (failure.kind) {
        case shm::FailureKind::bad_segment:
            throw BadSegment(text);
        case shm::FailureKind::not_permitted:
            throw NotPermitted(text);
        case shm::FailureKind::bad_argument:
            throw std::invalid_argument(text);
        case shm::FailureKind::environment:
        case shm::FailureKind::none:
            break;
    }
    throw std::system_error(failure.error, std::generic_category(), text);
}

}  // namespace sluice::detail
