// The contract between the probes and podtracer: maps, keys, values, numbers.
//
// The kernel counts; Python only reads. One operation is one update of `series`: a plain hash
// keyed by process, metric and histogram slot, added to atomically, never reset while its process
// can still run. podtracer/records.py mirrors the layouts below.
//
// podtracer sets from the outside: SERIES_ENTRIES, THREAD_ENTRIES, SOCKET_ENTRIES,
// PROCESS_ENTRIES, LABEL_ENTRIES, FILE_ENTRIES, DNS_ENTRIES, TARGET_ENTRIES, FILTER_SLOTS,
// MAYBE_TARGET (false for what is surely no target's id), RING_PAGES, SCOPE_PIDS (0: cgroups),
// SCOPE_LEVEL_0..3 (depth of the target cgroups, -1: unused), SCOPE_V1 (they are of the version 1
// hierarchy of the controller SCOPE_SUBSYSTEM, of enum cgroup_subsys_id), LABEL_SEED, RTT_SPIKE_NS,
// SLOW_FILE_NS, LONG_BLOCK_NS, HAVE_CAST and BTF_ID_* (type ids for bpf_rdonly_cast),
// HAVE_CURRENT_TYPED and HAVE_TASK_REGISTERS (helpers of Linux 5.11 and 5.15), IN_IOWAIT_BYTE and
// IN_IOWAIT_MASK (a bit-field has no address), and, by the kind of hook that the programs are
// compiled for, ARGUMENTS_TYPED or ARGUMENTS_IN_REGISTERS.

#define ALWAYS_INLINE static inline __attribute__((always_inline))

// Arguments are 64-bit words one behind the other, but for kprobes, which get the registers.
#if ARGUMENTS_IN_REGISTERS
#define ARGUMENT_OFFSET(n) ARGUMENT_REGISTER(n)
#else
#define ARGUMENT_OFFSET(n) (8 * (n))
#endif

// A program's argument, taken out of BCC's sight: BCC would turn each dereference of it into a
// bpf_probe_read, where the verifier knows the type of a BTF tracepoint's argument and lets it be
// loaded directly.
#define ARG(ctx, n, type)                                                                          \
    ({                                                                                             \
        u64 _value;                                                                                \
        asm volatile("%0 = *(u64 *)(%1 + %2)" : "=r"(_value) : "r"(ctx), "i"(ARGUMENT_OFFSET(n))); \
        (type) _value;                                                                             \
    })

// Helpers under names of our own: BCC looks up its names for them among all kernel symbols, again
// and again, which takes longer than the compilation.
static long (*read_kernel)(void *, u32, const void *) = (void *)113;  // bpf_probe_read_kernel
static long (*read_kernel_str)(void *, u32,
                               const void *) = (void *)115;         // bpf_probe_read_kernel_str
static long (*read_user)(void *, u32, const void *) = (void *)112;  // bpf_probe_read_user
#if HAVE_CURRENT_TYPED
static struct task_struct *(*current_task)(void) = (void *)158;  // bpf_get_current_task_btf
#else
static struct task_struct *(*current_task)(void) = (void *)35;  // bpf_get_current_task
#endif
#if HAVE_TASK_REGISTERS
static struct pt_regs *(*task_registers)(struct task_struct *) = (void *)175;  // bpf_task_pt_regs
#endif

#if HAVE_CAST
// podtracer rewrites this call into one of the kernel function bpf_rdonly_cast before loading.
static void *(*rdonly_cast)(void *object, u32 btf_id) = (void *)CAST_MARK;
#define TYPED(pointer, name) ((struct name *)rdonly_cast((void *)(pointer), BTF_ID_##name))
#define LOAD(typed, field) ((typed)->field)
#else
#define TYPED(pointer, name) ((struct name *)(pointer))
#define LOAD(typed, field)                                                                         \
    ({                                                                                             \
        typeof((typed)->field) _loaded;                                                            \
        read_kernel(&_loaded, sizeof(_loaded), &(typed)->field);                                   \
        _loaded;                                                                                   \
    })
