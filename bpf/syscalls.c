// File operations and TCP calls, timed from system call entry to exit.
//
// The number decides first, so that calls of no interest cost one array lookup. Duration is entry
// to exit; the part of it spent off the CPU is added up by sched.c in `call_wait_ns`.

#define ERROR_INTERRUPTED 4
#define ERROR_AGAIN 11
#define ERROR_ALREADY_CONNECTED 106
#define ERROR_IN_PROGRESS 115
#define ERROR_ALREADY 114
#define RESTART_FIRST 512
#define RESTART_LAST 516

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

// What a finished call adds: one count, at times another of the same label, at times an event.
struct outcome {
    struct count count;
    u8 also;  // metric of the other count
    u8 event;
    s32 code;
    u64 duration_ns;
};

ALWAYS_INLINE bool interrupted(s64 result) {
    return result == -ERROR_INTERRUPTED || (result <= -RESTART_FIRST && result >= -RESTART_LAST);
}

ALWAYS_INLINE u8 transfer_metric(struct thread *thread, bool sending) {
    switch (thread->file_kind) {
    case FILE_REGULAR:
        return sending ? METRIC_WRITE : METRIC_READ;
    case FILE_TCP:
        return sending ? METRIC_SEND : METRIC_RECEIVE;
    case FILE_PIPE:
        return METRIC_PIPE;
    case FILE_SOCKET:
        return METRIC_SOCKET;
    }
    return METRIC_TERMINAL;
}

ALWAYS_INLINE void fail(struct thread *thread, struct outcome *outcome, u8 metric, s64 result) {
    if (interrupted(result))
        return;
    outcome->count.wait_ns = thread->call_wait_ns;
    if (result == -ERROR_AGAIN) {
        outcome->count.metric = metric | ASPECT_AGAIN;
    } else {
        outcome->count.metric = metric | ASPECT_ERROR;
        outcome->count.slot = -result;
    }
}

ALWAYS_INLINE void finish_timed(struct thread *thread, struct outcome *outcome, u8 metric,
                                u64 bytes) {
    u64 ns = outcome->duration_ns;
    u64 wait_ns = thread->call_wait_ns < ns ? thread->call_wait_ns : ns;

    if (thread->file_kind == FILE_TCP)
        ns -= wait_ns;
    outcome->count.metric = metric;
    outcome->count.slot = slot_of(ns);
    outcome->count.ns = ns;
    outcome->count.bytes = bytes;
    outcome->count.wait_ns = wait_ns;
}

ALWAYS_INLINE void finish_file(struct thread *thread, struct outcome *outcome, u64 bytes) {
    u8 metric = outcome->count.metric;
    u64 ns = outcome->duration_ns;
    struct file_value *file = file_entry(thread);

    if (file && metric != METRIC_OPEN) {
        __sync_fetch_and_add(&file->operations, 1);
        __sync_fetch_and_add(&file->bytes, bytes);
        if (ns > file->max_ns)
            file->max_ns = ns;
    }
    if (ns >= SLOW_FILE_NS) {
        outcome->also = metric | ASPECT_SLOW;
        outcome->event = EVENT_SLOW_FILE;
    }
}

// A connect that failed without the handshake's state change: no route, no local port, bad address.
ALWAYS_INLINE void finish_connect(struct thread *thread, struct outcome *outcome, s64 result) {
    if (thread->file_kind != FILE_TCP || result >= 0 || result == -ERROR_IN_PROGRESS ||
        result == -ERROR_ALREADY || result == -ERROR_ALREADY_CONNECTED || interrupted(result))
        return;
    if (thread->connect_begun && !thread->connect_failed)
        return;
    outcome->count.label = peer_label(thread->peer_family, thread->peer_address, thread->peer_port);
    outcome->count.metric = METRIC_CONNECT | ASPECT_ERROR;
    outcome->count.slot = -result;
    outcome->code = -result;
    outcome->event = EVENT_CONNECT_FAILED;
    if (!thread->connect_begun)
        outcome->also = METRIC_CONNECT_ATTEMPT;
}

