// What exists when the trace starts: member processes and threads, and who owns which connection.
//
// BPF iterators, run after the probes are attached, and again when a cgroup has become a target;
// what a probe entered meanwhile stays.

#define FIRST_EPHEMERAL_PORT 32768

struct iterator_meta;
struct bpf_iter__task {
    struct iterator_meta *meta;
    struct task_struct *task;
};
struct bpf_iter__task_file {
    struct iterator_meta *meta;
    struct task_struct *task;
    u32 fd;
    struct file *file;
};

#if FAMILY_PROCESS

// When a process started, 0: before the trace.
ALWAYS_INLINE u64 start_in_window(struct task_struct *task) {
#if HAVE_task_struct__start_time
    u64 window_start = moment(WINDOW_START);
    struct task_struct *leader = TYPED(LOAD(task, group_leader), task_struct);
    u64 start_ns = LOAD(leader, start_time);

    return window_start && start_ns >= window_start ? start_ns : 0;
#else
    return 0;
#endif
}

int on_iter_task(u64 *ctx) {
    struct task_struct *given = ARG(ctx, 1, struct task_struct *);

    if (!given)
        return 0;
    struct task_struct *task = TYPED(given, task_struct);
    u32 target = task_target(task);

    if (!target || LOAD(task, exit_state))
        return 0;
    u64 now = bpf_ktime_get_ns();
    bool running = LOAD(task, on_cpu);

    u32 process = LOAD(task, tgid);
    u64 start_ns = start_in_window(task);
    struct process_value *known = processes.lookup(&process);

    if (known && known->entered && known->start_ns >= moment(TARGETS_ADDED)) {
        // A probe met it first, and could not know that it was there before its cgroup counted.
        known->entered = 0;
        known->start_ns = start_ns;
    }
    enter_process(task, target, start_ns, false);
    enter_thread(task, target, running ? now : 0, running ? 0 : now);
    return 0;
}

#endif

#if FAMILY_TCP

int on_iter_task_file(u64 *ctx) {
    struct task_struct *task = ARG(ctx, 1, struct task_struct *);
    struct file *file = ARG(ctx, 3, struct file *);

    if (!task || !file)
        return 0;
    u32 target = task_target(TYPED(task, task_struct));

    if (!target)
        return 0;
    struct inode *inode = TYPED(LOAD(TYPED(file, file), f_inode), inode);

    if ((LOAD(inode, i_mode) & MODE_TYPE) != MODE_SOCKET)
        return 0;
    struct sock *sk = sock_of(file);

    if (!sk || socket_kind(sk) != FILE_TCP)
        return 0;
    u8 state = LOAD(TYPED(sk, sock), __sk_common.skc_state);

    if (state != STATE_ESTABLISHED)
        return 0;
    // Which side connected is not kept: a port that clients are given tells them.
    u16 local = LOAD(TYPED(sk, sock), __sk_common.skc_num);
    u16 remote = bpf_ntohs(LOAD(TYPED(sk, sock), __sk_common.skc_dport));
    bool accepted = remote >= FIRST_EPHEMERAL_PORT && local < FIRST_EPHEMERAL_PORT;

    enter_socket(sk, socket_label(sk, accepted), LOAD(TYPED(task, task_struct), tgid), target, 0);
    return 0;
}

#endif
