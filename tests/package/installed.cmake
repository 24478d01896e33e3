# Installs the build into a prefix of its own, builds the consumer against it, runs its programs.
include(${EXAMPLES}/check.cmake)

function(run what)
  execute_process(COMMAND ${ARGN}
    RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${what} failed:\n${output}")
  endif()
endfunction()

file(REMOVE_RECURSE ${WORK})
file(COPY ${CONSUMER} ${EXAMPLES} DESTINATION ${WORK})
run("install" ${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix --config "${CONFIG}")

# The package can be moved: it names no folder of the machine that built it.
file(GLOB_RECURSE scripts ${WORK}/prefix/*.cmake)
if(NOT scripts)
  message(FATAL_ERROR "no CMake package was installed")
endif()
foreach(script ${scripts})
  file(READ ${script} text)
  foreach(folder ${SOURCE} ${BUILD})
    string(FIND "${text}" "${folder}" at)
    if(NOT at EQUAL -1)
      message(FATAL_ERROR "${script} names ${folder}")
    endif()
  endforeach()
endforeach()

if(TOOLS)
  foreach(file bin/sluice share/man/man1/sluice.1 share/bash-completion/completions/sluice
      share/zsh/site-functions/_sluice share/fish/vendor_completions.d/sluice.fish)
    if(NOT EXISTS ${WORK}/prefix/${file})
      message(FATAL_ERROR "${file} was not installed")
    endif()
  endforeach()
  run("the installed command" ${WORK}/prefix/bin/sluice ls --json)
endif()

run("configuring the consumer" ${CMAKE_COMMAND} -S ${WORK}/consumer -B ${WORK}/build -G ${GENERATOR}
  -DCMAKE_PREFIX_PATH=${WORK}/prefix -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_BUILD_TYPE=${CONFIG}
  -DCMAKE_CXX_FLAGS=${FLAGS} -DCONSUMER_SOURCES=${WORK}/examples)
run("building the consumer" ${CMAKE_COMMAND} --build ${WORK}/build)
foreach(program process_function process_subclass)
  sluice_check_example(${WORK}/build/processes/${program} ${WORK}/examples/${program}.expected)
endforeach()
foreach(program queue pipe manager)
  sluice_check_example(${WORK}/build/exchange/${program} ${WORK}/examples/${program}.expected)
endforeach()

# The same by pkg-config, without CMake.
find_program(PKG_CONFIG pkg-config REQUIRED)
file(GLOB_RECURSE pc ${WORK}/prefix/*/sluice.pc)
cmake_path(GET pc PARENT_PATH pc_folder)
set(ENV{PKG_CONFIG_PATH} ${pc_folder})
execute_process(COMMAND ${PKG_CONFIG} --cflags --libs sluice
  OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
separate_arguments(found UNIX_COMMAND "${found}")
separate_arguments(more UNIX_COMMAND "${FLAGS}")
run("building by pkg-config" ${COMPILER} -std=c++20 ${more} ${WORK}/examples/queue.cpp
  -o ${WORK}/by_pkg_config ${found})
sluice_check_example(${WORK}/by_pkg_config ${WORK}/examples/queue.expected)
