// DNS queries and answers from the calls that sent and received them, where packets are not seen.
//
// on_sys_exit goes on with these programs when a member thread has sent or received something on a
// socket. They read one message from the memory of the process, and run again for the next one, so
// that the verifier's work does not grow with their number.

#if FAMILY_DNS && FAMILY_CALLS

#define DNS_MESSAGES_MOST 8

// struct msghdr of user space.
struct message_header {
    u64 name;
    u64 name_bytes;
    u64 vector;
    u64 parts;
};

// struct iovec of user space.
struct io_vector {
    u64 base;
    u64 bytes;
};

struct dns_call {
    struct dns_data data;
    u64 name;  // address of the address that it was sent to, 0: the one that the socket has
    bool many;
};

// Find the part of what a call moved that comes next; false: there is none.
ALWAYS_INLINE bool find_part(struct thread *thread, struct pt_regs *registers, s64 result,
                             struct dns_call *call) {
    u32 number = GIVEN(registers, SYSCALL_NUMBER);
    struct message_header header = {};
    struct io_vector part = {};
    u32 index = thread->dns_part;
    u32 length = thread->dns_left;
    u64 address = thread->vector;

    call->many = number == SYSCALL_sendmmsg || number == SYSCALL_recvmmsg;
    if (call->many) {
        if (index >= result)
            return false;
        address += index * MESSAGE_BYTES;
        index = 0;
        if (read_user(&length, sizeof(length), (void *)address + MESSAGE_LENGTH))
            return false;
    }
    if (call->many || number == SYSCALL_sendmsg || number == SYSCALL_recvmsg) {
        if (read_user(&header, sizeof(header), (void *)address))
            return false;
    } else if (number == SYSCALL_readv || number == SYSCALL_writev) {
        header.vector = address;
        header.parts = GIVEN(registers, SYSCALL_ARGUMENT_2);
    } else {
        part.base = address;
        part.bytes = length;
        if (number == SYSCALL_sendto)
            header.name = GIVEN(registers, SYSCALL_ARGUMENT_4);
    }
    if (!part.base) {
        if (index >= header.parts ||
            read_user(&part, sizeof(part), (void *)header.vector + index * sizeof(part)))
            return false;
    } else if (index) {
        return false;
    }
    call->name = header.name;
    call->data.from = (void *)part.base;
    call->data.length = part.bytes < length ? part.bytes : length;
    call->data.next = thread->dns_offset;
    return true;
}

// Whether a socket speaks UDP or TCP, and with nobody else than a DNS server.
ALWAYS_INLINE bool may_be_dns(struct thread *thread, struct dns_data *data) {
    struct sock *sk = TYPED(thread->object, sock);
    u16 family = LOAD(sk, __sk_common.skc_family);
    u16 protocol = LOAD(sk, sk_protocol);
    u16 port = LOAD(sk, __sk_common.skc_dport);

    if (family != INTERNET && family != INTERNET6)
        return false;
    if (protocol != PROTOCOL_TCP && protocol != PROTOCOL_UDP)
        return false;
    data->tcp = protocol == PROTOCOL_TCP;
    // The address of a socket is used again; the port is seldom the same then.
    data->socket = mix(thread->object, LOAD(sk, __sk_common.skc_num));
    return port == bpf_htons(DNS_PORT) || (!port && !data->tcp);
}

// Whether a message goes to the port of a DNS server; notes which one that is.
ALWAYS_INLINE bool find_server(struct thread *thread, u64 name, struct dns_data *data) {
    struct sock *sk = TYPED(thread->object, sock);
    u64 words[2] = {};

    if (name && !data->tcp) {
        u16 head[4];

        if (read_user(head, sizeof(head), (void *)name) || head[1] != bpf_htons(DNS_PORT))
            return false;
        if (head[0] == INTERNET6)
            read_user(words, sizeof(words), (void *)name + 8);
        else
            __builtin_memcpy(words, head + 2, 4);
    } else {
        if (LOAD(sk, __sk_common.skc_dport) != bpf_htons(DNS_PORT))
            return false;
        words[0] = LOAD(sk, __sk_common.skc_daddr);
#if HAVE_sock_common__skc_v6_daddr
        if (LOAD(sk, __sk_common.skc_family) == INTERNET6) {
            struct in6_addr v6 = LOAD(sk, __sk_common.skc_v6_daddr);

            __builtin_memcpy(words, &v6, sizeof(words));
        }
#endif
    }
    data->server = mix(words[0], words[1]);
    return true;
}

// Go on with the next message of the call, if there may be one.
ALWAYS_INLINE void go_on_with_next(u64 *ctx, struct thread *thread, struct dns_call *call,
                                   u32 which) {
    struct dns_data *data = &call->data;

    if (data->next + DNS_HEADER_BYTES <= data->length) {
        thread->dns_offset = data->next;
    } else {
        thread->dns_offset = 0;
        thread->dns_part++;
        if (!call->many)
            thread->dns_left -= data->length;
    }
    thread->dns_messages++;
    if (thread->dns_messages < DNS_MESSAGES_MOST)
        go_on(ctx, which);
}

int on_query_sent(u64 *ctx) {
    u32 tid = bpf_get_current_pid_tgid();
    struct thread *thread = threads.lookup(&tid);

    // A question is noted only once its answer counts too.
    if (!thread || !moment(WINDOW_START))
        return 0;
    struct dns_call call = {.data.in_memory = true};

    if (!may_be_dns(thread, &call.data) ||
        !find_part(thread, ARG(ctx, 0, struct pt_regs *), ARG(ctx, 1, s64), &call) ||
        !find_server(thread, call.name, &call.data))
        return 0;
    struct dns_value query = {
        .start_ns = thread->call_start_ns, .process = thread->process, .target = thread->target};

    if (!next_message(&call.data))
        call.data.next = call.data.length;
    else if (!(call.data.flags & DNS_ANSWER_BIT))
        note_query(&call.data, &query);
    go_on_with_next(ctx, thread, &call, AFTER_SENT);
    return 0;
}

int on_answer_received(u64 *ctx) {
    u32 tid = bpf_get_current_pid_tgid();
    struct thread *thread = threads.lookup(&tid);

    if (!thread)
        return 0;
    struct dns_call call = {.data.in_memory = true};

    if (!may_be_dns(thread, &call.data) ||
        !find_part(thread, ARG(ctx, 0, struct pt_regs *), ARG(ctx, 1, s64), &call))
        return 0;
    if (!next_message(&call.data))
        call.data.next = call.data.length;
    else if (call.data.flags & DNS_ANSWER_BIT)
        note_answer(&call.data);
    else if (!call.data.tcp)
        return 0;
    go_on_with_next(ctx, thread, &call, AFTER_RECEIVED);
    return 0;
}

#endif
