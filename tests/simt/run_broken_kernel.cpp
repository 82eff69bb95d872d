// Runs one broken kernel, so that a sanitizer that ends the process can be watched: run_broken_kernel NUMBER

#include <cstdio>
#include <cstdlib>
#include <exception>

#include "tests/simt/broken_kernels.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    systole::test::broken_kernels().at(std::strtoul(argv[1], nullptr, 10)).run();
  } catch (const std::exception& error) {
    std::puts(error.what());
    return 1;
  }
  return 0;
}
