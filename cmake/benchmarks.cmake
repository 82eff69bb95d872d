# What is measured and compared with, for systole bench.

find_package(Git QUIET)
if(GIT_FOUND)
  execute_process(COMMAND ${GIT_EXECUTABLE} rev-parse --short HEAD WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
    OUTPUT_VARIABLE SYSTOLE_COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(NOT SYSTOLE_COMMIT)  # sources without their history
  set(SYSTOLE_COMMIT unknown)
endif()

set_property(SOURCE benchmarks/origin.cpp APPEND PROPERTY COMPILE_DEFINITIONS SYSTOLE_COMMIT="${SYSTOLE_COMMIT}")

set(benchmark_sources agreement call_work ceilings ceilings_cpu contrastive_cases device_memory kernel_cases loss_work
  materialised_losses origin peak_memory timing training_cases whole_matrix_cpu)
if(OPENBLAS_LIBRARY AND OPENBLAS_INCLUDE_DIR)
  list(APPEND benchmark_sources linear_openblas)
endif()
if(ONEDNN_LIBRARY AND ONEDNN_INCLUDE_DIR)
  list(APPEND benchmark_sources conv1d_onednn)
endif()
list(TRANSFORM benchmark_sources REPLACE "(.+)" "benchmarks/\\1.cpp")
add_library(systole_benchmarks STATIC ${benchmark_sources})
target_link_libraries(systole_benchmarks PUBLIC systole_models systole_augment)
systole_device_kernels(systole_benchmarks ${CMAKE_SOURCE_DIR}/benchmarks/ceilings.cu
  ${CMAKE_SOURCE_DIR}/benchmarks/whole_matrix.cu)
foreach(peer OPENBLAS ONEDNN)
  if(${peer}_LIBRARY AND ${peer}_INCLUDE_DIR)
    target_include_directories(systole_benchmarks SYSTEM PRIVATE ${${peer}_INCLUDE_DIR})
    target_link_libraries(systole_benchmarks PRIVATE ${${peer}_LIBRARY})
    target_compile_definitions(systole_benchmarks PRIVATE SYSTOLE_${peer})
  endif()
endforeach()
