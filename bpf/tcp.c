// TCP connections from the state machine, and what happens to them while they are open.
//
// Soft interrupts run on top of any task, so everything here is attributed by the socket's entry in
// `sockets`, never by the running task; the one exception is the start of a connect, which runs in
// the caller's own context.

#if FAMILY_TCP

// The number of what made a connect fail, 0 where connect() itself will tell.
ALWAYS_INLINE u32 connect_error(struct sock *sk) {
    u32 error = LOAD(TYPED(sk, sock), sk_err);

    if (error)
        return error;
    // Closed by the process itself: connect() fails for a reason of its own, which its return value
    // tells, or else the application gave up.
    u32 tid = bpf_get_current_pid_tgid();
    struct thread *thread = threads.lookup(&tid);

    if (thread && thread->call == CALL_CONNECT && thread->object == (u64)sk &&
        thread->connect_begun == BEGUN_NOW) {
        thread->connect_failed = 1;
        return 0;
    }
    return GIVEN_UP;
}

// Enter a connecting socket, or a passively opened one; whose it is, is known for the former only.
ALWAYS_INLINE struct socket_value *new_socket(struct sock *sk, bool connecting, bool accepted,
                                              u64 now) {
    struct socket_value value = {};
    u64 key = (u64)sk;

    if (connecting) {
        struct thread *thread = member(now);

        if (!thread)
            return 0;
        thread->connect_begun = BEGUN_NOW;
        value.process = thread->process;
        value.target = thread->target;
        value.start_ns = now;
    } else {
        value.target = socket_target(sk);
        if (!value.target)
            return 0;
        value.established = 1;
        value.established_ns = now;
        value.rack_mstamp = LOAD(TYPED(sk, tcp_sock), rack.mstamp);
    }
    value.label = socket_label(sk, accepted);
    // A connect that found no room was counted when it began.
    if (sockets.update(&key, &value) && (connecting || accepted))
        count_lost(LOST_SOCKETS_FULL);
    return sockets.lookup(&key);
}

ALWAYS_INLINE void change_state(struct sock *sk, u32 before, u32 after) {
    u64 key = (u64)sk;

    struct socket_value *socket = sockets.lookup(&key);
    bool connecting = after == STATE_SYN_SENT;
    // Passively opened, or opened by a connect that began before the trace.
    bool unknown = !socket && after == STATE_ESTABLISHED;

    if (!socket && !connecting && !unknown)
        return;
    u64 now = bpf_ktime_get_ns();

    if (connecting || (unknown && !SCOPE_PIDS))
        socket = new_socket(sk, connecting, before == STATE_SYN_RECEIVED, now);
    if (!socket || unknown)
        return;
    struct count count = {
        .label = socket->label, .process = socket->process, .target = socket->target};
    struct event event = {};
    // A connect passes through SYN_RECEIVED when both sides call each other at once.
    bool opening = socket->start_ns && !socket->established && !connecting;

    if (connecting) {
        count.metric = METRIC_CONNECT_ATTEMPT;
    } else if (opening && after == STATE_ESTABLISHED) {
        socket->established = 1;
        socket->established_ns = now;
        count.metric = METRIC_CONNECT;
        count.ns = now - socket->start_ns;
        event.type = EVENT_CONNECT;
    } else if (opening && after == STATE_CLOSE) {
        event.code = connect_error(sk);
        if (event.code) {
            count.metric = METRIC_CONNECT | ASPECT_ERROR;
            count.slot = event.code;
            event.type = EVENT_CONNECT_FAILED;
        }
    } else if (after == STATE_CLOSE && socket->established_ns) {
        count.metric = METRIC_CONNECTION;
        count.ns = now - socket->established_ns;
    }
    if (count.metric) {
        if (count.ns)
            count.slot = slot_of(count.ns);
        add_count(&count);
    }
    if (event.type) {
        event.duration_ns = now - socket->start_ns;
        describe(&event, socket, event.type, now);
        send_event(&event, event.type == EVENT_CONNECT);
    }
    if (socket->established)
        sample_rtt(sk, socket);
    if (after == STATE_CLOSE)
        sockets.delete(&key);
}

// A soft interrupt may come while a process's own state change is looked at, and bring another one.
// The kernel runs no program within itself: on_state_within_state is there to do the same then.
ALWAYS_INLINE void change_state_alone(struct sock *sk, u32 before, u32 after) {
    u32 zero = 0;
    volatile u32 *changing = state_changing.lookup(&zero);

    if (!changing)
        return;
    *changing = 1;
    change_state(sk, before, after);
    *changing = 0;
}

