# The example programs, in examples/ of the build folder. They find the library in the folder above their own;
# installed ones in the folder beside theirs.

find_package(Threads REQUIRED)
set(sparamx_examples "${sparamx_root}/examples")

include(GNUInstallDirs)

function(sparamx_example name)
  add_executable(${name} ${ARGN})
  target_include_directories(${name} PRIVATE "${sparamx_root}/include" "${sparamx_examples}")
  target_compile_options(${name} PRIVATE -Wall -Wextra)
  target_link_libraries(${name} PRIVATE Threads::Threads m ${CMAKE_DL_LIBS})
  set_target_properties(${name} PROPERTIES
    C_STANDARD 11 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF
    RUNTIME_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/examples"
    BUILD_RPATH "$ORIGIN/.." INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
endfunction()

file(GLOB sparamx_run_sources CONFIGURE_DEPENDS "${sparamx_examples}/run/*.c" "${sparamx_examples}/common/*.c")
file(GLOB sparamx_explain_sources CONFIGURE_DEPENDS "${sparamx_examples}/explain/*.c" "${sparamx_examples}/common/*.c")
file(GLOB sparamx_bench_sources CONFIGURE_DEPENDS
  "${sparamx_examples}/bench/*.c" "${sparamx_examples}/common/quants*.c")
foreach(name IN ITEMS barrier gguf_types json plain pruned text) # it has a team of threads of its own
  list(APPEND sparamx_bench_sources "${sparamx_examples}/common/${name}.c")
endforeach()

# Loads the library at run time and only when asked to; does not link to it.
sparamx_example(sparamx-run "${sparamx_examples}/sparamx-run.c" ${sparamx_run_sources})
add_dependencies(sparamx-run sparamx_library)

sparamx_example(sparamx-explain ${sparamx_explain_sources})
add_dependencies(sparamx-explain sparamx_library)

file(GLOB sparamx_pack_sources CONFIGURE_DEPENDS "${sparamx_examples}/pack/*.c" "${sparamx_examples}/common/*.c")
sparamx_example(sparamx-pack ${sparamx_pack_sources})
add_dependencies(sparamx-pack sparamx_library)

sparamx_example(sparamx-bench ${sparamx_bench_sources})
target_link_libraries(sparamx-bench PRIVATE sparamx::sparamx)

sparamx_example(sparamx-kv "${sparamx_examples}/kv/sparamx-kv.c" "${sparamx_examples}/common/barrier.c"
  "${sparamx_examples}/common/measure.c" "${sparamx_examples}/common/threads.c")
target_link_libraries(sparamx-kv PRIVATE sparamx::sparamx)

sparamx_example(sparamx-hello "${sparamx_examples}/hello.c")
target_link_libraries(sparamx-hello PRIVATE sparamx::sparamx)
