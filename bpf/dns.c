// DNS queries and answers on port 53, over UDP and TCP, from the packets of the target's cgroup.
//
// A query leaves in the asking process's own context; its answer arrives in a soft interrupt and is
// matched to it.

#if FAMILY_DNS

#define IPV6_HEADER_BYTES 40
#define UDP_HEADER_BYTES 8

// A segment of TCP may carry several messages: queries sent together (for both kinds of address),
// answers put together. Each more multiplies the verifier's work.
#define QUERIES_MOST 2
#define ANSWERS_MOST 4

// Parse the headers up to the first message; false: not to or from a DNS server.
ALWAYS_INLINE bool parse_packet(struct __sk_buff *skb, struct dns_data *packet, bool outbound) {
    u8 head;
    u16 ports[2];
    u8 protocol;
    u32 offset;

    if (bpf_skb_load_bytes(skb, 0, &head, 1))
        return false;
    packet->length = skb->len;
    if (head >> 4 == 4) {
        u32 address;

        offset = (head & 15) * 4;
        if (bpf_skb_load_bytes(skb, 9, &protocol, 1) ||
            bpf_skb_load_bytes(skb, outbound ? 16 : 12, &address, 4))
            return false;
        packet->server = address;
    } else if (head >> 4 == 6) {
        u64 address[2];

        offset = IPV6_HEADER_BYTES;
        if (bpf_skb_load_bytes(skb, 6, &protocol, 1) ||
            bpf_skb_load_bytes(skb, outbound ? 24 : 8, address, 16))
            return false;
        packet->server = mix(address[0], address[1]);
    } else {
        return false;
    }
    if (protocol != PROTOCOL_UDP && protocol != PROTOCOL_TCP)
        return false;
    if (bpf_skb_load_bytes(skb, offset, ports, 4))
        return false;
    if (ports[outbound ? 1 : 0] != bpf_htons(DNS_PORT))
        return false;
    packet->tcp = protocol == PROTOCOL_TCP;
    if (!packet->tcp) {
        packet->next = offset + UDP_HEADER_BYTES;
        return true;
    }
    if (bpf_skb_load_bytes(skb, offset + 12, &head, 1))
        return false;
    packet->next = offset + (head >> 4) * 4;
    return true;
}

#if !SCOPE_PIDS
ALWAYS_INLINE u32 packet_target(struct __sk_buff *skb) {
    return FIRST_TARGET(bpf_skb_ancestor_cgroup_id(skb, level));
}
#endif

// The process that sends a packet, in its own context; of a connection, its owner.
ALWAYS_INLINE bool find_sender(struct __sk_buff *skb, bool tcp, struct dns_value *query) {
#if FAMILY_TCP
    if (tcp) {
        // Segments leave in soft interrupts too, on top of any task.
        u64 sk = (u64)skb->sk;
        struct socket_value *socket = sockets.lookup(&sk);

        if (socket) {
            query->process = socket->process;
            query->target = socket->target;
            return true;
        }
    }
#endif
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    u32 tid = 0;

    read_kernel(&tid, sizeof(tid), &task->pid);
    struct thread *thread = threads.lookup(&tid);

    if (thread) {
        query->process = thread->process;
        query->target = thread->target;
        return true;
    }
#if SCOPE_PIDS
    return false;
#else
    query->target = packet_target(skb);
    if (query->target)
        count_lost(LOST_UNKNOWN_OWNER);
    return query->target;
#endif
}

int on_packet_out(struct __sk_buff *skb) {
    struct dns_data packet = {.from = skb};
    struct dns_value query = {};

    // A question is noted only once its answer counts too.
    if (!parse_packet(skb, &packet, true) || !moment(WINDOW_START))
        return 1;
    if (packet.next + DNS_HEADER_BYTES > packet.length || !find_sender(skb, packet.tcp, &query))
        return 1;
    query.start_ns = bpf_ktime_get_ns();
    packet.socket = bpf_get_socket_cookie(skb);
#pragma nounroll
    for (int i = 0; i < QUERIES_MOST; i++) {
        if (!next_message(&packet))
            break;
        if (!(packet.flags & DNS_ANSWER_BIT))
            note_query(&packet, &query);
    }
    return 1;
}

int on_packet_in(struct __sk_buff *skb) {
    struct dns_data packet = {.from = skb};

    if (!parse_packet(skb, &packet, false))
        return 1;
    packet.socket = bpf_get_socket_cookie(skb);
#pragma nounroll
    for (int i = 0; i < ANSWERS_MOST; i++) {
        if (!next_message(&packet))
            break;
        if (packet.flags & DNS_ANSWER_BIT)
            note_answer(&packet);
    }
    return 1;
}

#endif
