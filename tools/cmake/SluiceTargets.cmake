# What every target of this repository has in common: the language, the warnings, the sanitizers;
# and sluice_test(), which makes one CTest entry for each test of a GoogleTest program.
if(PROJECT_IS_TOP_LEVEL)  # else these are for the project that carries us to say
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Build type" FORCE)
  endif()
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
endif()

add_library(sluice_options INTERFACE)
target_compile_features(sluice_options INTERFACE cxx_std_20)
target_compile_options(sluice_options INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wold-style-cast -Wcast-align
  -Wcast-qual -Wnon-virtual-dtor -Woverloaded-virtual -Wformat=2 -Wundef -Wextra-semi
  -Wredundant-decls -Wmissing-declarations
  # -Wno-restrict: g++ 12 warns of std::string's own operator+ (its bug 105651).
  $<$<CXX_COMPILER_ID:GNU>:-Wduplicated-cond -Wlogical-op -Wno-restrict>
  $<$<BOOL:${SLUICE_WARNINGS_AS_ERRORS}>:-Werror>)
if(SLUICE_SANITIZE)
  add_compile_options(
    -fsanitize=${SLUICE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${SLUICE_SANITIZE})
  if(SLUICE_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # g++ warns that ThreadSanitizer does not model fences. Ours only keep a store before a load,
    # both atomic: nothing that happens-before is taken from them.
    add_compile_options(-Wno-tsan)
  endif()
endif()

set(SLUICE_SOAK 0 CACHE STRING "Seconds that the environment's SLUICE_SOAK grants each stress test")

# sluice_test(<name> SOURCES <file>... [LIBRARIES <target>...] [LABEL <unit|crash|stress|...>]
#             [TIMEOUT <s>] [COST <s>])
# One executable, and one CTest entry for each TEST() in it. The timeout is a watchdog, not a speed
# limit. COST: about how long its longest tests take; several at a time, ctest begins with the
# longest, or it would end with one of them on one CPU. What names none fills the gaps.
function(sluice_test name)
  cmake_parse_arguments(arg "" "LABEL;TIMEOUT;COST" "SOURCES;LIBRARIES" ${ARGN})
  if(NOT arg_LABEL)
    set(arg_LABEL unit)
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  if(arg_LABEL MATCHES "stress")
    math(EXPR arg_TIMEOUT "${arg_TIMEOUT} + ${SLUICE_SOAK}")
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE sluice_options GTest::gtest_main ${arg_LIBRARIES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  if(CMAKE_BUILD_TYPE STREQUAL "Release" AND arg_LABEL STREQUAL "unit")
    # The libraries are optimised as they are installed; optimising what calls them would take
    # most of the build's time and tell nothing. (Stress tests and the kill sweep are optimised.)
    target_compile_options(${name} PRIVATE -O1)
  endif()
  if(SLUICE_PRECOMPILE)
    target_precompile_headers(${name} REUSE_FROM sluice_test_headers)
  endif()
  set(properties LABELS ${arg_LABEL} TIMEOUT ${arg_TIMEOUT})
  if(arg_LABEL STREQUAL "crash")
    list(APPEND properties PROCESSORS 1 PROCESSOR_AFFINITY ON)  # a CPU of its own
  endif()
  if(arg_COST)
    list(APPEND properties COST ${arg_COST})
  endif()
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 PROPERTIES ${properties})
endfunction()
