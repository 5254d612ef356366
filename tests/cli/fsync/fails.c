/* Lets every sync of the intent log's write-ahead log fail, as on a disk that breaks, for as long as a file is there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char LOG[] = "/log.sqlite-wal";
static const ssize_t LOG_LENGTH = sizeof LOG - 1;

static int is_broken(int file) {
    const char *broken = getenv("BROKEN_WHILE");
    char link[64], path[4096];
    if (broken == NULL || access(broken, F_OK) != 0) {
        return 0;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path);
    return length >= LOG_LENGTH && memcmp(path + length - LOG_LENGTH, LOG, LOG_LENGTH) == 0;
}

static int sync_by(const char *name, int file) {
    if (is_broken(file)) {
        errno = EIO;
        return -1;
    }
    int (*sync)(int) = dlsym(RTLD_NEXT, name);
    return sync(file);
}

int fsync(int file) { return sync_by("fsync", file); }

int fdatasync(int file) { return sync_by("fdatasync", file); }
