# libggml-sparamx.so, the plugin for an unmodified llama.cpp: built when LLAMA_CPP_SOURCE names the source tree that the
# host was built from. It is compiled against that tree's headers and links to nothing of it.

set(LLAMA_CPP_SOURCE "" CACHE PATH "Source tree of the llama.cpp that libggml-sparamx.so is for")
if(LLAMA_CPP_SOURCE)
  enable_language(CXX)
  set(sparamx_ggml "${LLAMA_CPP_SOURCE}/ggml")
  if(NOT EXISTS "${sparamx_ggml}/src/ggml-cpu/traits.h")
    message(FATAL_ERROR "LLAMA_CPP_SOURCE=${LLAMA_CPP_SOURCE} is no source tree of llama.cpp from December 2024 or "
                        "later: ggml/src/ggml-cpu/traits.h is missing")
  endif()
  file(STRINGS "${sparamx_ggml}/include/ggml.h" sparamx_ggml_flag REGEX "GGML_TENSOR_FLAG_COMPUTE")
  if(NOT sparamx_ggml_flag)
    message(FATAL_ERROR "LLAMA_CPP_SOURCE=${LLAMA_CPP_SOURCE} is older than January 2026, and the plugin needs a "
                        "later llama.cpp: update it, or build it with examples/llama.cpp/add-amx-flag.py")
  endif()
  # ggml's headers do not name its version.
  file(STRINGS "${sparamx_ggml}/CMakeLists.txt" sparamx_ggml_lines
    REGEX "^set\\(GGML_VERSION_(MAJOR|MINOR|PATCH) +[0-9]+\\)")
  string(REGEX REPLACE "[^0-9;]" "" sparamx_ggml_version "${sparamx_ggml_lines}")
  string(REPLACE ";" "." sparamx_ggml_version "${sparamx_ggml_version}")
  if(NOT sparamx_ggml_version MATCHES "^[0-9]+\\.[0-9]+\\.[0-9]+$")
    message(FATAL_ERROR "${sparamx_ggml}/CMakeLists.txt does not say which version of ggml it is")
  endif()
  message(STATUS "libggml-sparamx.so for ggml ${sparamx_ggml_version}")

  get_filename_component(sparamx_plugin "${CMAKE_CURRENT_LIST_DIR}/../examples/llama.cpp/plugin" ABSOLUTE)
  get_filename_component(sparamx_include "${CMAKE_CURRENT_LIST_DIR}/../include" ABSOLUTE)
  add_library(ggml-sparamx MODULE "${sparamx_plugin}/plugin.cpp" "${sparamx_plugin}/host.cpp"
    "${sparamx_plugin}/accel.cpp" "${sparamx_plugin}/memory.cpp" "${sparamx_plugin}/rpc.cpp"
    "${sparamx_plugin}/rpc_memory.cpp" "${sparamx_plugin}/kv.cpp" "${sparamx_plugin}/kv_caches.cpp"
    "${sparamx_plugin}/collect.cpp"
    "${sparamx_plugin}/collect/collector.cpp" "${sparamx_plugin}/collect/collector_end.cpp"
    "${sparamx_plugin}/collect/gram_file.cpp" "${sparamx_plugin}/collect/header.cpp"
    "${sparamx_plugin}/collect/sums.cpp")
  set_source_files_properties("${sparamx_plugin}/collect/sums.cpp" PROPERTIES COMPILE_OPTIONS -O3)
  target_include_directories(ggml-sparamx PRIVATE "${sparamx_include}")
  target_include_directories(ggml-sparamx SYSTEM PRIVATE
    "${sparamx_ggml}/include" "${sparamx_ggml}/src" "${sparamx_ggml}/src/ggml-cpu")
  target_compile_definitions(ggml-sparamx PRIVATE SPARAMX_GGML_PLUGIN SPARAMX_GGML_VERSION="${sparamx_ggml_version}")
  target_compile_options(ggml-sparamx PRIVATE -Wall -Wextra)
  target_link_libraries(ggml-sparamx PRIVATE ${CMAKE_DL_LIBS})
  # Nothing else leaves it, templates of the C++ library included: in LD_PRELOAD these would serve the whole process.
  target_link_options(ggml-sparamx PRIVATE -Wl,-z,defs "-Wl,--version-script=${sparamx_plugin}/plugin.map")
  set_target_properties(ggml-sparamx PROPERTIES LINK_DEPENDS "${sparamx_plugin}/plugin.map")
  set_target_properties(ggml-sparamx PROPERTIES
    CXX_STANDARD 17 CXX_STANDARD_REQUIRED ON CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    # libsparamx.so.0 is looked for beside the plugin, then where the system keeps libraries.
    BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH "$ORIGIN")
  if(SPARAMX_INSTALL)
    include(GNUInstallDirs)
    install(TARGETS ggml-sparamx LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT plugin)
  endif()
endif()
