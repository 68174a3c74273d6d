// The state of the kernel's clock, which Swift's Glibc module leaves out.
#include <sys/timex.h>
