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

// A segment of TCP may carry several messages: queries sent together (for both kinds of address),
// answers put together. Each more multiplies the verifier's work.
#define QUERIES_MOST 2
#define ANSWERS_MOST 4

struct dns_packet {
    u64 server;  // its address, mixed
    u32 offset;  // of the message's header
    u32 next;    // of the message behind it
    u32 length;  // of the packet
    bool tcp;
    u8 flags;
    u8 rcode;
    u16 id;
};

// Parse the headers up to the first message; false: not to or from a DNS server.
ALWAYS_INLINE bool parse_packet(struct __sk_buff *skb, struct dns_packet *packet, bool outbound) {
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

// Step to the next message of the packet; false: there is none that can be read.
ALWAYS_INLINE bool next_message(struct __sk_buff *skb, struct dns_packet *packet) {
    u16 header[3];
    u32 offset = packet->next;

    if (offset + DNS_HEADER_BYTES > packet->length || bpf_skb_load_bytes(skb, offset, header, 6))
        return false;
    packet->next = packet->length;
    // Over TCP each message has its length before it, sent together with it or in a segment of its
    // own. One question, as every resolver asks, tells the two apart.
    if (packet->tcp && header[2] != bpf_htons(1)) {
        packet->next = offset + 2 + bpf_ntohs(header[0]);
        offset += 2;
        if (bpf_skb_load_bytes(skb, offset, header, 6))
            return false;
    }
    packet->offset = offset;
    packet->id = header[0];
    packet->flags = header[1] & 0xff;
    packet->rcode = header[1] >> 8 & 15;
    return header[2] == bpf_htons(1);
}

// Lower the case of eight bytes at once; a label's length byte is below 'A' and stays.
ALWAYS_INLINE u64 lower_case(u64 word) {
    u64 low = word & 0x7f7f7f7f7f7f7f7fULL;
    u64 from_a = low + 0x3f3f3f3f3f3f3f3fULL;
    u64 above_z = low + 0x2525252525252525ULL;
    u64 upper = from_a & ~above_z & ~word & 0x8080808080808080ULL;

    return word | upper >> 2;
}

// The name asked for, as on the wire up to the zero that ends it, in lower case. What a hostile
// program puts behind a zero inside a label is not read. 0: the packet ends before the name does.
ALWAYS_INLINE u64 name_label(struct __sk_buff *skb, struct dns_packet *packet) {
    struct label_value value = {.kind = LABEL_DNS_NAME};
    u32 offset = packet->offset + DNS_HEADER_BYTES;
    u32 room = packet->length - offset;
    u64 open = ~0ULL;

    if (packet->length <= offset)
        return 0;
    if (room > NAME_BYTES_MOST)
        room = NAME_BYTES_MOST;
    // In the form whose bounds the verifier sees: 1 to NAME_BYTES_MOST.
    u32 last = room - 1;

    asm volatile("%0 &= %1" : "+r"(last) : "i"(NAME_BYTES_MOST - 1));
    // What the packet does not fill must not look like an end.
    __builtin_memset(value.data, 0xff, sizeof(value.data));
    bpf_skb_load_bytes(skb, offset, value.data, last + 1);
    // Without branches: each would double what the verifier has to follow.
#pragma nounroll
    for (int i = 0; i < LABEL_WORDS; i++) {
        u64 word = value.data[i];
        u64 zeros = (word - 0x0101010101010101ULL) & ~word & 0x8080808080808080ULL;
        u64 before_zero = ((zeros & -zeros) >> 7) - 1;

        value.data[i] = lower_case(word & before_zero & open);
        open &= ((zeros | -zeros) >> 63) - 1;
    }
    if (open && room < NAME_BYTES_MOST)
        return 0;
    value.cut = open != 0;
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

ALWAYS_INLINE void note_query(struct __sk_buff *skb, struct dns_packet *packet,
                              struct dns_value *query) {
    struct dns_key key = {.cookie = bpf_get_socket_cookie(skb), .id = packet->id};
    struct dns_value *known = dns_pending.lookup(&key);
    struct count count = {.process = query->process, .target = query->target};

    query->label = name_label(skb, packet);
    if (!query->label)
        return;
    count.label = query->label;
    count.metric = METRIC_DNS_QUERY;
    if (known && known->label == query->label) {
        if (known->server != query->server && query->start_ns - known->start_ns <= PARALLEL_NS)
            return;
        count.metric = METRIC_DNS_RETRY;
    } else {
        // The number is used again: what it stood for can no longer be answered.
        bool given_up = known;
        u64 before = known ? known->label : 0;

        if (dns_pending.update(&key, query))
            count_lost(LOST_DNS_FULL);
        if (given_up)
            tally(query->target, query->process, before, METRIC_DNS_TIMEOUT, 0);
    }
    add_count(&count);
}

int on_packet_out(struct __sk_buff *skb) {
    struct dns_packet packet = {};
    struct dns_value query = {};

    // A question is noted only once its answer counts too.
    if (!parse_packet(skb, &packet, true) || !moment(WINDOW_START))
        return 1;
    if (packet.next + DNS_HEADER_BYTES > packet.length || !find_sender(skb, packet.tcp, &query))
        return 1;
    query.start_ns = bpf_ktime_get_ns();
    query.server = packet.server;
#pragma nounroll
    for (int i = 0; i < QUERIES_MOST; i++) {
        if (!next_message(skb, &packet))
            break;
        if (!(packet.flags & DNS_ANSWER_BIT))
            note_query(skb, &packet, &query);
    }
    return 1;
}

ALWAYS_INLINE void note_answer(struct __sk_buff *skb, struct dns_packet *packet) {
    struct dns_key key = {.cookie = bpf_get_socket_cookie(skb), .id = packet->id};
    struct dns_value *known = dns_pending.lookup(&key);

    if (!known)
        return;
    struct dns_value query = *known;

    // Whoever takes it out counts it: an answer here, or podtracer as a timeout.
    if (dns_pending.delete(&key))
        return;
    u64 now = bpf_ktime_get_ns();
    u64 ns = now - query.start_ns;
    struct count count = {.label = query.label,
                          .ns = ns,
                          .process = query.process,
                          .slot = slot_of(ns),
                          .metric = METRIC_DNS,
                          .target = query.target};

    add_count(&count);
    if (packet->rcode) {
        count.ns = 0;
        count.metric = METRIC_DNS | ASPECT_ERROR;
        count.slot = packet->rcode;
        add_count(&count);
    }
    send_dns_event(&query, now, packet->rcode);
}

int on_packet_in(struct __sk_buff *skb) {
    struct dns_packet packet = {};

    if (!parse_packet(skb, &packet, false))
        return 1;
#pragma nounroll
    for (int i = 0; i < ANSWERS_MOST; i++) {
        if (!next_message(skb, &packet))
            break;
        if (packet.flags & DNS_ANSWER_BIT)
            note_answer(skb, &packet);
    }
    return 1;
}

#endif
