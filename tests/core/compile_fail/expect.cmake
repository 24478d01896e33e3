# cmake -DCOMPILER=... -DINCLUDES=a|b -DSOURCE=... -DMESSAGE=... -P expect.cmake
# Compiles one file. With a MESSAGE: passes if the compiler reports exactly one error and it holds
# the message (one readable sentence, no cascade). Without: passes if the file compiles.
string(REPLACE "|" ";-I" include_options "-I${INCLUDES}")
execute_process(COMMAND ${COMPILER} -std=c++20 -fsyntax-only ${include_options} ${SOURCE}
                RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
string(REPLACE ";" "," output "${output}")  # a list would split there
string(REGEX MATCHALL "error:[^\n]*" errors "${output}")
list(LENGTH errors count)
if(NOT MESSAGE)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "does not compile:\n${output}")
  endif()
elseif(NOT count EQUAL 1)
  message(FATAL_ERROR "expected one error, got ${count}:\n${output}")
elseif(NOT errors MATCHES "${MESSAGE}")
  message(FATAL_ERROR "expected an error with '${MESSAGE}':\n${output}")
endif()
