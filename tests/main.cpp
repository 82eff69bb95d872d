// The main of every test program. Doctest's options apply: -tc='pattern' for some cases, -ltc to list them.
#define DOCTEST_CONFIG_NO_POSIX_SIGNALS  // doctest 2.4.6 needs a constant SIGSTKSZ, which glibc 2.34 took away
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
