// Starts the installed tracer with the few capabilities that tracing takes, for members of a group.
//
// The file belongs to root, is executable for the group alone, and has the capabilities as file
// capabilities (capabilities(7)). Nothing of what the caller chose reaches the interpreter but
// options that were looked at: not the environment, no descriptor above 2. COMMAND is forked first,
// while nothing has been read yet, gives everything up, and becomes the program with the caller's
// own environment when the tracer says so. Only what is compiled in is executed.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef TRACER
#error "TRACER is the folder of the installed tracer"
#endif
#ifndef PACKAGES
#error "PACKAGES is the folder that the system's Python has BCC in"
#endif
#define PYTHON "/usr/bin/python3"
#define BOOT                                                                                       \
    "import sys, runpy; sys.path[:0] = [sys.argv.pop(1)]; sys.path.append(sys.argv.pop(1)); "      \
    "runpy.run_module('podtracer', run_name='__main__', alter_sys=True)"

#define BIT(number) (1ULL << (number))
#define TRACING (BIT(CAP_BPF) | BIT(CAP_PERFMON) | BIT(CAP_NET_ADMIN))
#define CANNOT_START 126

static _Noreturn void refuse(const char *code, const char *message, const char *hint) {
    dprintf(1,
            "{\"kind\":\"error\",\"code\":\"%s\",\"message\":\"%s\",\"hint\":\"%s\","
            "\"tick\":0,\"seq\":1,\"time_ns\":0}\n",
            code, message, hint);
    _exit(CANNOT_START);
}

static _Noreturn void refuse_options(const char *message) {
    refuse("launcher_options", message, "The plugin and this launcher are of different versions.");
}

static _Noreturn void fail(const char *what) {
    char message[256];
    snprintf(message, sizeof message, "the launcher cannot %s: %s", what, strerror(errno));
    refuse("launcher", message, "Try again, or run podtrace with sudo.");
}

static unsigned long long permitted(void) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data))
        fail("read its capabilities");
    return data[0].permitted | (unsigned long long)data[1].permitted << 32;
}

static int set_capabilities(unsigned long long all, unsigned long long inheritable) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {
        {(__u32)all, (__u32)all, (__u32)inheritable},
        {(__u32)(all >> 32), (__u32)(all >> 32), (__u32)(inheritable >> 32)},
    };
    return (int)syscall(SYS_capset, &header, data);
}

// Root alone may be able to change what is executed with rights: the file and every folder above.
static void check_trusted(const char *path) {
    char part[PATH_MAX], target[PATH_MAX], message[PATH_MAX + 64];
    struct stat status;
    for (size_t end = 0; end <= strlen(path) && end < sizeof part; end++) {
        if (path[end] != '/' && path[end] != '\0')
            continue;
        memcpy(part, end ? path : "/", end ? end : 1);
        part[end ? end : 1] = '\0';
        bool bad = lstat(part, &status) || status.st_uid != 0;
        if (bad || (!S_ISLNK(status.st_mode) && status.st_mode & (S_IWGRP | S_IWOTH))) {
            snprintf(message, sizeof message, "%s is missing, or not for root alone to change",
                     part);
            refuse("launcher_files", message, "Set the launcher up again: setup-capabilities.sh");
        }
    }
    if (!realpath(path, target))
        fail("resolve a path");
    if (strcmp(path, target))
        check_trusted(target);
}

// What each option may be followed by.
enum form { NOTHING, DIGITS, SECONDS, GROUP, CONTAINER, LISTENER };
static const struct option {
    const char *name;
    enum form form;
} OPTIONS[] = {
    {"--cgroup", GROUP},
    {"--pid", DIGITS},
    {"--container", CONTAINER},
    {"--command", NOTHING},
    {"--for", SECONDS},
    {"--rtt-spike", DIGITS},
    {"--slow-file", DIGITS},
    {"--long-block", DIGITS},
    {"--parent", DIGITS},
    {"--metrics", LISTENER},
    {"--metrics-processes", DIGITS},
};
#define COUNT (sizeof OPTIONS / sizeof *OPTIONS)
#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define NUMERALS "0123456789"

