# Packages, made by `--target package`: for Debian libsparamx0 (the library), libsparamx-dev (header, and what
# find_package and pkg-config read) and sparamx-tools (the example programs); and one archive with all of it, which is
# unpacked anywhere. With LLAMA_CPP_SOURCE the plugin is in the archive.

set(SPARAMX_MAINTAINER "The libsparamx authors <maintainers@libsparamx.invalid>" CACHE STRING
  "Who maintains the Debian packages, as: Name <mail address>")

set(CPACK_PACKAGE_NAME sparamx)
set(CPACK_PACKAGE_VENDOR "The libsparamx authors")
set(CPACK_PACKAGE_CONTACT "${SPARAMX_MAINTAINER}")
set(CPACK_PACKAGE_VERSION "${PROJECT_VERSION}")
set(CPACK_RESOURCE_FILE_LICENSE "${sparamx_root}/LICENSE")
set(CPACK_STRIP_FILES ON)
find_program(SPARAMX_GZIP gzip)  # Debian's packages have their changelogs compressed
set(CPACK_GENERATOR "TGZ")
if(SPARAMX_GZIP)
  list(APPEND CPACK_GENERATOR DEB)
endif()
set(CPACK_COMPONENTS_ALL library development)
if(SPARAMX_BUILD_EXAMPLES)
  list(APPEND CPACK_COMPONENTS_ALL tools)
endif()

# The archive: everything in one.
set(CPACK_ARCHIVE_COMPONENT_INSTALL OFF)
set(CPACK_PACKAGE_FILE_NAME "sparamx-${PROJECT_VERSION}-linux-x86_64")

# Debian: a package for each component. The plugin belongs to one build of llama.cpp, so it is in none.
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME libsparamx${PROJECT_VERSION_MAJOR})
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_CONTROL_EXTRA "${CMAKE_CURRENT_BINARY_DIR}/package/debian/shlibs"
  "${CMAKE_CURRENT_BINARY_DIR}/package/debian/triggers")
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SUGGESTS libnuma1)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libsparamx-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "${CPACK_DEBIAN_LIBRARY_PACKAGE_NAME} (= ${PROJECT_VERSION}-1)")
set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME sparamx-tools)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS "${CMAKE_CURRENT_BINARY_DIR}")
set(CPACK_DEBIAN_TOOLS_PACKAGE_DEPENDS "${CPACK_DEBIAN_LIBRARY_PACKAGE_NAME} (= ${PROJECT_VERSION}-1)")
set(CPACK_COMPONENT_LIBRARY_DESCRIPTION "matrix products from packed, sparse weights for language models
libsparamx keeps the weights of a large language model in fewer bytes, without
loss, and expands them beside the instruction that uses them. Engines such as
llama.cpp load it with dlopen. It uses AMX or AVX-512 where the CPU has them.")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "matrix products from packed, sparse weights: development files
The header of libsparamx, and what find_package and pkg-config read.")
set(CPACK_COMPONENT_TOOLS_DESCRIPTION "matrix products from packed, sparse weights: programs
sparamx-run loads a model into the library and checks every product;
sparamx-explain says what the library would make of a model; sparamx-pack
writes a model's packed weights to a file that hosts map; sparamx-bench
measures the library against the machine.")

# What Debian wants to know of a package, in the package's own folder of /usr/share/doc.
string(TIMESTAMP sparamx_date "%a, %d %b %Y %H:%M:%S +0000" UTC)  # of SOURCE_DATE_EPOCH if that is set
set(sparamx_debian "${CMAKE_CURRENT_BINARY_DIR}/package/debian")
file(WRITE "${sparamx_debian}/changelog.Debian" "sparamx (${PROJECT_VERSION}-1) unstable; urgency=medium

  * Release ${PROJECT_VERSION}; what is in it stands in changelog.gz.

 -- ${SPARAMX_MAINTAINER}  ${sparamx_date}
")
file(WRITE "${sparamx_debian}/shlibs" "libsparamx ${PROJECT_VERSION_MAJOR} ${CPACK_DEBIAN_LIBRARY_PACKAGE_NAME} (>= "
  "${PROJECT_VERSION})\n")
file(WRITE "${sparamx_debian}/triggers" "activate-noawait ldconfig\n")
file(READ "${sparamx_root}/LICENSE" sparamx_license)
string(STRIP "${sparamx_license}" sparamx_license)
string(REGEX REPLACE "^MIT License\n+(Copyright [^\n]*)\n+" "" sparamx_terms "${sparamx_license}")
string(REGEX REPLACE "\n\n" "\n.\n" sparamx_terms "${sparamx_terms}")
string(REGEX REPLACE "\n" "\n " sparamx_terms "${sparamx_terms}")
string(REGEX MATCH "Copyright \\(c\\) ([^\n]*)" sparamx_copyright "${sparamx_license}")
file(WRITE "${sparamx_debian}/copyright"
  "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: libsparamx

Files: *
Copyright: ${CMAKE_MATCH_1}
License: Expat

License: Expat
 ${sparamx_terms}
")
file(COPY "${sparamx_root}/CHANGELOG.md" DESTINATION "${sparamx_debian}")
file(RENAME "${sparamx_debian}/CHANGELOG.md" "${sparamx_debian}/changelog")
if(SPARAMX_GZIP)
  execute_process(COMMAND "${SPARAMX_GZIP}" -9nf changelog changelog.Debian WORKING_DIRECTORY "${sparamx_debian}")
endif()
# Only in Debian's packages, where the system also knows where libraries are.
foreach(component IN LISTS CPACK_COMPONENTS_ALL)
  string(TOUPPER ${component} name)
  set(name "${CPACK_DEBIAN_${name}_PACKAGE_NAME}")
  install(CODE "if(\"\$ENV{DESTDIR}\" MATCHES \"/DEB/\")
    file(INSTALL DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATAROOTDIR}/doc/${name}\" TYPE FILE FILES
      \"${sparamx_debian}/copyright\" \"${sparamx_debian}/changelog.gz\" \"${sparamx_debian}/changelog.Debian.gz\")
  endif()" COMPONENT ${component})
endforeach()
if(SPARAMX_BUILD_EXAMPLES)
  install(CODE "if(\"\$ENV{DESTDIR}\" MATCHES \"/DEB/\")
    foreach(program IN ITEMS sparamx-run sparamx-explain sparamx-pack sparamx-bench)
      file(RPATH_REMOVE FILE \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}/\${program}\")
    endforeach()
  endif()" COMPONENT tools)
endif()

include(CPack)
