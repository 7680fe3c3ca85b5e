// What a DNS message says, wherever its bytes are, and what is counted of it.
//
// A query is known by (socket, id) and is measured from its first message. What is not answered in
// five seconds podtracer takes out of `dns_pending` and counts as a timeout.

#if FAMILY_DNS

#define DNS_PORT 53
#define PROTOCOL_UDP 17
#define DNS_HEADER_BYTES 12
#define DNS_ANSWER_BIT 0x80
#define NAME_BYTES_MOST (8 * LABEL_WORDS)
// A resolver that asks several servers at once sends its copies within this time: not a retry.
#define PARALLEL_NS 10000000

// Bytes in which there may be messages: a packet, or with `in_memory` a buffer of the process.
struct dns_data {
    void *from;
    bool in_memory;
    bool tcp;
    u8 flags;
    u8 rcode;
    u16 id;
    u32 offset;  // of the message's header
    u32 next;    // of the message behind it
    u32 length;
    u64 socket;  // what is always the same for a socket, and never for two
    u64 server;  // its address, mixed
};

ALWAYS_INLINE long load_bytes(struct dns_data *data, u32 offset, void *to, u32 bytes) {
    if (data->in_memory)
        return read_user(to, bytes, data->from + offset);
    return bpf_skb_load_bytes(data->from, offset, to, bytes);
}

// Step to the next message of the data; false: there is none that can be read.
ALWAYS_INLINE bool next_message(struct dns_data *data) {
    u16 header[3];
    u32 offset = data->next;

    if (offset + DNS_HEADER_BYTES > data->length || load_bytes(data, offset, header, 6))
        return false;
    data->next = data->length;
    // Over TCP each message has its length before it, sent together with it or in a segment of its
    // own. One question, as every resolver asks, tells the two apart.
    if (data->tcp && header[2] != bpf_htons(1)) {
        data->next = offset + 2 + bpf_ntohs(header[0]);
        offset += 2;
        if (load_bytes(data, offset, header, 6))
            return false;
    }
    data->offset = offset;
    data->id = header[0];
    data->flags = header[1] & 0xff;
    data->rcode = header[1] >> 8 & 15;
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
// program puts behind a zero inside a label is not read. 0: the data end before the name does.
ALWAYS_INLINE u64 name_label(struct dns_data *data) {
    struct label_value value = {.kind = LABEL_DNS_NAME};
    u32 offset = data->offset + DNS_HEADER_BYTES;
    u32 room = data->length - offset;
    u64 open = ~0ULL;

    if (data->length <= offset)
        return 0;
    if (room > NAME_BYTES_MOST)
        room = NAME_BYTES_MOST;
    // In the form whose bounds the verifier sees: 1 to NAME_BYTES_MOST.
    u32 last = room - 1;

    asm volatile("%0 &= %1" : "+r"(last) : "i"(NAME_BYTES_MOST - 1));
    // What the packet does not fill must not look like an end.
    __builtin_memset(value.data, 0xff, sizeof(value.data));
    load_bytes(data, offset, value.data, last + 1);
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

ALWAYS_INLINE void note_query(struct dns_data *data, struct dns_value *query) {
    struct dns_key key = {.cookie = data->socket, .id = data->id};
    struct dns_value *known = dns_pending.lookup(&key);
    struct count count = {.process = query->process, .target = query->target};

    query->server = data->server;
    query->label = name_label(data);
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

ALWAYS_INLINE void note_answer(struct dns_data *data) {
    struct dns_key key = {.cookie = data->socket, .id = data->id};
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
    if (data->rcode) {
        count.ns = 0;
        count.metric = METRIC_DNS | ASPECT_ERROR;
        count.slot = data->rcode;
        add_count(&count);
    }
    send_dns_event(&query, now, data->rcode);
}

#endif
