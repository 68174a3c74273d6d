// Starting another program without handing down descriptors. The C library declares these calls for
// GNU sources only, which Swift's import of it does not count as.
//
// No system header is included: types that it defines would count as this module's, and every file
// that uses one of them would have to import it. `actions` is a posix_spawn_file_actions_t.

int pipe2(int ends[2], int flags);
int posix_spawn_file_actions_addclosefrom_np(void *actions, int from);
