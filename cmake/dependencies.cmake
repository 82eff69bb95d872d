# Finds what Systole builds with. The required libraries stop the configure step when they are missing; the CUDA parts are
# optional, and the summary at the end says what was found and what the build goes on without.

find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)

# Plain C libraries without a usable CMake package (Debian's libzip package names programs that it does not install).
function(find_c_library target header library)
  find_path(${target}_INCLUDE_DIR ${header} REQUIRED)
  find_library(${target}_LIBRARY ${library} REQUIRED)
  add_library(${target} INTERFACE)
  target_include_directories(${target} SYSTEM INTERFACE ${${target}_INCLUDE_DIR})
  target_link_libraries(${target} INTERFACE ${${target}_LIBRARY})
endfunction()
find_c_library(libcsv csv.h csv)
find_c_library(libzip zip.h zip)

find_package(CUDAToolkit QUIET)
find_library(CUDNN_LIBRARY cudnn)

function(report what found)
  if(found)
    message(STATUS "  ${what}: ${found}")
  else()
    message(STATUS "  ${what}: not found, the build goes on without it")
  endif()
endfunction()

message(STATUS "Systole ${PROJECT_VERSION}, ${CMAKE_BUILD_TYPE}, -march=${SYSTOLE_MARCH}")
report("OpenMP" "${OpenMP_CXX_VERSION}")
report("fmt" "${fmt_VERSION}")
report("nlohmann-json" "${nlohmann_json_VERSION}")
report("libzip" "${libzip_LIBRARY}")
report("CLI11" "${CLI11_VERSION}")
report("libcsv" "${libcsv_LIBRARY}")
report("CUDA toolkit" "${CUDAToolkit_VERSION}")
report("cuBLAS" "${CUDA_cublas_LIBRARY}")
report("cuDNN" "${CUDNN_LIBRARY}")
