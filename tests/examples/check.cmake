# Runs a program and compares what it prints with a file, line by line. The order of lines from
# different processes is free, but the main process's last line is the last.
# As a script: cmake -DPROGRAM=... -DEXPECTED=... [-DOTHER=...] -P check.cmake; OTHER runs beside.
function(sluice_check_example program expected)
  set(other)
  if(OTHER)
    set(other COMMAND ${OTHER})
  endif()
  execute_process(${other} COMMAND ${program}
    RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE errors)
  file(READ ${expected} wanted)
  foreach(text output wanted)
    # Brackets mean something in CMake's lists.
    string(REPLACE "[" "<" ${text} "${${text}}")
    string(REPLACE "]" ">" ${text} "${${text}}")
    string(STRIP "${${text}}" ${text}_lines)
    string(REPLACE "\n" ";" ${text}_lines "${${text}_lines}")
    list(GET ${text}_lines -1 ${text}_last)
    list(SORT ${text}_lines)
  endforeach()
  if(NOT result EQUAL 0 OR NOT output_lines STREQUAL wanted_lines
     OR (wanted_last MATCHES "^MasterProcess" AND NOT output_last STREQUAL wanted_last))
    message(FATAL_ERROR
      "${program}: exit code ${result}; it printed\n${output}\n${errors}\nexpected\n${wanted}")
  endif()
endfunction()

if(DEFINED PROGRAM)
  sluice_check_example(${PROGRAM} ${EXPECTED})
endif()
