# The benchmarks are built by name, not by default: cmake --build --preset release --target bench_kernels

find_package(Git QUIET)
set(SYSTOLE_COMMIT unknown)
if(GIT_FOUND)
  execute_process(COMMAND ${GIT_EXECUTABLE} rev-parse --short HEAD WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
    OUTPUT_VARIABLE SYSTOLE_COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()

add_executable(bench_simclr_step EXCLUDE_FROM_ALL benchmarks/simclr_step.cpp)
target_link_libraries(bench_simclr_step PRIVATE systole_models CLI11::CLI11)

add_executable(bench_kernels EXCLUDE_FROM_ALL benchmarks/kernels.cpp benchmarks/kernel_cases.cpp benchmarks/measure.cpp
  benchmarks/timing.cpp)
target_link_libraries(bench_kernels PRIVATE systole_kernels CLI11::CLI11 nlohmann_json::nlohmann_json)
target_compile_definitions(bench_kernels PRIVATE SYSTOLE_COMMIT="${SYSTOLE_COMMIT}")
systole_device_kernels(bench_kernels ${CMAKE_SOURCE_DIR}/benchmarks/ceilings.cu)
