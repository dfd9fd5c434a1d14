# cleat_proto_library(): C messages, and optionally an embedded descriptor set, from .proto files.
#
#   cleat_proto_library(<target> PROTOS <file>... [DESCRIBED <file>...] [IMPORT_DIRS <dir>...] [DESCRIPTOR_SET <name>])
#
# PROTOS are named relative to the first import directory that has them; the tree's own proto/ folder is
# always the first one.  Everything generated goes below <build>/proto, keeps its relative name, and is
# compiled without our warnings:
#
#   cleat_proto_library(cleat_volumes_proto PROTOS cleat/v1/volumes.proto DESCRIPTOR_SET cleat_volumes)
#   #include "cleat/v1/volumes.pb-c.h"
#
# DESCRIPTOR_SET <name> makes protoc write the files with all they import as one FileDescriptorSet and embeds
# it; "<name>.descset.h" then declares `extern const unsigned char <name>_descset[]` and
# `extern const size_t <name>_descset_len`, ready for cleat_rpc_reflection_add().
#
# DESCRIBED files are only in the descriptor set: for services that protoc-c cannot make C of.
#
# protoc-c 1.4 knows no proto3 `optional`: write a oneof with one member, which is the same on the wire.
include_guard(GLOBAL)

find_program(CLEAT_PROTOC protoc REQUIRED)
find_program(CLEAT_PROTOC_C protoc-c REQUIRED)
find_path(CLEAT_WKT_DIR google/protobuf/any.proto REQUIRED DOC "Folder of protobuf's well-known types")
pkg_check_modules(PROTOBUF_C REQUIRED libprotobuf-c>=1.4)

# Where a proto file lies among the import directories.
function(cleat_proto_find out name)
  foreach(dir ${ARGN})
    if(EXISTS ${dir}/${name})
      set(${out} ${dir}/${name} PARENT_SCOPE)
      return()
    endif()
  endforeach()
  message(FATAL_ERROR "proto file '${name}' is in none of: ${ARGN}")
endfunction()

function(cleat_proto_library target)
  cmake_parse_arguments(ARG "" "DESCRIPTOR_SET" "PROTOS;DESCRIBED;IMPORT_DIRS" ${ARGN})
  set(out_dir ${CMAKE_BINARY_DIR}/proto)
  set(embed ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/embed.cmake)
  set(dirs ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../proto ${ARG_IMPORT_DIRS} ${CLEAT_WKT_DIR})
  file(MAKE_DIRECTORY ${out_dir})
  set(includes)
  foreach(dir ${dirs})
    list(APPEND includes -I${dir})
  endforeach()
  set(sources)
  set(inputs)
  foreach(proto ${ARG_PROTOS})
    cleat_proto_find(input ${proto} ${dirs})
    list(APPEND inputs ${input})
    string(REGEX REPLACE "\\.proto$" "" stem ${proto})
    set(made ${out_dir}/${stem}.pb-c.c ${out_dir}/${stem}.pb-c.h)
    add_custom_command(OUTPUT ${made}
      COMMAND ${CLEAT_PROTOC_C} --c_out=${out_dir} ${includes} ${proto}
      DEPENDS ${input} COMMENT "protoc-c ${proto}" VERBATIM)
    list(APPEND sources ${made})
  endforeach()
  foreach(proto ${ARG_DESCRIBED})
    cleat_proto_find(input ${proto} ${dirs})
    list(APPEND inputs ${input})
  endforeach()
  if(ARG_DESCRIPTOR_SET)
    set(stem ${out_dir}/${ARG_DESCRIPTOR_SET})
    add_custom_command(OUTPUT ${stem}.descset
      COMMAND ${CLEAT_PROTOC} --descriptor_set_out=${stem}.descset --include_imports ${includes} ${ARG_PROTOS}
              ${ARG_DESCRIBED}
      DEPENDS ${inputs} COMMENT "protoc ${ARG_DESCRIPTOR_SET}.descset" VERBATIM)
    add_custom_command(OUTPUT ${stem}.descset.c ${stem}.descset.h
      COMMAND ${CMAKE_COMMAND} -DIN=${stem}.descset -DOUT=${stem}.descset -DNAME=${ARG_DESCRIPTOR_SET}_descset
              -P ${embed}
      DEPENDS ${stem}.descset ${embed} VERBATIM)
    list(APPEND sources ${stem}.descset.c ${stem}.descset.h)
  endif()
  add_library(${target} STATIC ${sources})
  target_compile_options(${target} PRIVATE -w)
  target_include_directories(${target} SYSTEM PUBLIC ${out_dir})
  target_link_libraries(${target} PUBLIC protobuf-c)
  if(NOT target STREQUAL "cleat_wkt_proto")
    target_link_libraries(${target} PUBLIC cleat_wkt_proto)
  endif()
endfunction()

# protobuf-c does not ship the well-known types ready-made: generate the ones that the tree uses, once.
if(NOT TARGET cleat_wkt_proto)
  cleat_proto_library(cleat_wkt_proto PROTOS
    google/protobuf/any.proto google/protobuf/duration.proto google/protobuf/empty.proto
    google/protobuf/timestamp.proto google/protobuf/wrappers.proto)
endif()
