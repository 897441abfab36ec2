# The package of examples/pytorch: the parallel loop that the library gets from PyTorch, and a wheel with both inside.
#
#   cmake --build build --target wheel       build/sparamx-VERSION-py3-none-manylinux_2_34_x86_64.whl

set(sparamx_pytorch "${sparamx_root}/examples/pytorch")

add_library(sparamx-openmp MODULE "${sparamx_pytorch}/loop.c")
target_compile_options(sparamx-openmp PRIVATE -Wall -Wextra)
set_target_properties(sparamx-openmp PROPERTIES
  C_STANDARD 11 C_STANDARD_REQUIRED ON C_EXTENSIONS ON C_VISIBILITY_PRESET hidden
  LIBRARY_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}")

# pip writes beside what it builds, so it works on a copy.
set(sparamx_wheel_source "${CMAKE_CURRENT_BINARY_DIR}/wheel")
find_program(SPARAMX_PYTHON python3 DOC "Python with pip, for the wheel")
add_custom_target(wheel
  COMMAND "${CMAKE_COMMAND}" -E rm -rf "${sparamx_wheel_source}"
  COMMAND "${CMAKE_COMMAND}" -E copy_directory "${sparamx_pytorch}" "${sparamx_wheel_source}"
  COMMAND "${CMAKE_COMMAND}" -E make_directory "${sparamx_wheel_source}/sparamx/lib"
  COMMAND "${CMAKE_COMMAND}" -E copy "${sparamx_library}" "${sparamx_wheel_source}/sparamx/lib/${sparamx_soname}"
  COMMAND "${CMAKE_COMMAND}" -E copy "$<TARGET_FILE:sparamx-openmp>" "${sparamx_wheel_source}/sparamx/lib/"
  COMMAND "${CMAKE_COMMAND}" -E copy "${sparamx_root}/LICENSE" "${sparamx_wheel_source}/"
  COMMAND "${SPARAMX_PYTHON}" -m pip wheel -q --no-deps --wheel-dir "${CMAKE_CURRENT_BINARY_DIR}"
          "${sparamx_wheel_source}"
  DEPENDS sparamx_library sparamx-openmp
  WORKING_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}"
  COMMENT "Building the Python wheel"
  VERBATIM USES_TERMINAL)
