// CPU time, run-queue time, and blocked time by reason.
//
// CPU time is the kernel's own, read at each context switch, so it is exact; intervals still open
// at the edges of the window are closed by podtracer, which reads `threads`.

#define TASK_DEAD_BITS 0x80
#define TASK_UNINTERRUPTIBLE_BIT 0x2

#if FAMILY_CPU

ALWAYS_INLINE u8 reason_of_call(u8 call) {
    switch (call) {
    case CALL_SEND:
    case CALL_RECEIVE:
    case CALL_CONNECT:
    case CALL_ACCEPT:
    case CALL_NETWORK:
        return REASON_NETWORK;
    case CALL_LOCK:
        return REASON_LOCK;
    case CALL_SLEEP:
        return REASON_SLEEP;
    case CALL_POLL:
        return REASON_POLL;
    case CALL_FSYNC:
    case CALL_DISK:
        return REASON_DISK;
    }
    return REASON_OTHER;
}

ALWAYS_INLINE bool waits_for_disk(struct task_struct *task) {
#if ARGUMENTS_TYPED
    return task->in_iowait;
#else
    u8 bits = 0;

    read_kernel(&bits, sizeof(bits), (void *)task + IN_IOWAIT_BYTE);
    return bits & IN_IOWAIT_MASK;
#endif
}

// The number of the system call that the running task is in.
ALWAYS_INLINE u32 current_call(void) {
#if HAVE_TASK_REGISTERS
    return OWN(task_registers(current_task()), SYSCALL_NUMBER);
#elif HAVE_task_struct__stack
    // Where every system call begins to use the task's kernel stack.
    void *end = OWN(current_task(), stack) + KERNEL_STACK_BYTES;

    return LOAD((struct pt_regs *)(end - sizeof(struct pt_regs)), SYSCALL_NUMBER);
#else
    return ~0U;
#endif
}

// What the running task, about to leave the CPU, is going to wait for.
ALWAYS_INLINE u8 block_reason(struct task_struct *task, struct thread *thread, u32 state) {
    if (waits_for_disk(task))
        return REASON_DISK;
    if (thread->call) {
        if (thread->file_kind == FILE_SOCKET || thread->file_kind == FILE_TCP)
            return REASON_NETWORK;
        if (thread->file_kind == FILE_REGULAR && (state & TASK_UNINTERRUPTIBLE_BIT))
            return REASON_DISK;
        return reason_of_call(thread->call);
    }
    if (is_compat(task))
        return REASON_OTHER;
    u32 number = current_call();
    u8 *kind = syscall_kinds.lookup(&number);

    return kind ? reason_of_call(*kind) : REASON_OTHER;
}

ALWAYS_INLINE void report_long_block(struct thread *thread, u64 now, u64 blocked_ns) {
    struct event event = {.time_ns = now,
                          .duration_ns = blocked_ns,
                          .process = thread->process,
                          .type = EVENT_LONG_BLOCK,
                          .target = thread->target,
                          .reason = thread->reason};

    if (thread->call && thread->file_kind == FILE_REGULAR) {
        event.call = thread->call;
        event.file = thread->file;
    }
    send_event(&event, false);
}

// A wait that began before the window counts from its start, one that ended before it not at all.
ALWAYS_INLINE u64 within_window(u64 ns) {
    u64 start = moment(WINDOW_START);

    if (!ns || !start)
        return 0;
    return ns < start ? start : ns;
}

ALWAYS_INLINE void reach_cpu(struct thread *thread, u64 now) {
    u64 left = thread->off_cpu_ns;
    u64 off = within_window(left);

    thread->on_cpu_ns = now;
    thread->off_cpu_ns = 0;
    if (off) {
        u64 ready = thread->ready_ns ? within_window(thread->ready_ns) : now;

        if (thread->reason) {
            u64 blocked_ns = ready - off;

            record(thread->target, thread->process, thread->reason, METRIC_BLOCKED, blocked_ns);
            if (thread->reason == REASON_DISK && blocked_ns >= LONG_BLOCK_NS)
                report_long_block(thread, now, blocked_ns);
        }
        if (thread->ready_ns)
            record(thread->target, thread->process, 0, METRIC_RUN_QUEUE, now - ready);
    }
    // A call is measured as a whole, whenever it began.
    if (left && thread->call)
        thread->call_wait_ns += now - left;
    thread->ready_ns = 0;
    thread->reason = 0;
}

