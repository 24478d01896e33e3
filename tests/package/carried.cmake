# Configures a project that carries sluice by add_subdirectory, and compiles against its headers.
function(run what)
  execute_process(COMMAND ${ARGN}
    RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${what} failed:\n${output}")
  endif()
endfunction()

file(REMOVE_RECURSE ${WORK})
run("configuring" ${CMAKE_COMMAND} -S ${SUBPROJECT} -B ${WORK} -G ${GENERATOR}
  -DCMAKE_CXX_COMPILER=${COMPILER} -DSLUICE_SOURCE=${SOURCE})
run("compiling" ${CMAKE_COMMAND} --build ${WORK} --target program)
