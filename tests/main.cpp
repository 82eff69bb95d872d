// The main of every test program. Doctest's options apply: -tc='pattern' for some cases, -ltc to list them.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
