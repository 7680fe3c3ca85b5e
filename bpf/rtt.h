// Round-trip times from the kernel's own samples, and what an event tells of a connection.

#if FAMILY_TCP

ALWAYS_INLINE void describe(struct event *event, struct socket_value *socket, u8 type, u64 now) {
    event->time_ns = now;
    event->label = socket->label;
    event->process = socket->process;
    event->target = socket->target;
    event->type = type;
}

// Take the kernel's newest round-trip sample, once.
ALWAYS_INLINE void sample_rtt(struct sock *sk, struct socket_value *socket) {
    struct tcp_sock *tcp = TYPED(sk, tcp_sock);
    u64 mstamp = LOAD(tcp, rack.mstamp);

    if (mstamp == socket->rack_mstamp)
        return;
    socket->rack_mstamp = mstamp;
    // An answer to something sent again may belong to either copy (Karn's algorithm).
    if (!mstamp || mstamp <= socket->retransmit_mstamp)
        return;
    u64 ns = (u64)LOAD(tcp, rack.rtt_us) * 1000;
    u64 least_ns = (u64)LOAD(tcp, rtt_min.s[0].v) * 1000;
    bool spike = ns >= RTT_SPIKE_NS && ns >= 3 * least_ns;
    struct count count = {.label = socket->label,
                          .ns = ns,
                          .process = socket->process,
                          .slot = slot_of(ns),
                          .metric = METRIC_RTT,
                          .target = socket->target};

#pragma nounroll
    for (int i = 0; i < 2; i++) {
        add_count(&count);
        if (!spike)
            return;
        count.metric = METRIC_RTT_SPIKE;
        count.slot = 0;
    }
    struct event event = {.duration_ns = ns};

    describe(&event, socket, EVENT_RTT_SPIKE, bpf_ktime_get_ns());
    send_event(&event, false);
}

#endif
