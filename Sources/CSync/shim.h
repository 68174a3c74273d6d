// Writing out one file system. The C library declares this call for GNU sources only, which Swift's
// import of it does not count as. No system header is included; see CSpawn.

int syncfs(int file);
