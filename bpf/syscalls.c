// File operations and TCP calls, timed from system call entry to exit.
//
// The number decides first, so that calls of no interest cost one array lookup. Duration is entry
// to exit; the part of it spent off the CPU is added up by sched.c in `call_wait_ns`.

#if FAMILY_CALLS

#define SOCKET_CONNECTING 2

// Take the peer of connect() from the caller's memory: the socket has it only once it is accepted.
ALWAYS_INLINE void note_peer(struct thread *thread, struct file *file, void *address) {
    struct socket *socket = TYPED(LOAD(TYPED(file, file), private_data), socket);
    u16 head[2] = {};
    u32 words[4] = {};

    // A second call on a socket that is connecting asks for the outcome of the first.
    thread->connect_begun = LOAD(socket, state) == SOCKET_CONNECTING ? BEGUN_EARLIER : BEGUN_NOT;
    thread->connect_failed = 0;
    thread->peer_family = 0;
    if (read_user(head, sizeof(head), address))
        return;
    thread->peer_port = bpf_ntohs(head[1]);
    if (head[0] == INTERNET) {
        thread->peer_family = 4;
        read_user(words, 4, address + 4);
    } else if (head[0] == INTERNET6) {
        thread->peer_family = 6;
        read_user(words, 16, address + 8);
        if (!words[0] && !words[1] && words[2] == bpf_htonl(0xffff)) {
            thread->peer_family = 4;
            words[0] = words[3];
            words[2] = 0;
            words[3] = 0;
        }
    }
    __builtin_memcpy(thread->peer_address, words, sizeof(words));
}

int on_sys_enter(u64 *ctx) {
    u32 number = ARG(ctx, 1, u64);
    u8 *kind = syscall_kinds.lookup(&number);

    if (!kind || *kind == CALL_NONE || *kind > CALL_LAST_TIMED)
        return 0;
    struct thread *thread = member(0);

    if (!thread)
        return 0;
    if (is_compat(current_task())) {
        count_lost(LOST_COMPAT_CALLS);
        return 0;
    }
    struct pt_regs *registers = ARG(ctx, 0, struct pt_regs *);

    if (*kind == CALL_OPEN) {
        thread->file_kind = FILE_OTHER;
    } else {
        struct file *file = file_of(GIVEN(registers, SYSCALL_ARGUMENT_0));

        classify(thread, file);
        if (thread->file_kind == FILE_OTHER)
            return 0;
        thread->vector = GIVEN(registers, SYSCALL_ARGUMENT_1);
        if (*kind == CALL_CONNECT && thread->file_kind == FILE_TCP)
            note_peer(thread, file, (void *)thread->vector);
    }
    thread->call_start_ns = bpf_ktime_get_ns();
#if FAMILY_CPU
    // The wait that ended unseen was not of this call.
    if (thread->off_cpu_ns)
        notice_running(thread, thread->ready_ns ? 0 : thread->call_start_ns);
#endif
    thread->call = *kind;
    thread->call_wait_ns = 0;
    return 0;
}

ALWAYS_INLINE bool may_carry_dns(struct thread *thread, u8 call) {
    if (thread->file_kind != FILE_SOCKET && thread->file_kind != FILE_TCP)
        return false;
    return is_sending(call) || call == CALL_READ || call == CALL_RECEIVE ||
           call == CALL_RECEIVE_MANY;
}

int on_sys_exit(u64 *ctx) {
    u32 tid = bpf_get_current_pid_tgid();

    if (!may_be_member(current_task()))
        return 0;
    struct thread *thread = threads.lookup(&tid);

    if (!thread)
        return 0;
    struct pt_regs *registers = ARG(ctx, 0, struct pt_regs *);
    u32 number = GIVEN(registers, SYSCALL_NUMBER);
    u8 *kind = syscall_kinds.lookup(&number);

    if (!thread->call) {
        // A server may wait in accept() since before the trace began: the result alone tells.
        if (!kind || *kind != CALL_ACCEPT || is_compat(current_task()))
            return 0;
        classify(thread, file_of(ARG(ctx, 1, s64)));
        thread->call = CALL_ACCEPT;
    }
    if (!kind || *kind != thread->call) {
        // The return of the call that was noted was not seen: this is another one's.
        thread->call = CALL_NONE;
        return 0;
    }
    u64 now = bpf_ktime_get_ns();

#if FAMILY_CPU
    if (thread->off_cpu_ns)
        notice_running(thread, thread->ready_ns ? 0 : now);
#endif
    struct outcome outcome = {
        .count = {.process = thread->process, .target = thread->target},
        .duration_ns = now - thread->call_start_ns,
    };

    u64 bytes = 0;

    finish_call(thread, &outcome, ARG(ctx, 1, s64));
#pragma nounroll
    while (outcome.count.metric) {
        add_count(&outcome.count);
        if (outcome.count.bytes)
            bytes = outcome.count.bytes;
        // What else is counted has nothing but its number.
        outcome.count = (struct count){.label = outcome.count.label,
                                       .process = outcome.count.process,
                                       .metric = outcome.also,
                                       .target = outcome.count.target};
        outcome.also = 0;
    }
    if (outcome.event) {
        struct event event = {.time_ns = now,
                              .duration_ns = outcome.duration_ns,
                              .label = outcome.count.label,
                              .bytes = bytes,
                              .file = thread->file,
                              .process = thread->process,
                              .code = outcome.code,
                              .type = outcome.event,
                              .target = thread->target,
                              .call = thread->call};

        send_event(&event, false);
    }
    u8 call = thread->call;

    thread->call = CALL_NONE;
#if FAMILY_DNS
    if (ARG(ctx, 1, s64) > 0 && may_carry_dns(thread, call)) {
        thread->dns_left = ARG(ctx, 1, s64);
        thread->dns_offset = 0;
        thread->dns_part = 0;
        thread->dns_messages = 0;
        thread->dns_runs = 0;
        go_on(ctx, is_sending(call) ? AFTER_SENT : AFTER_RECEIVED);
    }
#endif
    return 0;
}

#endif