#endif

// A member of what an argument points to, or of what such a member points to.
#if ARGUMENTS_TYPED
#define GIVEN(pointer, field) ((pointer)->field)
#else
#define GIVEN(pointer, field) LOAD(pointer, field)
#endif

// A member of what current_task() or task_registers() returned, or of what such a member points to.
#if HAVE_CURRENT_TYPED
#define OWN(pointer, field) ((pointer)->field)
#else
#define OWN(pointer, field) LOAD(pointer, field)
#endif

enum metric {
    METRIC_DNS = 1,
    METRIC_DNS_QUERY,
    METRIC_DNS_RETRY,
    METRIC_DNS_TIMEOUT,
    METRIC_CONNECT,
    METRIC_CONNECT_ATTEMPT,
    METRIC_ACCEPT,
    METRIC_CONNECTION,
    METRIC_RTT,
    METRIC_RTT_SPIKE,
    METRIC_RETRANSMIT,
    METRIC_RESET,
    METRIC_SEND,
    METRIC_RECEIVE,
    METRIC_OPEN,
    METRIC_READ,
    METRIC_WRITE,
    METRIC_FSYNC,
    METRIC_PIPE,
    METRIC_SOCKET,
    METRIC_TERMINAL,
    METRIC_RUN_QUEUE,
    METRIC_BLOCKED,
    METRIC_CPU,
    METRIC_EXEC,
    METRIC_EXIT,
    METRICS,
};

// A metric with one of these bits counts, beside the metric itself: failures (the slot is the error
// number), calls that would have blocked, and calls above the threshold for slow ones.
#define ASPECT_ERROR 0x80
#define ASPECT_AGAIN 0x40
#define ASPECT_SLOW 0xc0

#define SLOTS 976
#define OVERFLOW_LABEL 1

enum block_reason {
    REASON_DISK = 1,
    REASON_NETWORK,
    REASON_LOCK,
    REASON_SLEEP,
    REASON_POLL,
    REASON_OTHER,
};

// What a system call is to us. podtracer fills `syscall_kinds` from the architecture's numbers.
enum syscall_kind {
    CALL_NONE,
    CALL_READ,
    CALL_WRITE,
    CALL_FSYNC,
    CALL_OPEN,
    CALL_SEND,
    CALL_RECEIVE,
    CALL_SEND_MANY,
    CALL_RECEIVE_MANY,
    CALL_CONNECT,
    CALL_ACCEPT,
    // Not timed; only the reason of a block:
    CALL_LOCK,
    CALL_SLEEP,
    CALL_POLL,
    CALL_NETWORK,
    CALL_DISK,
};
#define CALL_LAST_TIMED CALL_ACCEPT

enum file_kind { FILE_OTHER, FILE_REGULAR, FILE_PIPE, FILE_SOCKET, FILE_TCP, FILE_TERMINAL };

enum loss {
    LOST_RING_FULL,
    LOST_THREADS_FULL,
    LOST_SOCKETS_FULL,
    LOST_PROCESSES_FULL,
    LOST_LABELS_FULL,
    LOST_FILES_FULL,
    LOST_DNS_FULL,
    LOST_SUPPRESSED,
    LOST_UNKNOWN_OWNER,
    LOST_COMPAT_CALLS,
    LOST_TAKEN_OVER,  // not lost: what the kernel skipped and another program did
    LOST_PLACES,
};

enum event_type {
    EVENT_CONNECT = 1,
    EVENT_CONNECT_FAILED,
    EVENT_RESET,
    EVENT_RETRANSMIT,
    EVENT_RTT_SPIKE,
    EVENT_DNS,
    EVENT_DNS_ERROR,
    EVENT_SLOW_FILE,
    EVENT_LONG_BLOCK,
    EVENT_OOM_KILL,
    EVENT_EXEC,
    EVENT_EXIT,
};

// Of the monotonic clock, 0: not yet.
enum moment {
    WINDOW_START,   // from here on everything counts; 0 again: nothing new any more
    TARGETS_ADDED,  // when the newest cgroups became targets, after the start
    MOMENTS,
};

