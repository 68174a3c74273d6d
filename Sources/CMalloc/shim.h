// glibc's allocator beyond what the Glibc module shows.
#include <malloc.h>