ALWAYS_INLINE void finish_accept(struct thread *thread, struct outcome *outcome, s64 result) {
    if (thread->file_kind != FILE_TCP || result < 0)
        return;
    outcome->count.metric = METRIC_ACCEPT;
#if FAMILY_TCP
    u64 sk = (u64)sock_of(file_of(result));
    struct socket_value *socket = sockets.lookup(&sk);

    if (socket)
        socket->process = thread->process;
    else if (sk)
        enter_socket((struct sock *)sk, socket_label((struct sock *)sk, true), thread->process,
                     thread->target, bpf_ktime_get_ns());
#endif
}

#define MESSAGES_READ 64
#define MESSAGE_BYTES 64   // sizeof(struct mmsghdr)
#define MESSAGE_LENGTH 56  // offsetof(struct mmsghdr, msg_len)

// Add up what sendmmsg() or recvmmsg() says that each message carried.
ALWAYS_INLINE u64 bytes_of_messages(struct thread *thread, s64 messages) {
    // Kept in the map, like the length of a path, where the verifier does not follow it.
    thread->message_bytes = 0;
#pragma nounroll
    for (int i = 0; i < MESSAGES_READ; i++) {
        u32 length = 0;

        if (i >= messages)
            break;
        read_user(&length, sizeof(length),
                  (void *)thread->vector + i * MESSAGE_BYTES + MESSAGE_LENGTH);
        thread->message_bytes += length;
    }
    return thread->message_bytes;
}

ALWAYS_INLINE bool is_sending(u8 call) {
    return call == CALL_WRITE || call == CALL_SEND || call == CALL_SEND_MANY;
}

ALWAYS_INLINE bool may_carry_dns(struct thread *thread, u8 call) {
    if (thread->file_kind != FILE_SOCKET && thread->file_kind != FILE_TCP)
        return false;
    return is_sending(call) || call == CALL_READ || call == CALL_RECEIVE ||
           call == CALL_RECEIVE_MANY;
}

ALWAYS_INLINE void finish_call(struct thread *thread, struct outcome *outcome, s64 result) {
    u64 bytes = 0;
    u8 metric;

    if (thread->call == CALL_CONNECT) {
        finish_connect(thread, outcome, result);
        return;
    }
    if (thread->call == CALL_ACCEPT) {
        finish_accept(thread, outcome, result);
        return;
    }
    if (thread->call == CALL_OPEN) {
        metric = METRIC_OPEN;
        if (result >= 0) {
            classify(thread, file_of(result));
            if (thread->file_kind != FILE_REGULAR)
                return;
        }
    } else if (thread->call == CALL_FSYNC) {
        metric = METRIC_FSYNC;
        if (thread->file_kind != FILE_REGULAR)
            return;
    } else {
        metric = transfer_metric(thread, is_sending(thread->call));
        bytes = result;
        if (thread->call == CALL_SEND_MANY || thread->call == CALL_RECEIVE_MANY)
            bytes = bytes_of_messages(thread, result);
    }
    if (result < 0) {
        fail(thread, outcome, metric, result);
        return;
    }
    // Through memory, so that the verifier goes on with any metric, not with each.
    thread->metric = metric;
    metric = *(volatile u8 *)&thread->metric;
    if (thread->file_kind == FILE_REGULAR || thread->file_kind == FILE_TCP) {
        finish_timed(thread, outcome, metric, bytes);
        if (thread->file_kind == FILE_REGULAR)
            finish_file(thread, outcome, bytes);
    } else {
        outcome->count.metric = metric;
        outcome->count.bytes = bytes;
    }
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
        go_on(ctx, is_sending(call) ? AFTER_SENT : AFTER_RECEIVED);
    }
#endif
    return 0;
}

#endif
