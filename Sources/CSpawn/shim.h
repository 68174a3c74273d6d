// Starting another program without handing down descriptors. The C library declares these calls for
// GNU sources only, which Swift's import of it does not count as.
#include <spawn.h>

int pipe2(int ends[2], int flags);
int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions, int from);