// What on_sys_exit goes on with where DNS packets are not seen.
enum continuation { AFTER_SENT, AFTER_RECEIVED, CONTINUATIONS };

enum connect_begun { BEGUN_NOT, BEGUN_NOW, BEGUN_EARLIER };

// errno-like number of a connect that the application closed before it was decided.
#define GIVEN_UP 4000

struct series_key {
    u64 label;  // of `labels`, a block_reason, or 0
    u32 process;
    u16 slot;
    u8 metric;
    u8 target;
};

struct series_value {
    u64 count;
    u64 sum_ns;
    u64 max_ns;
    u64 bytes;
    u64 wait_ns;
};

struct file_key {
    u64 inode;
    u32 device;
    u32 generation;  // inode numbers are used again at once
    u32 target;
    u32 pad;
};

// A path as its components, last one first, each with a zero byte behind it.
#define PATH_BYTES 512
#define PATH_NAMES 14
#define NAME_BYTES 256

struct file_value {
    u64 operations;
    u64 bytes;
    u64 max_ns;
    u32 path_bytes;
    u32 path_complete;
    char path[PATH_BYTES + NAME_BYTES];
};

// A file's entry while it is made, and how far up the walk to the root has come.
struct file_walk {
    struct file_value value;
    u64 dentry;
    u64 mount;
};

enum label_kind { LABEL_PEER = 1, LABEL_DNS_NAME };
#define LABEL_WORDS 16

// LABEL_PEER: 16 address bytes, then port (2, host order). LABEL_DNS_NAME: as on the wire.
struct label_value {
    u8 kind;
    u8 family;  // 4 or 6, of a peer
    u8 bytes;   // of a peer's data; a name ends with its zero
    u8 cut;     // a name longer than the data
    u32 pad;
    u64 data[LABEL_WORDS];
};

struct process_value {
    u64 start_ns;  // 0: before the trace
    u64 exit_ns;
    u64 container_cgroup;
    u32 parent;
    u32 pid;  // in its own PID namespace
    s32 exit_status;
    u8 target;
    u8 entered;
    u8 killed;  // for lack of memory
    u8 pad;
    char name[16];
};

struct thread {
    u64 call_start_ns;
    u64 call_wait_ns;
    u64 on_cpu_ns;   // since when it runs; 0: it does not
    u64 off_cpu_ns;  // since when it does not run; 0: it does
    u64 ready_ns;    // since when it could run; 0: blocked or running
    u64 object;      // struct sock * of a TCP call in flight, struct file * of a file call
    u64 vector;      // of a call that transfers many messages
    u64 message_bytes;
    struct file_key file;
    u32 process;
    u8 target;
    u8 call;  // enum syscall_kind, CALL_NONE: none in flight
    u8 file_kind;
    u8 reason;
    u8 connect_begun;  // enum connect_begun
    u8 connect_failed;
    u8 metric;
    u8 pad;
    u16 peer_port;
    u8 peer_family;
    u8 pad2;
    u8 peer_address[16];
    u64 executed_ns;  // the kernel's CPU time of the thread when it last left a CPU
    u32 dns_left;     // bytes of the call from this part on
    u32 dns_offset;   // of the next DNS message in it
    u32 dns_part;
    u16 dns_messages;  // looked at so far
    u16 dns_runs;      // of the program that looks
};

struct socket_value {
    u64 start_ns;        // SYN sent; 0: not seen
    u64 established_ns;  // 0: not yet, or before the trace
    u64 label;
    u64 rack_mstamp;
    u64 retransmit_mstamp;
    u32 process;
    u8 target;
    u8 established;
    u8 pad[2];
};

struct dns_key {
    u64 cookie;
    u32 id;
    u32 pad;
};

struct dns_value {
    u64 start_ns;
    u64 label;
    u64 server;
    u32 process;
    u8 target;
    u8 pad[3];
};

struct event {
    u64 time_ns;
    u64 duration_ns;
    u64 label;
    u64 bytes;
    struct file_key file;
    u32 process;
    s32 code;
    u8 type;
    u8 target;
    u8 call;
    u8 reason;
    u32 pad;
};

