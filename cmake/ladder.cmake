# The learning ladders of Conv1d and NT-Xent (kernels/*/ladder), their benchmark, and their test. Not part of the systole
# program.

file(GLOB ladder_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/kernels/*/ladder/*.cpp)
file(GLOB ladder_device_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/kernels/*/ladder/*.cu)

add_library(systole_ladder STATIC EXCLUDE_FROM_ALL ${ladder_sources})
target_link_libraries(systole_ladder PUBLIC systole_kernels)
systole_device_kernels(systole_ladder ${ladder_device_sources})

add_executable(bench_ladder EXCLUDE_FROM_ALL benchmarks/ladder.cpp benchmarks/timing.cpp)
target_link_libraries(bench_ladder PRIVATE systole_ladder CLI11::CLI11 nlohmann_json::nlohmann_json)

# From tests/CMakeLists.txt, which has systole_tests().
function(systole_ladder_tests)
  systole_tests(ladder systole_ladder)
  add_test(NAME ladder_simt COMMAND test_ladder)
  set_tests_properties(ladder_simt PROPERTIES ENVIRONMENT SYSTOLE_TEST_DEVICE=simt)
endfunction()
