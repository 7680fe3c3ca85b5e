// DNS queries and answers on port 53, over UDP and TCP, from the packets of the target's cgroup.
//
// A query is known by (socket, id) and is measured from its first packet. It leaves in the asking
// process's own context; its answer arrives in a soft interrupt and is matched to it. What is not
// answered in five seconds podtracer takes out of `dns_pending` and counts as a timeout.

#if FAMILY_DNS

#define DNS_PORT 53
#define PROTOCOL_UDP 17
#define IPV6_HEADER_BYTES 40
#define UDP_HEADER_BYTES 8
#define DNS_HEADER_BYTES 12
#define DNS_ANSWER_BIT 0x80
#define NAME_BYTES_MOST (8 * LABEL_WORDS)
// A resolver that asks several servers at once sends its copies within this time: not a retry.
#define PARALLEL_NS 10000000

struct dns_packet {
    u64 server;  // its address, mixed
    u32 offset;  // of the DNS header
    u32 length;  // of the packet
    u16 source_port;
    u16 destination_port;
    u16 id;
    u8 flags;
    u8 rcode;
};

// Parse the headers up to the DNS header; false: not a DNS message, or not its first packet.
ALWAYS_INLINE bool parse_packet(struct __sk_buff *skb, struct dns_packet *packet, bool outbound) {
    u8 head[4];
    u16 ports[2];
    u16 dns[3];
    u8 protocol;
    u32 offset;

    if (bpf_skb_load_bytes(skb, 0, head, 1))
        return false;
    packet->length = skb->len;
    if (head[0] >> 4 == 4) {
        u32 address;

        offset = (head[0] & 15) * 4;
        if (bpf_skb_load_bytes(skb, 9, &protocol, 1) ||
            bpf_skb_load_bytes(skb, outbound ? 16 : 12, &address, 4))
            return false;
        packet->server = address;
    } else if (head[0] >> 4 == 6) {
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
    packet->source_port = bpf_ntohs(ports[0]);
    packet->destination_port = bpf_ntohs(ports[1]);
    if ((outbound ? packet->destination_port : packet->source_port) != DNS_PORT)
        return false;
    if (protocol == PROTOCOL_UDP) {
        offset += UDP_HEADER_BYTES;
    } else {
        u16 prefix;

        if (bpf_skb_load_bytes(skb, offset + 12, head, 1))
            return false;
        offset += (head[0] >> 4) * 4;
        if (offset + DNS_HEADER_BYTES > packet->length)
            return false;
        // The message's length stands before it, or was sent in a segment of its own.
        if (bpf_skb_load_bytes(skb, offset, &prefix, 2))
            return false;
        if ((u32)bpf_ntohs(prefix) + 2 >= packet->length - offset)
            offset += 2;
    }
    packet->offset = offset;
    if (bpf_skb_load_bytes(skb, offset, dns, 6))
        return false;
    packet->id = dns[0];
    packet->flags = dns[1] & 0xff;
    packet->rcode = dns[1] >> 8 & 15;
    // One question: what every resolver sends.
    return dns[2] == bpf_htons(1);
}

// Lower the case of eight bytes at once; a label's length byte is below 'A' and stays.
ALWAYS_INLINE u64 lower_case(u64 word) {
    u64 low = word & 0x7f7f7f7f7f7f7f7fULL;
    u64 from_a = low + 0x3f3f3f3f3f3f3f3fULL;
    u64 above_z = low + 0x2525252525252525ULL;
    u64 upper = from_a & ~above_z & ~word & 0x8080808080808080ULL;

    return word | upper >> 2;
}

ALWAYS_INLINE u64 name_label(struct __sk_buff *skb, struct dns_packet *packet) {
    struct label_value value = {.kind = LABEL_DNS_NAME};
    u32 offset = packet->offset + DNS_HEADER_BYTES;
    // Behind the name stand type and class, and mostly an OPT record: the zero length ends it.
    u32 room = packet->length - offset;
    u8 *bytes = (u8 *)value.data;
    u32 position = 0;
    bool ended = false;

    if (packet->length <= offset)
        return OVERFLOW_LABEL;
#pragma nounroll
    for (int i = 0; i < 64; i++) {
        u8 length;

        if (position >= room || bpf_skb_load_bytes(skb, offset + position, &length, 1))
            break;
        if (!length || length > 63) {
            ended = true;
            break;
        }
        position += length + 1;
        if (position >= NAME_BYTES_MOST)
            break;
    }
    if (position > NAME_BYTES_MOST || !ended) {
        value.cut = 1;
        position = position < room ? position : room;
        if (position > NAME_BYTES_MOST)
            position = NAME_BYTES_MOST;
    }
    value.bytes = position;
    if (position > 0) {
        // In the form whose bounds the verifier sees: 1 to NAME_BYTES_MOST.
        u32 last = position - 1;

        asm volatile("%0 &= %1" : "+r"(last) : "i"(NAME_BYTES_MOST - 1));
        bpf_skb_load_bytes(skb, offset, bytes, last + 1);
    }
#pragma nounroll
    for (int i = 0; i < LABEL_WORDS; i++)
        value.data[i] = lower_case(value.data[i]);
    return intern(&value);
}

ALWAYS_INLINE void send_dns_event(struct dns_value *query, u64 now, u8 rcode) {
    struct event event = {.time_ns = now,
                          .duration_ns = now - query->start_ns,
                          .label = query->label,
                          .process = query->process,
                          .code = rcode,
                          .type = rcode ? EVENT_DNS_ERROR : EVENT_DNS,
                          .target = query->target};

    send_event(&event, !rcode);
}

#if !SCOPE_PIDS
ALWAYS_INLINE u32 packet_target(struct __sk_buff *skb) {
    u32 target = 0;

#if SCOPE_LEVEL_0 >= 0
    target = target_of_id(bpf_skb_ancestor_cgroup_id(skb, SCOPE_LEVEL_0));
#endif
#if SCOPE_LEVEL_1 >= 0
    if (!target)
        target = target_of_id(bpf_skb_ancestor_cgroup_id(skb, SCOPE_LEVEL_1));
#endif
#if SCOPE_LEVEL_2 >= 0
    if (!target)
        target = target_of_id(bpf_skb_ancestor_cgroup_id(skb, SCOPE_LEVEL_2));
#endif
#if SCOPE_LEVEL_3 >= 0
    if (!target)
        target = target_of_id(bpf_skb_ancestor_cgroup_id(skb, SCOPE_LEVEL_3));
#endif
    return target;
}
#endif

int on_packet_out(struct __sk_buff *skb) {
    struct dns_packet packet = {};

    if (!parse_packet(skb, &packet, true) || packet.flags & DNS_ANSWER_BIT)
        return 1;
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    u32 tid = 0;

    read_kernel(&tid, sizeof(tid), &task->pid);
    struct thread *thread = threads.lookup(&tid);
    struct dns_value query = {.start_ns = bpf_ktime_get_ns(), .server = packet.server};

    if (thread) {
        query.process = thread->process;
        query.target = thread->target;
    } else {
#if SCOPE_PIDS
        return 1;
#else
        query.target = packet_target(skb);
        if (!query.target)
            return 1;
        count_lost(LOST_UNKNOWN_OWNER);
#endif
    }
    struct dns_key key = {.cookie = bpf_get_socket_cookie(skb), .id = packet.id};

    query.label = name_label(skb, &packet);
    struct dns_value *known = dns_pending.lookup(&key);

    u8 metric = METRIC_DNS_QUERY;

    if (known && known->label == query.label) {
        if (known->server != query.server && query.start_ns - known->start_ns <= PARALLEL_NS)
            return 1;
        metric = METRIC_DNS_RETRY;
    } else if (dns_pending.update(&key, &query)) {
        count_lost(LOST_DNS_FULL);
    }
    tally(query.target, query.process, query.label, metric, 0);
    return 1;
}

int on_packet_in(struct __sk_buff *skb) {
    struct dns_packet packet = {};

    if (!parse_packet(skb, &packet, false) || !(packet.flags & DNS_ANSWER_BIT))
        return 1;
    struct dns_key key = {.cookie = bpf_get_socket_cookie(skb), .id = packet.id};
    struct dns_value *known = dns_pending.lookup(&key);

    if (!known)
        return 1;
    struct dns_value query = *known;

    // Whoever takes it out counts it: an answer here, or podtracer as a timeout.
    if (dns_pending.delete(&key))
        return 1;
    u64 now = bpf_ktime_get_ns();

    record(query.target, query.process, query.label, METRIC_DNS, now - query.start_ns);
    if (packet.rcode) {
        struct count count = {.label = query.label,
                              .process = query.process,
                              .slot = packet.rcode,
                              .metric = METRIC_DNS | ASPECT_ERROR,
                              .target = query.target};

        add_count(&count);
    }
    send_dns_event(&query, now, packet.rcode);
    return 1;
}

#endif