// The second that the event budget belongs to, and what it has spent.
struct budget {
    u64 second;
    u64 events;
    u64 examples;
    u64 files_full;  // the second in which a file found no room
};
#define SECOND_SHIFT 30  // 2^30 ns: near enough
#define EVENTS_PER_SECOND 200
#define EXAMPLES_PER_SECOND 6

BPF_HASH(series, struct series_key, struct series_value, SERIES_ENTRIES);
BPF_ARRAY(overflow, struct series_value, METRICS *SLOTS);
BPF_ARRAY(overflow_aspects, u64, 256);
BPF_HASH(threads, u32, struct thread, THREAD_ENTRIES);
BPF_HASH(sockets, u64, struct socket_value, SOCKET_ENTRIES);
BPF_HASH(processes, u32, struct process_value, PROCESS_ENTRIES);
BPF_HASH(labels, u64, struct label_value, LABEL_ENTRIES);
BPF_HASH(files, struct file_key, struct file_value, FILE_ENTRIES);
BPF_HASH(dns_pending, struct dns_key, struct dns_value, DNS_ENTRIES);
BPF_HASH(targets, u64, u32, TARGET_ENTRIES);
BPF_ARRAY(target_filter, u8, FILTER_SLOTS);
BPF_ARRAY(syscall_kinds, u8, 512);
BPF_ARRAY(lost, u64, LOST_PLACES);
BPF_ARRAY(moved_out, u32, 1);
BPF_ARRAY(moments, u64, MOMENTS);
BPF_ARRAY(budgets, struct budget, 1);
BPF_PERCPU_ARRAY(file_scratch, struct file_walk, 1);
BPF_PERCPU_ARRAY(state_changing, u32, 1);
BPF_RINGBUF_OUTPUT(events, RING_PAGES);
// An array takes programs of one kind only.
BPF_PROG_ARRAY(after_typed, CONTINUATIONS);
BPF_PROG_ARRAY(after_untyped, CONTINUATIONS);

// Go on with another program, if it is there, and do not return.
ALWAYS_INLINE void go_on(u64 *ctx, u32 which) {
#if ARGUMENTS_TYPED
    after_typed.call(ctx, which);
#else
    after_untyped.call(ctx, which);
#endif
}

ALWAYS_INLINE u64 moment(u32 which) {
    u64 *ns = moments.lookup(&which);

    return ns ? *ns : 0;
}

ALWAYS_INLINE void count_lost(u32 place) {
    u64 *counter = lost.lookup(&place);

    if (counter)
        __sync_fetch_and_add(counter, 1);
}

// Twin of podtrace/wire/histogram.py.
ALWAYS_INLINE u32 slot_of(u64 ns) {
    u64 rest = ns;
    u32 log2 = 0;

    if (ns < 16)
        return ns;
    if (rest >> 32) {
        log2 += 32;
        rest >>= 32;
    }
    if (rest >> 16) {
        log2 += 16;
        rest >>= 16;
    }
    if (rest >> 8) {
        log2 += 8;
        rest >>= 8;
    }
    if (rest >> 4) {
        log2 += 4;
        rest >>= 4;
    }
    if (rest >> 2) {
        log2 += 2;
        rest >>= 2;
    }
    log2 += rest >> 1;
    return ((log2 - 4) << 4) + (ns >> (log2 - 4));
}

ALWAYS_INLINE struct series_value *series_entry(struct series_key *key) {
    struct series_value *value = series.lookup(key);
    struct series_value zero = {};

    if (value)
        return value;
    series.insert(key, &zero);
    return series.lookup(key);
}

// One addition to the counters; what is 0 is not there.
struct count {
    u64 label;
    u64 ns;
    u64 bytes;
    u64 wait_ns;
    u32 process;
    u16 slot;
    u8 metric;  // with its aspect
    u8 target;
};

