# One source, two devices: every .cu file is compiled by nvcc for cuda, where it was found, and by the C++ compiler for simt.

# nvcc's options. A kernel that spills registers does not pass: its __launch_bounds__ are its budget.

set(SYSTOLE_NVCC_OPTIONS -Xptxas=--warn-on-spills,--warning-as-error)

string(REGEX REPLACE "([0-9]+a?)-real" "sm_\\1" SYSTOLE_CUDA_TARGETS "${SYSTOLE_CUDA_ARCHITECTURES}")
string(REGEX REPLACE "([0-9]+a?)-virtual" "PTX \\1" SYSTOLE_CUDA_TARGETS "${SYSTOLE_CUDA_TARGETS}")
string(REPLACE ";" ", " SYSTOLE_CUDA_TARGETS "${SYSTOLE_CUDA_TARGETS}")

if(SYSTOLE_WITH_CUDA)
  target_compile_definitions(systole_options INTERFACE SYSTOLE_CUDA)
endif()

# Adds .cu files to a target. For simt a file of one line includes the .cu file, so that messages name that one.
function(systole_device_kernels target)
  foreach(source ${ARGN})
    if(SYSTOLE_WITH_CUDA)
      target_sources(${target} PRIVATE ${source})
      set_property(SOURCE ${source} APPEND PROPERTY COMPILE_DEFINITIONS SYSTOLE_TARGET=cuda
        SYSTOLE_CUDA_ARCHITECTURES="${SYSTOLE_CUDA_TARGETS}")
      set_property(SOURCE ${source} APPEND PROPERTY COMPILE_OPTIONS ${SYSTOLE_NVCC_OPTIONS})
    endif()
    if(NOT source MATCHES "/kernels/cuda/")
      file(RELATIVE_PATH path ${CMAKE_SOURCE_DIR} ${source})
      set(wrapper ${CMAKE_BINARY_DIR}/simt/${path}.cpp)
      file(CONFIGURE OUTPUT ${wrapper} CONTENT "#include \"${path}\"\n")
      target_sources(${target} PRIVATE ${wrapper})
      set_property(SOURCE ${wrapper} APPEND PROPERTY COMPILE_DEFINITIONS SYSTOLE_TARGET=simt)
      set_property(SOURCE ${wrapper} APPEND PROPERTY COMPILE_OPTIONS -Wno-unknown-pragmas)
    endif()
  endforeach()
endfunction()

# The simt runtime tells ThreadSanitizer what orders what; its own bookkeeping must not be part of that.
function(systole_simt_runtime target)
  if(CMAKE_CXX_FLAGS MATCHES "-fsanitize=thread")
    foreach(file block grid intrinsics)
      set_property(SOURCE ${CMAKE_SOURCE_DIR}/kernels/simt/${file}.cpp APPEND PROPERTY COMPILE_OPTIONS
        -fno-sanitize=thread -DSYSTOLE_SIMT_TSAN -fno-tree-loop-distribute-patterns)
    endforeach()
  endif()
endfunction()
