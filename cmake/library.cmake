# Builds libsparamx.so with SwiftPM and describes it as sparamx::sparamx.

if(NOT CMAKE_SYSTEM_NAME STREQUAL "Linux" OR NOT CMAKE_SIZEOF_VOID_P EQUAL 8
   OR NOT CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  message(FATAL_ERROR "libsparamx runs on x86-64 Linux only, this is ${CMAKE_SYSTEM_PROCESSOR} ${CMAKE_SYSTEM_NAME}")
endif()

find_program(SPARAMX_SWIFT swift
  PATHS "$ENV{SWIFT_HOME}/usr/bin" "$ENV{SWIFT_HOME}/bin" /opt/swift/usr/bin /usr/local/swift/usr/bin
        "$ENV{HOME}/.local/share/swiftly/bin"
  DOC "The swift command")
if(NOT SPARAMX_SWIFT)
  message(FATAL_ERROR "swift is not found: install it from https://www.swift.org/install/linux, then put it on PATH, "
                      "set SWIFT_HOME, or pass -DSPARAMX_SWIFT=/path/to/swift")
endif()

# A folder of caches in the build folder: neither this question nor the build needs a home that can be written.
set(sparamx_swift_caches "${CMAKE_CURRENT_BINARY_DIR}/swift-caches")
set(sparamx_swift_environment
  "XDG_CACHE_HOME=${sparamx_swift_caches}" "CLANG_MODULE_CACHE_PATH=${sparamx_swift_caches}/modules"
  "SWIFTPM_MODULECACHE_OVERRIDE=${sparamx_swift_caches}/modules")
set(sparamx_swift_wanted 6.3)
execute_process(COMMAND "${CMAKE_COMMAND}" -E env ${sparamx_swift_environment} "${SPARAMX_SWIFT}" --version
  OUTPUT_VARIABLE sparamx_swift_version ERROR_VARIABLE sparamx_swift_errors)
if(NOT sparamx_swift_version MATCHES "Swift version ([0-9]+[.][0-9]+([.][0-9]+)?)")
  message(FATAL_ERROR "${SPARAMX_SWIFT} does not tell its version: ${sparamx_swift_version}${sparamx_swift_errors}")
endif()
if(CMAKE_MATCH_1 VERSION_LESS sparamx_swift_wanted)
  message(FATAL_ERROR "${SPARAMX_SWIFT} is Swift ${CMAKE_MATCH_1}, libsparamx needs ${sparamx_swift_wanted} or later: "
                      "install one from https://www.swift.org/install/linux and pass -DSPARAMX_SWIFT=/path/to/swift")
endif()

set(sparamx_soname "libsparamx.so.${PROJECT_VERSION_MAJOR}")
set(sparamx_file "libsparamx.so.${PROJECT_VERSION}")
set(sparamx_library "${CMAKE_CURRENT_BINARY_DIR}/${sparamx_file}")
set(sparamx_links "${CMAKE_CURRENT_BINARY_DIR}/${sparamx_soname}" "${CMAKE_CURRENT_BINARY_DIR}/libsparamx.so")
# With its symbols, for debuggers and for check_library.py.
set(sparamx_unstripped "${CMAKE_CURRENT_BINARY_DIR}/swift/release/libsparamx.so")

file(GLOB_RECURSE sparamx_sources CONFIGURE_DEPENDS
  "${sparamx_root}/Sources/*.swift" "${sparamx_root}/Sources/*.c" "${sparamx_root}/Sources/*.h"
  "${sparamx_root}/Sources/*.def")

# SwiftPM would take the compiler of C targets from CC; Embedded Swift needs the one of its own toolchain.
add_custom_command(
  OUTPUT "${sparamx_library}" ${sparamx_links}
  COMMAND "${CMAKE_COMMAND}" -E env --unset=CC --unset=SPARAMX_ORDINARY_SWIFT ${sparamx_swift_environment}
          "${SPARAMX_SWIFT}" build -c release --disable-local-rpath --product sparamx
          --package-path "${sparamx_root}" --scratch-path "${CMAKE_CURRENT_BINARY_DIR}/swift"
          --cache-path "${sparamx_swift_caches}/cache" --config-path "${sparamx_swift_caches}/config"
          --security-path "${sparamx_swift_caches}/security"
  COMMAND "${CMAKE_STRIP}" --strip-unneeded --remove-section=.comment -o "${sparamx_library}" "${sparamx_unstripped}"
  COMMAND "${CMAKE_COMMAND}" -E create_symlink "${sparamx_file}" "${CMAKE_CURRENT_BINARY_DIR}/${sparamx_soname}"
  COMMAND "${CMAKE_COMMAND}" -E create_symlink "${sparamx_soname}" "${CMAKE_CURRENT_BINARY_DIR}/libsparamx.so"
  DEPENDS ${sparamx_sources} "${sparamx_header}" "${sparamx_root}/include/sparamx-kv.h"
          "${sparamx_root}/include/module.modulemap" "${sparamx_root}/Package.swift" "${sparamx_root}/cmake/sparamx.map"
  WORKING_DIRECTORY "${sparamx_root}"
  COMMENT "Building libsparamx ${PROJECT_VERSION} with swift build"
  VERBATIM USES_TERMINAL)
add_custom_target(sparamx_library ALL DEPENDS "${sparamx_library}" ${sparamx_links})

add_library(sparamx::sparamx SHARED IMPORTED GLOBAL)
add_dependencies(sparamx::sparamx sparamx_library)
set_target_properties(sparamx::sparamx PROPERTIES
  IMPORTED_LOCATION "${sparamx_library}"
  IMPORTED_SONAME "${sparamx_soname}"
  INTERFACE_INCLUDE_DIRECTORIES "${sparamx_root}/include")