// Programs are inlined to the last function, so each has few calls of this one.
ALWAYS_INLINE void add_count(struct count *count) {
    struct series_key key = {.label = count->label,
                             .process = count->process,
                             .slot = count->slot,
                             .metric = count->metric,
                             .target = count->target};
    struct series_value *value = series_entry(&key);

    if (!value) {
        u32 index = key.metric;

        if (key.metric >= ASPECT_AGAIN) {
            u64 *counter = overflow_aspects.lookup(&index);

            if (counter)
                __sync_fetch_and_add(counter, 1);
            return;
        }
        index = index * SLOTS + key.slot;
        value = overflow.lookup(&index);
        if (!value)
            return;
    }
    __sync_fetch_and_add(&value->count, 1);
    // An addition of 0 would become an instruction that kernels before 5.12 do not know.
    if (count->ns)
        __sync_fetch_and_add(&value->sum_ns, count->ns);
    if (count->bytes)
        __sync_fetch_and_add(&value->bytes, count->bytes);
    if (count->wait_ns)
        __sync_fetch_and_add(&value->wait_ns, count->wait_ns);
    if (count->ns > value->max_ns)
        value->max_ns = count->ns;
}

// Count one operation of a metric that has a duration.
ALWAYS_INLINE void record(u8 target, u32 process, u64 label, u8 metric, u64 ns) {
    struct count count = {.label = label,
                          .ns = ns,
                          .process = process,
                          .slot = slot_of(ns),
                          .metric = metric,
                          .target = target};

    add_count(&count);
}

// Count one operation that has no duration to be put into a histogram, or an aspect of one.
ALWAYS_INLINE void tally(u8 target, u32 process, u64 label, u8 metric, u64 ns) {
    struct count count = {
        .label = label, .ns = ns, .process = process, .metric = metric, .target = target};

    add_count(&count);
}

// True while this second's budget of event lines lasts; what is beyond it is counted.
ALWAYS_INLINE bool within_budget(u64 now, bool example) {
    u32 zero = 0;
    struct budget *budget = budgets.lookup(&zero);
    u64 second = now >> SECOND_SHIFT;

    if (!budget)
        return false;
    if (budget->second != second) {
        budget->second = second;
        budget->events = 0;
        budget->examples = 0;
    }
    if (example) {
        if (budget->examples >= EXAMPLES_PER_SECOND)
            return false;
        __sync_fetch_and_add(&budget->examples, 1);
    }
    if (budget->events >= EVENTS_PER_SECOND) {
        if (!example)
            count_lost(LOST_SUPPRESSED);
        return false;
    }
    __sync_fetch_and_add(&budget->events, 1);
    return true;
}

ALWAYS_INLINE void put_event(struct event *event) {
    if (events.ringbuf_output(event, sizeof(*event), 0))
        count_lost(LOST_RING_FULL);
}

ALWAYS_INLINE void send_event(struct event *event, bool example) {
    if (within_budget(event->time_ns, example))
        put_event(event);
}

ALWAYS_INLINE u64 mix(u64 hash, u64 word) {
    hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
    return hash ^ (hash >> 32);
}

// Return the label of what stands in the scratch value, entering it where it is new.
ALWAYS_INLINE u64 intern(struct label_value *value) {
    u64 hash = mix(LABEL_SEED, (u64)value->kind << 16 | (u64)value->family << 8 | value->bytes);

#pragma nounroll
    for (int i = 0; i < LABEL_WORDS; i++)
        hash = mix(hash, value->data[i]);
    if (hash <= OVERFLOW_LABEL)
        hash = ~hash;
    if (labels.lookup(&hash))
        return hash;
    if (labels.insert(&hash, value) == 0 || labels.lookup(&hash))
        return hash;
    count_lost(LOST_LABELS_FULL);
    return OVERFLOW_LABEL;
}

ALWAYS_INLINE u64 peer_label(u8 family, const u8 *address, u16 port) {
    struct label_value value = {.kind = LABEL_PEER, .family = family, .bytes = 18};

    __builtin_memcpy(value.data, address, 16);
    value.data[2] = port;
    return intern(&value);
}
