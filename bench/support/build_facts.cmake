# Writes OUTPUT: the commit, compiler and flags of this build, as strings.
execute_process(COMMAND git -C ${SOURCE_DIR} describe --always --dirty --abbrev=12 --exclude=*
  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
  set(commit "unknown")
endif()
string(STRIP "${FLAGS}" flags)
set(text "// Written by the build: what a result must say about the program that made it.
#pragma once

namespace sluice::bench {
inline constexpr const char* kBuildCommit = \"${commit}\";
inline constexpr const char* kBuildCompiler = \"${COMPILER}\";
inline constexpr const char* kBuildFlags = \"${flags}\";
}  // namespace sluice::bench
")
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "${text}" @ONLY)