// A switch to this thread was not seen: the tracepoint leaves some out. It is running now.
ALWAYS_INLINE void notice_running(struct thread *thread, u64 since) {
    if (since < thread->off_cpu_ns)
        since = thread->off_cpu_ns;
    if (since < thread->ready_ns)
        since = thread->ready_ns;
    reach_cpu(thread, since);
}

ALWAYS_INLINE void leave_cpu(struct task_struct *task, struct thread *thread, u64 now,
                             bool preempted, u32 state) {
    // The kernel's own sum: it does not depend on having seen every switch.
    u64 executed_ns = GIVEN(task, se.sum_exec_runtime);
    u64 ran_ns = executed_ns - thread->executed_ns;

    thread->executed_ns = executed_ns;
    if (thread->off_cpu_ns)
        notice_running(thread, now - ran_ns);
    if (ran_ns)
        tally(thread->target, thread->process, 0, METRIC_CPU, ran_ns);
    thread->on_cpu_ns = 0;
    thread->off_cpu_ns = now;
    if (preempted || state == 0) {
        thread->ready_ns = now;
        thread->reason = 0;
    } else {
        thread->ready_ns = 0;
        thread->reason = block_reason(task, thread, state);
    }
}

// Whether a process was ever moved out of a target, so that threads may have stale entries.
ALWAYS_INLINE bool members_left(void) {
    u32 zero = 0;
    u32 *left = moved_out.lookup(&zero);

    return left && *left;
}

int on_sched_switch(u64 *ctx) {
    bool preempted = ARG(ctx, 0, u64);
    struct task_struct *prev = ARG(ctx, 1, struct task_struct *);
    struct task_struct *next = ARG(ctx, 2, struct task_struct *);
#if ARGUMENTS_sched_switch >= 4
    u32 state = ARG(ctx, 3, u64);
#elif HAVE_task_struct____state
    u32 state = GIVEN(prev, __state);
#else
    u32 state = GIVEN(prev, state);
#endif
    u64 now = 0;
    u32 tid = GIVEN(prev, pid);

    if (tid) {
        struct thread *leaving = 0;
#if SCOPE_PIDS
        leaving = threads.lookup(&tid);
#else
        u32 target = current_target();

        if (target) {
            leaving = threads.lookup(&tid);
            if (!leaving) {
                now = bpf_ktime_get_ns();
                enter_process(TYPED(prev, task_struct), target, now, true);
                leaving = enter_thread(TYPED(prev, task_struct), target, now, 0);
            }
        } else if (members_left()) {
            threads.delete(&tid);
        }
#endif
        if (leaving) {
            if (!now)
                now = bpf_ktime_get_ns();
            leave_cpu(prev, leaving, now, preempted, state);
            if (!preempted && (state & TASK_DEAD_BITS))
                threads.delete(&tid);
        }
    }
    tid = GIVEN(next, pid);
    if (tid && may_be_member(next)) {
        struct thread *reaching = threads.lookup(&tid);

        if (reaching)
            reach_cpu(reaching, now ? now : bpf_ktime_get_ns());
    }
    return 0;
}

ALWAYS_INLINE void make_ready(struct task_struct *task) {
    u32 tid = GIVEN(task, pid);

    if (!may_be_member(task))
        return;
    struct thread *thread = threads.lookup(&tid);

    if (thread && thread->off_cpu_ns && !thread->ready_ns)
        thread->ready_ns = bpf_ktime_get_ns();
}

int on_sched_wakeup(u64 *ctx) {
    make_ready(ARG(ctx, 0, struct task_struct *));
    return 0;
}

int on_sched_wakeup_new(u64 *ctx) {
    make_ready(ARG(ctx, 0, struct task_struct *));
    return 0;
}

#endif
