# cleat_mesos_library(TARGET VERSION INCLUDES...): libcleat_mesos-<VERSION>.so for one release of Mesos, from the headers in INCLUDES
# (Mesos's own, libprocess's and stout's, and the protobuf and boost that this release was built with).
#
# Mesos admits a module only when both are of the same version to the patch level, so there is one library for each release, all from one
# source.  Nothing of Mesos, glog or protobuf is linked: what is undefined is in the agent.
set(CLEAT_MESOS_DIR ${CMAKE_CURRENT_LIST_DIR})

# Before 0.28 version.hpp has no numbers.
function(cleat_mesos_number version out)
  string(REGEX MATCH "^([0-9]+)\\.([0-9]+)\\.([0-9]+)" _ "${version}")
  math(EXPR number "${CMAKE_MATCH_1} * 10000 + ${CMAKE_MATCH_2} * 100 + ${CMAKE_MATCH_3}")
  set(${out} ${number} PARENT_SCOPE)
endfunction()

function(cleat_mesos_library target version)
  set(map ${CLEAT_MESOS_DIR}/compat/module.map)
  cleat_mesos_number(${version} number)
  add_library(${target} MODULE ${CLEAT_MESOS_DIR}/compat/isolator.cpp $<TARGET_OBJECTS:cleat_mesos_objects>)
  # Not the directory's options: they are for C.
  set_target_properties(${target} PROPERTIES
    OUTPUT_NAME cleat_mesos-${version}
    COMPILE_OPTIONS "-Wall;-Wextra;$<$<BOOL:${CLEAT_WERROR}>:-Werror>;-fvisibility=hidden;-fstack-protector-strong"
    CXX_STANDARD 11 CXX_STANDARD_REQUIRED ON CXX_EXTENSIONS OFF
    POSITION_INDEPENDENT_CODE ON
    LINK_DEPENDS ${map})
  target_compile_definitions(${target} PRIVATE
    CLEAT_MESOS_VERSION=${number} PICOJSON_USE_INT64 __STDC_FORMAT_MACROS __STDC_CONSTANT_MACROS __STDC_LIMIT_MACROS)
  target_compile_options(${target} PRIVATE "SHELL:-iquote ${CLEAT_MESOS_DIR}")
  target_include_directories(${target} PRIVATE ${CLEAT_MESOS_DIR}/../core/include)
  target_include_directories(${target} SYSTEM PRIVATE ${ARGN})
  target_link_options(${target} PRIVATE -Wl,--version-script=${map} -Wl,-z,relro -Wl,-z,now -Wl,--gc-sections)
  target_link_libraries(${target} PRIVATE Threads::Threads)
endfunction()
