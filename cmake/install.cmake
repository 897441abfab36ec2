# The install tree: library, header, and what find_package and pkg-config read. It may be moved as a whole.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(sparamx_package "${CMAKE_INSTALL_LIBDIR}/cmake/sparamx")
configure_package_config_file(sparamxConfig.cmake.in "${CMAKE_CURRENT_BINARY_DIR}/package/sparamxConfig.cmake"
  INSTALL_DESTINATION "${sparamx_package}" PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
# Before 1.0 a new minor version may break its hosts.
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/package/sparamxConfigVersion.cmake"
  VERSION "${PROJECT_VERSION}" COMPATIBILITY SameMinorVersion)

file(RELATIVE_PATH sparamx_prefix "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
string(REGEX REPLACE "/$" "" sparamx_prefix "${sparamx_prefix}")
file(RELATIVE_PATH sparamx_libdir "${CMAKE_INSTALL_PREFIX}" "${CMAKE_INSTALL_FULL_LIBDIR}")
file(RELATIVE_PATH sparamx_includedir "${CMAKE_INSTALL_PREFIX}" "${CMAKE_INSTALL_FULL_INCLUDEDIR}")
configure_file(sparamx.pc.in "${CMAKE_CURRENT_BINARY_DIR}/package/sparamx.pc" @ONLY)

install(FILES "${sparamx_library}" DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT library)
list(GET sparamx_links 0 sparamx_runtime_link)
list(GET sparamx_links 1 sparamx_development_link)
install(FILES "${sparamx_runtime_link}" DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT library)
install(FILES "${sparamx_development_link}" DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT development)
install(FILES "${sparamx_header}" "${sparamx_root}/include/sparamx-kv.h"
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT development)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/package/sparamxConfig.cmake"
              "${CMAKE_CURRENT_BINARY_DIR}/package/sparamxConfigVersion.cmake"
  DESTINATION "${sparamx_package}" COMPONENT development)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/package/sparamx.pc"
  DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT development)
install(FILES "${sparamx_root}/LICENSE" "${sparamx_root}/README.md" "${sparamx_root}/CHANGELOG.md"
  DESTINATION "${CMAKE_INSTALL_DATAROOTDIR}/doc/sparamx" COMPONENT documents OPTIONAL)
if(SPARAMX_BUILD_EXAMPLES)
  install(TARGETS sparamx-run sparamx-explain sparamx-pack sparamx-bench
    RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT tools)
endif()
