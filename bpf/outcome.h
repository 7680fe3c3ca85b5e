// From a finished call to what is counted of it, and whether it is worth an event.

#define ERROR_INTERRUPTED 4
#define ERROR_AGAIN 11
#define ERROR_ALREADY_CONNECTED 106
#define ERROR_IN_PROGRESS 115
#define ERROR_ALREADY 114
#define RESTART_FIRST 512
#define RESTART_LAST 516

#if FAMILY_CALLS

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

#endif
