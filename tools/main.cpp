#include "tools/command.h"

int main(int argc, char** argv) {
  return systole::tools::run_command_line(argc, argv);
}
