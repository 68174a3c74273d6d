// The state of the kernel's clock, which Swift's Glibc module leaves out. Declared here because
// <sys/timex.h> brings types along (timespec) that Swift would take for this module's, and files that
// import Glibc only could then not use them in a release build.

struct kernel_timex {                       // struct timex of adjtimex(2), where long has 64 bits
    unsigned int modes;                     // what to set; 0 to ask only
    long offset;                            // in microseconds, or nanoseconds with TIMEX_NANO
    long frequency;
    long maximum_error, estimated_error;    // in microseconds
    int status;
    long constant, precision, tolerance;
    long seconds, microseconds, tick;
    long pulse_frequency, pulse_jitter;
    int pulse_shift;
    long pulse_stability, pulse_jitters, pulse_calibrations, pulse_errors, pulse_excesses;
    int international_atomic_time;
    int reserved[11];
};

_Static_assert(sizeof(struct kernel_timex) == 208, "not the kernel's struct timex");

enum { TIMEX_UNSYNCHRONISED = 0x0040, TIMEX_NANO = 0x2000 };  // bits of status

int adjtimex(struct kernel_timex *state);
