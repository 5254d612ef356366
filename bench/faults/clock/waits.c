/* libfaketime gives a process a wrong clock, but does not know C11's waits, which Kafka's client uses: it reads the wrong
   clock, adds how long it wants to wait, and would wait until the right clock is there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/syscall.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static const long SECOND_NS = 1000000000L;

int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *deadline) {
    int (*wait)(cnd_t *, mtx_t *, const struct timespec *) = dlsym(RTLD_NEXT, "cnd_timedwait");
    struct timespec wrong, right;
    clock_gettime(CLOCK_REALTIME, &wrong);
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &right);
    struct timespec until = *deadline;
    until.tv_sec -= wrong.tv_sec - right.tv_sec;
    until.tv_nsec -= wrong.tv_nsec - right.tv_nsec;
    if (until.tv_nsec < 0) {
        until.tv_nsec += SECOND_NS;
        until.tv_sec -= 1;
    } else if (until.tv_nsec >= SECOND_NS) {
        until.tv_nsec -= SECOND_NS;
        until.tv_sec += 1;
    }
    return wait(condition, mutex, &until);
}
