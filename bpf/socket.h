// From a descriptor to its file, from a file to its socket, and what is remembered of a connection.

#define MODE_TYPE 0170000
#define MODE_SOCKET 0140000
#define MODE_REGULAR 0100000
#define MODE_CHARACTER 0020000
#define MODE_PIPE 0010000
#define PROTOCOL_TCP 6
#define INTERNET 2
#define INTERNET6 10

#define STATE_ESTABLISHED 1
#define STATE_SYN_SENT 2
#define STATE_SYN_RECEIVED 3
#define STATE_CLOSE 7

#if FAMILY_CALLS || FAMILY_TCP

ALWAYS_INLINE struct file *file_of(s32 descriptor) {
    struct files_struct *files = OWN(current_task(), files);
    struct fdtable *table = OWN(files, fdt);

    if (descriptor < 0 || descriptor >= OWN(table, max_fds))
        return 0;
    return pointer_at((void *)OWN(table, fd) + 8 * (u64)descriptor);
}

ALWAYS_INLINE struct sock *sock_of(struct file *file) {
    struct socket *socket = LOAD(TYPED(file, file), private_data);

    if (!socket)
        return 0;
    return LOAD(TYPED(socket, socket), sk);
}

ALWAYS_INLINE u8 socket_kind(struct sock *sk) {
    struct sock *typed = TYPED(sk, sock);
    u16 family;

    if (!sk)
        return FILE_OTHER;
    family = LOAD(typed, __sk_common.skc_family);
    if (family != INTERNET && family != INTERNET6)
        return FILE_SOCKET;
    return LOAD(typed, sk_protocol) == PROTOCOL_TCP ? FILE_TCP : FILE_SOCKET;
}

#endif

#if FAMILY_TCP

// Return the target of a socket that no process is known of, 0 where it is in none or cannot be
// told: the kernel keeps a socket's cgroup of version 2 alone.
ALWAYS_INLINE u32 socket_target(struct sock *sk) {
#if SCOPE_PIDS || SCOPE_V1
    return 0;
#elif HAVE_sock_cgroup_data__cgroup
    return cgroup_target(LOAD(TYPED(sk, sock), sk_cgrp_data.cgroup));
#else
    u64 value = LOAD(TYPED(sk, sock), sk_cgrp_data.val);

    // With one of the low bits set it is something else: an identity of net_cls or net_prio.
    return value & 3 ? 0 : cgroup_target((struct cgroup *)value);
#endif
}

// The peer of a connection. One that came in is known by its address alone: its port is the peer's
// own choice, another with each connection.
ALWAYS_INLINE u64 socket_label(struct sock *pointer, bool accepted) {
    struct sock *sk = TYPED(pointer, sock);
    u8 address[16] = {};
    u8 family = 4;
    u16 port = accepted ? 0 : bpf_ntohs(LOAD(sk, __sk_common.skc_dport));
    u32 v4 = LOAD(sk, __sk_common.skc_daddr);

#if HAVE_sock_common__skc_v6_daddr
    if (LOAD(sk, __sk_common.skc_family) == INTERNET6) {
        struct in6_addr v6 = LOAD(sk, __sk_common.skc_v6_daddr);

        // A v4 address in a v6 socket is a v4 connection.
        if (v6.in6_u.u6_addr32[0] || v6.in6_u.u6_addr32[1] ||
            v6.in6_u.u6_addr32[2] != bpf_htonl(0xffff)) {
            family = 6;
            __builtin_memcpy(address, &v6, 16);
        } else {
            v4 = v6.in6_u.u6_addr32[3];
        }
    }
#endif
    if (family == 4)
        __builtin_memcpy(address, &v4, 4);
    return peer_label(family, address, port);
}

// Enter a socket that is connected already: an accepted one, or, with since_ns 0, one older than
// the trace.
ALWAYS_INLINE void enter_socket(struct sock *sk, u64 label, u32 process, u8 target, u64 since_ns) {
    struct socket_value value = {.process = process,
                                 .target = target,
                                 .established = 1,
                                 .established_ns = since_ns,
                                 .label = label};
    u64 key = (u64)sk;

    value.rack_mstamp = LOAD(TYPED(sk, tcp_sock), rack.mstamp);
    if (sockets.insert(&key, &value) && !sockets.lookup(&key))
        count_lost(LOST_SOCKETS_FULL);
}

#endif
