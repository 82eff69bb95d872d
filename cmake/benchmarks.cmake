# What is measured and compared with: for systole bench, and for benchmark programs, which are built by name and not by
# default: cmake --build --preset release --target bench_kernels

find_package(Git QUIET)
if(GIT_FOUND)
  execute_process(COMMAND ${GIT_EXECUTABLE} rev-parse --short HEAD WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
    OUTPUT_VARIABLE SYSTOLE_COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(NOT SYSTOLE_COMMIT)  # sources without their history
  set(SYSTOLE_COMMIT unknown)
endif()

set_property(SOURCE benchmarks/origin.cpp APPEND PROPERTY COMPILE_DEFINITIONS SYSTOLE_COMMIT="${SYSTOLE_COMMIT}")

set(benchmark_sources agreement ceilings ceilings_cpu loss_work materialised_losses origin peak_memory timing whole_matrix_cpu)
list(TRANSFORM benchmark_sources REPLACE "(.+)" "benchmarks/\\1.cpp")
add_library(systole_benchmarks STATIC ${benchmark_sources})
target_link_libraries(systole_benchmarks PUBLIC systole_models)
systole_device_kernels(systole_benchmarks ${CMAKE_SOURCE_DIR}/benchmarks/ceilings.cu
  ${CMAKE_SOURCE_DIR}/benchmarks/whole_matrix.cu)

add_executable(bench_simclr_step EXCLUDE_FROM_ALL benchmarks/simclr_step.cpp)
target_link_libraries(bench_simclr_step PRIVATE systole_models CLI11::CLI11)

add_executable(bench_kernels EXCLUDE_FROM_ALL benchmarks/kernels.cpp benchmarks/kernel_cases.cpp
  benchmarks/contrastive_cases.cpp benchmarks/device_memory.cpp)
target_link_libraries(bench_kernels PRIVATE systole_benchmarks CLI11::CLI11 nlohmann_json::nlohmann_json)
