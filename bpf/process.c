// The process table: forks, executions, exits, moves between cgroups, and kills for lack of memory.

#define SIGNAL_GROUP_EXIT_FLAG 0x4
#define KERNEL_MADE_FLAGS 0x4010  // PF_IO_WORKER, PF_USER_WORKER

#if FAMILY_PROCESS

// The running thread has made another.
ALWAYS_INLINE void follow_fork(struct task_struct *child) {
    u64 parent = bpf_get_current_pid_tgid();
    u32 tid = parent;
    struct thread *forking = threads.lookup(&tid);
#if SCOPE_PIDS
    u32 target = forking ? forking->target : target_of_id(parent >> 32);
#else
    u32 target = task_target(child);
#endif

    if (!target)
        return;
    u64 now = bpf_ktime_get_ns();

    enter_process(TYPED(child, task_struct), target, now, !forking && !SCOPE_PIDS);
    enter_thread(TYPED(child, task_struct), target, 0, now);
}

int on_sched_process_fork(u64 *ctx) {
    follow_fork(ARG(ctx, 1, struct task_struct *));
    return 0;
}

int on_wake_up_new_task(u64 *ctx) {
    struct task_struct *child = ARG(ctx, 0, struct task_struct *);

    // Threads that the kernel makes for io_uring and vhost are woken, but not told of as forks.
    if (!(GIVEN(child, flags) & KERNEL_MADE_FLAGS))
        follow_fork(child);
    return 0;
}

// A thread that is not the first of its process takes over that one's number when it executes.
ALWAYS_INLINE void renumber_thread(u32 before, u32 after) {
    struct thread *known = threads.lookup(&before);

    if (before == after || !known)
        return;
    struct thread value = *known;

    if (threads.update(&after, &value))
        count_lost(LOST_THREADS_FULL);
    threads.delete(&before);
}

int on_sched_process_exec(u64 *ctx) {
    struct task_struct *task = ARG(ctx, 0, struct task_struct *);

    renumber_thread(ARG(ctx, 1, u64), GIVEN(task, pid));
    struct thread *thread = member(0);

    if (!thread)
        return 0;
    u64 now = bpf_ktime_get_ns();
    u32 process = thread->process;
    struct process_value *known = processes.lookup(&process);

    if (known)
        read_kernel_str(known->name, sizeof(known->name), task->comm);
    tally(thread->target, process, 0, METRIC_EXEC, 0);
    struct event event = {
        .time_ns = now, .process = process, .type = EVENT_EXEC, .target = thread->target};

    send_event(&event, false);
    return 0;
}

// A thread ends; with `last`, its process does. Where the hook does not tell it is -1.
ALWAYS_INLINE void follow_exit(struct task_struct *task, int last) {
    struct thread *thread = member(0);

    if (!thread)
        return;
    // Files are closed after this: what that undoes was not asked for by the call in flight.
    thread->call = CALL_NONE;
    struct signal_struct *signal = GIVEN(task, signal);
    u32 process = thread->process;
    struct process_value *known = processes.lookup(&process);

    // Two last threads that end together both find that no other is alive.
    if (last < 0)
        last = GIVEN(signal, live.counter) <= 0 && !(known && known->exit_ns);
    if (!last)
        return;
    u64 now = bpf_ktime_get_ns();
#if SCOPE_PIDS
    u64 member_id = process;

    targets.delete(&member_id);
#endif
    bool group = GIVEN(signal, flags) & SIGNAL_GROUP_EXIT_FLAG;
    int status = group ? GIVEN(signal, group_exit_code) : GIVEN(task, exit_code);

    if (known) {
        known->exit_ns = now;
        known->exit_status = status;
    }
    tally(thread->target, process, 0, METRIC_EXIT, 0);
    struct event event = {.time_ns = now,
                          .process = process,
                          .type = EVENT_EXIT,
                          .target = thread->target,
                          .code = status};

    send_event(&event, false);
}

int on_sched_process_exit(u64 *ctx) {
#if ARGUMENTS_sched_process_exit >= 2
    follow_exit(ARG(ctx, 0, struct task_struct *), !!(ARG(ctx, 1, u64) & 0xff));
#else
    follow_exit(ARG(ctx, 0, struct task_struct *), -1);
#endif
    return 0;
}

int on_taskstats_exit(u64 *ctx) {
    follow_exit(ARG(ctx, 0, struct task_struct *), !!(u32)ARG(ctx, 1, u64));
    return 0;
}

#if !SCOPE_PIDS
int on_cgroup_attach_task(u64 *ctx) {
    struct task_struct *task = ARG(ctx, 2, struct task_struct *);
    // It has moved already. The cgroup that it has moved to may be of another hierarchy than ours,
    // with an id that is a target's in ours.
    u32 target = task_target(task);
    u32 tid = GIVEN(task, pid);

    if (!target) {
        u32 zero = 0;
        u32 yes = 1;

        if (threads.lookup(&tid))
            moved_out.update(&zero, &yes);
        return 0;
    }
    if (threads.lookup(&tid))
        return 0;
    u64 now = bpf_ktime_get_ns();
    bool running = GIVEN(task, on_cpu);

    enter_process(TYPED(task, task_struct), target, now, true);
    enter_thread(TYPED(task, task_struct), target, running ? now : 0, running ? 0 : now);
    return 0;
}
#endif

#endif

#if FAMILY_OOM

ALWAYS_INLINE void follow_kill(u32 process) {
    struct process_value *known = processes.lookup(&process);

    // The function is called for a victim that was marked already, too.
    if (!known || known->killed)
        return;
    known->killed = 1;
    struct event event = {.time_ns = bpf_ktime_get_ns(),
                          .process = process,
                          .type = EVENT_OOM_KILL,
                          .target = known->target};

    // Nothing else counts it, so that no storm of other events may take its place.
    put_event(&event);
}

int on_mark_victim(u64 *ctx) {
#if ARGUMENTS_mark_victim >= 2
    struct task_struct *task = ARG(ctx, 0, struct task_struct *);

    follow_kill(GIVEN(task, tgid));
#else
    // Before Linux 6.8 it is the number of a thread that uses the memory.
    u32 tid = ARG(ctx, 0, u64);
    struct thread *thread = threads.lookup(&tid);

    follow_kill(thread ? thread->process : tid);
#endif
    return 0;
}

int on_mark_oom_victim(u64 *ctx) {
    struct task_struct *task = ARG(ctx, 0, struct task_struct *);

    follow_kill(GIVEN(task, tgid));
    return 0;
}

#endif
