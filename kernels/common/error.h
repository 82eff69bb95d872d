// The exceptions of Systole. Every message is one full sentence that names the file, line, option or value at
// fault and what was expected; the program prints it and exits with the code.
#pragma once

#include <stdexcept>
#include <string>

namespace systole {

/// Something the program was given or found is not as it must be: exit code 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The command line asks for something that does not exist or cannot be: exit code 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// A kernel could not be launched, or broke a rule while it ran on simt. Its entry adds the kernel's name and shapes.
class LaunchError : public Error {
 public:
  using Error::Error;
};

}  // namespace systole
