/*
 * What only C can ask of a listener: system calls by number, cancellation, vfork, fortified poll. Built with
 * glibc and with musl; writes the same lines on a real listener and as a worker.
 *
 *     raw FILE       HOST (IPv4) and PORT say where
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static FILE *out;
static struct sockaddr_in where;

static void say(const char *what, long value)
{
    fprintf(out, "%s: %ld %s\n", what, value < 0 ? -1 : value, value < 0 ? strerror(errno) : "");
}

/* What a call gave, where the number itself does not matter. */
static int made(const char *what, long value)
{
    say(what, value < 0 ? -1 : 1);
    return (int)value;
}

static int listener(void)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    say("bind", bind(fd, (void *)&where, sizeof where));
    say("listen", listen(fd, 64));
    return fd;
}

static int client(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (void *)&where, sizeof where) != 0)
        say("connect", -1);
    return fd;
}

/* The two ends are of one connection. */
static void check(int taken, int peer)
{
    char got = 0;
    made("write", write(peer, "x", 1));
    say("read", read(taken, &got, 1));
    say("is x", got == 'x');
}

static void by_number(void)
{
    int fd = listener(), peer = client();
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    int taken = made("SYS_accept4", syscall(SYS_accept4, fd, &from, &len, SOCK_NONBLOCK));
    say("length", len);
    say("nonblocking", (fcntl(taken, F_GETFL) & O_NONBLOCK) != 0);
    struct pollfd ready = {.fd = taken, .events = POLLIN};
    made("write", write(peer, "yy", 2));
    say("poll", poll(&ready, 1, 10000));
    say("SYS_close", syscall(SYS_close, taken));
    say("closed twice", syscall(SYS_close, taken));
    close(peer);
    peer = client();
    taken = made("SYS_accept", syscall(SYS_accept, fd, NULL, NULL));
    check(taken, peer);
    say("SYS_dup3", syscall(SYS_dup3, peer, taken, O_CLOEXEC) == taken);
    close(taken);
    close(peer);
    say("SYS_getpid", syscall(SYS_getpid) == getpid());
    say("unknown", syscall(9999));
    say("SYS_close", syscall(SYS_close, fd));
    say("accept after close", accept(fd, NULL, NULL));
}

static void *accepts(void *fd)
{
    accept(*(int *)fd, NULL, NULL);
    return NULL;
}

/* A thread that is cancelled in accept() ends there. */
static void cancelled(void)
{
    int fd = listener();
    pthread_t thread;
    void *result;
    pthread_create(&thread, NULL, accepts, &fd);
    usleep(200000);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    say("cancelled", result == PTHREAD_CANCELED);
    int peer = client();
    check(made("accept", accept(fd, NULL, NULL)), peer);
    close(peer);
    close(fd);
}