static bool consists_of(const char *text, const char *characters, size_t most) {
    size_t length = strlen(text);
    return length > 0 && length <= most && strspn(text, characters) == length;
}

// Ports below 1024 would take a capability that is not there; 0 is any free one.
static bool is_listener(const char *text) {
    const char *colon = strrchr(text, ':');
    return colon && colon > text && consists_of(text, LOWER UPPER NUMERALS ".-:[]%", 256) &&
           consists_of(colon + 1, NUMERALS, 5) && (!atoi(colon + 1) || atoi(colon + 1) >= 1024);
}

static bool is_path(const char *text) {
    for (const char *at = text; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return false;
    return *text && strlen(text) < PATH_MAX;
}

static bool fits(enum form form, const char *value) {
    switch (form) {
    case NOTHING:
        return false;
    case DIGITS:
        return consists_of(value, NUMERALS, 18);
    case SECONDS:
        return consists_of(value, NUMERALS ".", 32);
    case GROUP:
        return is_path(value);
    case CONTAINER:
        return consists_of(value, LOWER UPPER NUMERALS ":/._-", 256);
    case LISTENER:
        return is_listener(value);
    }
    return false;
}

static char *joined(const char *name, const char *value) {
    char *text;
    if (asprintf(&text, "%s=%s", name, value) < 0)
        fail("allocate memory");
    return text;
}

// Appends the options to what Python is given; returns the index of COMMAND, 0 without one.
static int take_options(int argc, char **argv, char **out) {
    bool seen[COUNT] = {false};
    size_t command = COUNT;
    int at = 1;
    for (; at < argc && strcmp(argv[at], "--"); at++) {
        size_t length = strcspn(argv[at], "="), which = 0;
        const char *value = argv[at][length] ? argv[at] + length + 1 : NULL;
        while (which < COUNT &&
               (strncmp(OPTIONS[which].name, argv[at], length) || OPTIONS[which].name[length]))
            which++;
        if (which == COUNT || seen[which])
            refuse_options("the launcher was given an option that it does not take, or twice");
        seen[which] = true;
        if (OPTIONS[which].form == NOTHING) {
            if (value)
                refuse_options("the launcher was given a value for an option without one");
            command = which;
            *out++ = (char *)OPTIONS[which].name;
            continue;
        }
        if (!value && at + 1 < argc)
            value = argv[++at];
        if (!value || !fits(OPTIONS[which].form, value))
            refuse_options("the launcher was given a value that its option does not take");
        *out++ = joined(OPTIONS[which].name, value);
    }
    bool has_command = at + 1 < argc;
    if (has_command != (command != COUNT) || (at < argc && !has_command))
        refuse_options("--command and -- COMMAND belong together");
    *out = NULL;
    return has_command ? at + 1 : 0;
}

// The linker takes variables away from programs with rights: the kernel still has all (proc(5)).
static char **callers_environment(void) {
    char text[4096], *start = NULL, *end = NULL;
    int file = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (length <= 0)
        return NULL;
    text[length] = '\0';
    char *field = strrchr(text, ')');
    for (int number = 3; field && number <= 51; number++) {
        field = strchr(field + 1, ' ');
        if (number == 50 && field)
            start = (char *)strtoul(field, NULL, 10);
        if (number == 51 && field)
            end = (char *)strtoul(field, NULL, 10);
    }
    size_t count = 0;
    for (char *at = start; at && at < end; at += strlen(at) + 1)
        count++;
    char **variables = calloc(count + 1, sizeof *variables);
    for (size_t i = 0; variables && i < count; start += strlen(start) + 1)
        variables[i++] = start;
    return variables;
}

static _Noreturn void become_command(char **argv, pid_t tracer, int go, int failed) {
    static const int DEFAULTS[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    char path[PATH_MAX + 1];
    if (set_capabilities(0, 0) || prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != tracer)
        _exit(127);
    // The caller's own from here on: where /proc hides others, the tracer would not see it else.
    prctl(PR_SET_DUMPABLE, 1);
    setpgid(0, 0);
    for (size_t i = 0; i < sizeof DEFAULTS / sizeof *DEFAULTS; i++)
        signal(DEFAULTS[i], SIG_DFL);
    ssize_t length = read(go, path, sizeof path - 1);
    if (length <= 0)
        _exit(127);
    path[length] = '\0';
    dup2(2, 1);
    char **environment = callers_environment();
    if (environment)
        execve(path, argv, environment);
    dprintf(failed, "%d %s", errno, strerror(errno));
    _exit(127);
}

// Returns the option that tells the tracer of COMMAND, which waits for its path at a pipe.
static void hold_command(char **argv, char **out) {
    int go[2], failed[2];
    if (pipe2(go, O_CLOEXEC) || pipe2(failed, O_CLOEXEC))
        fail("make a pipe");
    pid_t tracer = getpid(), child = fork();
    if (child < 0)
        fail("start a process");
    if (child == 0) {
        close(go[1]);
        become_command(argv, tracer, go[0], failed[1]);
    }
    if (fcntl(go[1], F_SETFD, 0) || fcntl(failed[0], F_SETFD, 0))
        fail("keep a pipe");
    static char numbers[3][16];
    snprintf(numbers[0], sizeof numbers[0], "%d", child);
    snprintf(numbers[1], sizeof numbers[1], "%d", go[1]);
    snprintf(numbers[2], sizeof numbers[2], "%d", failed[0]);
    *out++ = "--held";
    for (int i = 0; i < 3; i++)
        *out++ = numbers[i];
    const char *path = getenv("PATH");
    if (path)
        *out++ = joined("--path", path);
    *out++ = "--";
    *out++ = argv[0];
    *out = NULL;
}

// The C library of Debian 11 has no name of its own for the call that its kernel has.
static void settle_descriptors(void) {
    for (int number = 0; number <= 2; number++)
        if (fcntl(number, F_GETFD) < 0 && open("/dev/null", O_RDWR) != number)
            _exit(CANNOT_START);
    if (syscall(__NR_close_range, 3U, ~0U, 0))
        fail("close descriptors");
}

// Before 5.11 tables count as locked memory; the right to raise that limit is needed here only.
static void raise_memory_limit(unsigned long long held) {
    const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
    if (held & BIT(CAP_SYS_RESOURCE) && setrlimit(RLIMIT_MEMLOCK, &unlimited))
        fail("raise the limit of locked memory");
}

static void raise_capabilities(void) {
    if (set_capabilities(TRACING, TRACING))
        fail("set its capabilities");
    for (int number = 0; number < 64; number++)
        if (TRACING & BIT(number) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0))
            fail("pass its capabilities on");
}

int main(int argc, char **argv) {
    static char *const ENVIRONMENT[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8",
                                        NULL};
    static char *line[COUNT + 20] = {"python3", "-I", "-S", "-B", "-c", BOOT, TRACER, PACKAGES};
    prctl(PR_SET_DUMPABLE, 0);
    settle_descriptors();
    unsigned long long held = permitted();
    if (geteuid() == 0 || (held & TRACING) != TRACING || !getauxval(AT_SECURE))
        refuse("launcher_rights", "the launcher got no capabilities from the kernel",
               "Is it run by a debugger, in a sandbox (no_new_privs), or on a file system that is "
               "mounted nosuid? Else set it up again: setup-capabilities.sh");
    if (argc < 1)
        refuse_options("the launcher was started without its name");
    char **end = line + 8;
    int command = take_options(argc, argv, end);
    check_trusted(PYTHON);
    check_trusted(TRACER);
    check_trusted(PACKAGES);
    while (*end)
        end++;
    // COMMAND gets the limits of the caller, so it comes first.
    if (set_capabilities(held, 0))
        fail("use its capabilities");
    if (command)
        hold_command(argv + command, end);
    raise_memory_limit(held);
    raise_capabilities();
    execve(PYTHON, line, ENVIRONMENT);
    fail("start " PYTHON);
}
