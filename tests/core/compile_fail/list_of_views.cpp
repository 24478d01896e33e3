#include <sluice/list.hpp>
#include <string_view>

sluice::List<std::string_view> list;