/* A vfork child closes everything in its parent's memory. */
static void vforked(void)
{
    int fd = listener(), peer = client();
    int taken = made("accept", accept(fd, NULL, NULL));
    pid_t child = vfork();
    if (child == 0) {
        close(fd);
        close(taken);
        syscall(SYS_close_range, 3, ~0U, 0);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    check(taken, peer);
    struct sockaddr_in name;
    socklen_t len = sizeof name;
    say("getsockname", getsockname(fd, (void *)&name, &len));
    say("family", name.sin_family);
    say("port", name.sin_port == where.sin_port);
    close(taken);
    close(peer);
    peer = client();
    check(made("accept", accept(fd, NULL, NULL)), peer);
    close(peer);
    close(fd);
}

/* A handler that opens, uses and closes descriptors while the listener is at work. */
static void on_signal(int number)
{
    int saved = errno;
    (void)number;
    close(dup(0));
    errno = saved;
}

static void signalled(void)
{
    int fd = listener();
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        for (;;) {
            kill(parent, SIGUSR1);
            usleep(200);
        }
    }
    int right = 0;
    for (int turn = 0; turn < 200; turn++) {
        int peer = client(), taken = accept(fd, NULL, NULL);
        char got = 0;
        if (taken >= 0 && write(peer, "z", 1) == 1 && read(taken, &got, 1) == 1 && got == 'z')
            right++;
        close(taken);
        close(peer);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    say("right under signals", right);
    close(fd);
}

/* Every way of waiting, through the checked variants where the compiler chooses them. */
static void waits(void)
{
    int fd = listener();
    volatile int count = 1;
    struct pollfd ready[1] = {{.fd = fd, .events = POLLIN | POLLOUT}};
    struct timespec soon = {0, 1000000}, late = {10, 0};
    say("poll", poll(ready, count, 1));
    say("ppoll", ppoll(ready, count, &soon, NULL));
    int peer = client();
    say("ppoll", ppoll(ready, count, &late, NULL));
    say("events", ready[0].revents);
    say("poll", poll(ready, count, 10000));
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    struct timeval patience = {10, 0};
    say("select", select(fd + 1, &set, NULL, NULL, &patience));
    say("pselect", pselect(fd + 1, &set, NULL, NULL, &late, NULL));
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x1122334455667788};
    say("epoll_ctl", epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    struct epoll_event got = {0};
    say("epoll_wait", epoll_wait(epoll, &got, 1, 10000));
    say("data", got.data.u64 == 0x1122334455667788);
    say("epoll_pwait", epoll_pwait(epoll, &got, 1, 10000, NULL));
    check(made("accept", accept(fd, NULL, NULL)), peer);
    say("epoll_wait", epoll_wait(epoll, &got, 1, 1));
    close(peer);
    close(fd);
    close(epoll);
    say("bad address", accept(-1, NULL, NULL));
    say("not a socket", accept(0, NULL, NULL));
    say("close", close(-1));
}

enum { THREADS = 8, CLIENTS = 400 };
static int crowded_listener, served, wrong;

static void *serves(void *unused)
{
    (void)unused;
    while (__atomic_load_n(&served, __ATOMIC_RELAXED) < CLIENTS) {
        int taken = accept(crowded_listener, NULL, NULL);
        if (taken < 0) {
            if (errno != EMFILE)
                __atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
            usleep(100);
            continue;
        }
        if (write(taken, "s", 1) != 1)
            __atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
        close(taken);
        __atomic_fetch_add(&served, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

/* Threads that race for the last descriptors lose no connection. */
static void crowded(void)
{
    int told[2];
    crowded_listener = listener();
    if (pipe(told) != 0)
        return;
    pid_t child = fork();
    if (child == 0) {
        char got;
        close(told[1]);
        while (read(told[0], &got, 1) != 0) {
        }
        for (int turn = 0; turn < CLIENTS / 20; turn++) {
            int peers[20];
            for (int i = 0; i < 20; i++)
                peers[i] = client();
            for (int i = 0; i < 20; i++) {
                if (read(peers[i], &got, 1) != 1 || got != 's')
                    _exit(1);
                close(peers[i]);
            }
        }
        _exit(0);
    }
    close(told[0]);
    struct rlimit limit, tight;
    getrlimit(RLIMIT_NOFILE, &limit);
    tight = limit;
    int top = dup(0);
    close(top);
    tight.rlim_cur = top + 2;
    setrlimit(RLIMIT_NOFILE, &tight);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, serves, NULL);
    close(told[1]);
    int status;
    waitpid(child, &status, 0);
    say("clients", status);
    say("served", served);
    say("wrong", wrong);
    for (int i = 0; i < THREADS; i++)
        pthread_cancel(threads[i]);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    setrlimit(RLIMIT_NOFILE, &limit);
    close(crowded_listener);
}

int main(int count, char **words)
{
    char part[4096];
    if (count < 2)
        return 2;
    snprintf(part, sizeof part, "%s.part", words[1]);
    out = fopen(part, "w");
    where.sin_family = AF_INET;
    where.sin_port = htons(atoi(getenv("PORT")));
    inet_pton(AF_INET, getenv("HOST"), &where.sin_addr);
    alarm(60);
    by_number();
    cancelled();
    vforked();
    signalled();
    waits();
    crowded();
    fclose(out);
    rename(part, words[1]);
    if (getenv("FORKFRONT_SLOT")) {
        alarm(0);
        pause();
    }
    return 0;
}