int on_inet_sock_set_state(u64 *ctx) {
    struct sock *sk = ARG(ctx, 0, struct sock *);

    if (GIVEN(sk, sk_protocol) == PROTOCOL_TCP)
        change_state_alone(sk, ARG(ctx, 1, u64), ARG(ctx, 2, u64));
    return 0;
}

int on_tcp_set_state(u64 *ctx) {
    struct sock *sk = ARG(ctx, 0, struct sock *);

    change_state_alone(sk, GIVEN(sk, __sk_common.skc_state), ARG(ctx, 1, u64));
    return 0;
}

#if FAMILY_WITHIN

int on_state_within_state(u64 *ctx) {
    struct sock *sk = ARG(ctx, 0, struct sock *);
    u32 zero = 0;
    u32 *changing = state_changing.lookup(&zero);

    if (!changing || !*changing || GIVEN(sk, sk_protocol) != PROTOCOL_TCP)
        return 0;
    count_lost(LOST_TAKEN_OVER);
    change_state(sk, ARG(ctx, 1, u64), ARG(ctx, 2, u64));
    return 0;
}

#endif

int on_tcp_destroy_sock(u64 *ctx) {
    struct sock *sk = ARG(ctx, 0, struct sock *);
    u64 key = (u64)sk;

    sockets.delete(&key);
    return 0;
}

#endif

#if FAMILY_RTT

int on_tcp_probe(u64 *ctx) {
    struct sock *sk = ARG(ctx, 0, struct sock *);
    u64 key = (u64)sk;
    struct socket_value *socket = sockets.lookup(&key);

    if (socket && socket->established)
        sample_rtt(sk, socket);
    return 0;
}

int on_tcp_rcv_space_adjust(u64 *ctx) {
    struct sock *sk = ARG(ctx, 0, struct sock *);
    u64 key = (u64)sk;
    struct socket_value *socket = sockets.lookup(&key);

    if (!socket)
        return 0;
    if (!socket->process) {
        u32 tid = bpf_get_current_pid_tgid();
        struct thread *thread = threads.lookup(&tid);

        if (thread && thread->target == socket->target)
            socket->process = thread->process;
    }
    sample_rtt(sk, socket);
    return 0;
}

#endif

#if FAMILY_RETRANSMIT || FAMILY_RESET

// Count something that happened to a connection and send its event.
ALWAYS_INLINE void count_trouble(struct socket_value *socket, u8 metric, u8 type) {
    struct event event = {};

    tally(socket->target, socket->process, socket->label, metric, 0);
    describe(&event, socket, type, bpf_ktime_get_ns());
    send_event(&event, false);
}

#endif

#if FAMILY_RETRANSMIT

// A segment was sent again.
ALWAYS_INLINE void follow_retransmit(struct sock *sk) {
    u64 key = (u64)sk;
    struct socket_value *socket = sockets.lookup(&key);

    if (!socket)
        return;
    struct tcp_sock *tcp = TYPED(sk, tcp_sock);
    // A paced segment carries the time at which it will leave.
    u64 paced_us = LOAD(tcp, tcp_wstamp_ns) / 1000;

    socket->retransmit_mstamp = LOAD(tcp, tcp_mstamp);
    if (socket->retransmit_mstamp < paced_us)
        socket->retransmit_mstamp = paced_us;
    count_trouble(socket, METRIC_RETRANSMIT, EVENT_RETRANSMIT);
}

int on_tcp_retransmit_skb(u64 *ctx) {
#if ARGUMENTS_tcp_retransmit_skb >= 3
    if ((s32)ARG(ctx, 2, u64) != 0)
        return 0;
#endif
    follow_retransmit(ARG(ctx, 0, struct sock *));
    return 0;
}

// At its return: behind the three arguments is the result.
int on_tcp_retransmitted(u64 *ctx) {
    if ((s32)ARG(ctx, 3, u64) == 0)
        follow_retransmit(ARG(ctx, 0, struct sock *));
    return 0;
}

#endif

#if FAMILY_RESET

int on_tcp_receive_reset(u64 *ctx) {
    struct sock *sk = ARG(ctx, 0, struct sock *);
    u64 key = (u64)sk;
    struct socket_value *socket = sockets.lookup(&key);

    // A reset in answer to a SYN is a refused connect, counted there.
    if (socket && socket->established)
        count_trouble(socket, METRIC_RESET, EVENT_RESET);
    return 0;
}

#endif
