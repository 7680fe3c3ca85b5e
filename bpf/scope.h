// Who belongs to a target: the first thing that every program asks.
//
// A member thread has an entry in `threads`; a member process one in `processes`. Threads that
// exist at the start are entered by the iterators of snapshot.c, later ones at fork, at a move
// between cgroups, or when they are first seen running inside a target's cgroup. With a scope of
// processes (SCOPE_PIDS), membership is inherited from the forking thread alone.

#define COMPAT_STATUS 0x2        // x86: TS_COMPAT
#define COMPAT_FLAG (1UL << 22)  // arm64: TIF_32BIT

// Whether a task is in a 32-bit system call: their numbers are others.
ALWAYS_INLINE bool is_compat(struct task_struct *task) {
#if HAVE_task_struct__thread_info__status
    return LOAD(TYPED(task, task_struct), thread_info.status) & COMPAT_STATUS;
#elif HAVE_task_struct__thread_info__flags
    return LOAD(TYPED(task, task_struct), thread_info.flags) & COMPAT_FLAG;
#else
    return false;
#endif
}

// For targets that come and go: whether one has the same low bits in its id.
ALWAYS_INLINE bool passes_filter(u64 cgroup_id) {
    u32 slot = cgroup_id % FILTER_SLOTS;
    u8 *passes = target_filter.lookup(&slot);

    return passes && *passes;
}

ALWAYS_INLINE u32 target_of_id(u64 cgroup_id) {
    // Most that is asked about is somebody else's: a comparison says no faster than a look-up.
    if (!MAYBE_TARGET(cgroup_id))
        return 0;
    u32 *target = targets.lookup(&cgroup_id);

    return target ? *target : 0;
}

// The first target whose cgroup id, an expression of `level`, stands at one of the targets' levels.
#define AT_LEVEL(depth, id)                                                                        \
    if ((depth) >= 0 && !_target) {                                                                \
        const int level = (depth);                                                                 \
        _target = target_of_id(id);                                                                \
    }
#define FIRST_TARGET(id)                                                                           \
    ({                                                                                             \
        u32 _target = 0;                                                                           \
        AT_LEVEL(SCOPE_LEVEL_0, id)                                                                \
        AT_LEVEL(SCOPE_LEVEL_1, id)                                                                \
        AT_LEVEL(SCOPE_LEVEL_2, id)                                                                \
        AT_LEVEL(SCOPE_LEVEL_3, id)                                                                \
        _target;                                                                                   \
    })

// The pointer that stands at an address of an array of pointers, which has no type of its own.
ALWAYS_INLINE void *pointer_at(void *address) {
#if HAVE_CAST
    // Seen as a structure whose first member is a pointer.
    return TYPED(address, callback_head)->next;
#else
    void *pointer = 0;

    read_kernel(&pointer, sizeof(pointer), address);
    return pointer;
#endif
}

ALWAYS_INLINE u64 ancestor_id(struct cgroup *cgroup, int level) {
    u64 id = 0;

    if (level > LOAD(cgroup, level))
        return 0;
#if HAVE_cgroup__ancestors
    struct cgroup *ancestor = pointer_at((void *)cgroup->ancestors + 8 * level);

    if (!ancestor)
        return 0;
    struct kernfs_node *node = LOAD(TYPED(ancestor, cgroup), kn);
    id = LOAD(TYPED(node, kernfs_node), id);
#elif HAVE_cgroup__ancestor_ids
    read_kernel(&id, sizeof(id), (void *)cgroup->ancestor_ids + 8 * level);
#endif
    return id;
}

ALWAYS_INLINE u64 cgroup_id(struct cgroup *cgroup) {
    struct kernfs_node *node = LOAD(cgroup, kn);

    return LOAD(TYPED(node, kernfs_node), id);
}

// Return the target whose cgroup holds this one, 0 where none does.
ALWAYS_INLINE u32 cgroup_target(struct cgroup *pointer) {
    struct cgroup *cgroup = TYPED(pointer, cgroup);

    if (!pointer)
        return 0;
    return FIRST_TARGET(ancestor_id(cgroup, level));
}

ALWAYS_INLINE struct cgroup *task_cgroup(struct task_struct *task) {
    struct css_set *set = LOAD(TYPED(task, task_struct), cgroups);

#if SCOPE_V1
    struct css_set *typed = TYPED(set, css_set);
    struct cgroup_subsys_state *state =
        pointer_at((void *)typed->subsys + sizeof(void *) * SCOPE_SUBSYSTEM);

    return LOAD(TYPED(state, cgroup_subsys_state), cgroup);
#else
    return LOAD(TYPED(set, css_set), dfl_cgrp);
#endif
}

// Return the target of a task, 0 where it is in none.
ALWAYS_INLINE u32 task_target(struct task_struct *task) {
#if SCOPE_PIDS
    return target_of_id(LOAD(TYPED(task, task_struct), tgid));
#else
    return cgroup_target(task_cgroup(task));
#endif
}

// Whether a task may have an entry in `threads`: where the kernel lets us load from any address,
// the way to its cgroup is cheaper than a look-up in vain.
ALWAYS_INLINE bool may_be_member(struct task_struct *task) {
#if SCOPE_PIDS || !HAVE_CAST
    return true;
#else
    return task_target(task);
#endif
}

#if !SCOPE_PIDS
// Return the target of the running task.
ALWAYS_INLINE u32 current_target(void) {
    // Tracing programs may ask for ancestors of the running task's cgroup as of Linux 5.15.
#if HAVE_CAST || !HAVE_TASK_REGISTERS
    return task_target(current_task());
#elif SCOPE_V1
    // Where the verifier knows the types, loads are direct.
    struct css_set *set = OWN(current_task(), cgroups);
    struct cgroup_subsys_state *state = OWN(set, subsys[SCOPE_SUBSYSTEM]);

    return cgroup_target(OWN(state, cgroup));
#else
    return FIRST_TARGET(bpf_get_current_ancestor_cgroup_id(level));
#endif
}
#endif

ALWAYS_INLINE u32 pid_in_namespace(struct task_struct *leader) {
    struct pid *pid = TYPED(LOAD(leader, thread_pid), pid);
    u32 level = LOAD(pid, level);
    u32 number = 0;

    read_kernel(&number, sizeof(number), (void *)pid->numbers + level * sizeof(struct upid));
    return number;
}

// Enter the process of a member thread in the process table, unless it is there.
ALWAYS_INLINE void enter_process(struct task_struct *task, u32 target, u64 start_ns, bool entered) {
    u32 process = LOAD(task, tgid);
    struct process_value value = {.start_ns = start_ns, .target = target, .entered = entered};
    struct process_value *known = processes.lookup(&process);

    if (known && !known->exit_ns)
        return;
    struct task_struct *leader = TYPED(LOAD(task, group_leader), task_struct);
    struct task_struct *parent = TYPED(LOAD(leader, real_parent), task_struct);

    value.parent = LOAD(parent, tgid);
    value.pid = pid_in_namespace(leader);
    value.container_cgroup = cgroup_id(TYPED(task_cgroup(task), cgroup));
    read_kernel_str(value.name, sizeof(value.name), leader->comm);
    if (processes.update(&process, &value))
        count_lost(LOST_PROCESSES_FULL);
}

// Enter a thread as a member; on_cpu_ns and off_cpu_ns as in struct thread.
ALWAYS_INLINE struct thread *enter_thread(struct task_struct *task, u32 target, u64 on_cpu_ns,
                                          u64 off_cpu_ns) {
    u32 tid = LOAD(task, pid);
    struct thread value = {.process = LOAD(task, tgid),
                           .target = target,
                           .on_cpu_ns = on_cpu_ns,
                           .off_cpu_ns = off_cpu_ns,
                           .executed_ns = LOAD(task, se.sum_exec_runtime)};

    threads.insert(&tid, &value);
    struct thread *thread = threads.lookup(&tid);
    if (!thread)
        count_lost(LOST_THREADS_FULL);
    return thread;
}

// Return the running thread's entry, 0 where it is in no target.
ALWAYS_INLINE struct thread *member(u64 now_or_zero) {
    u32 tid = bpf_get_current_pid_tgid();
#if SCOPE_PIDS
    return threads.lookup(&tid);
#else
    u32 target = current_target();

    if (!target)
        return 0;
    struct thread *thread = threads.lookup(&tid);

    if (thread)
        return thread;
    struct task_struct *task = TYPED(current_task(), task_struct);
    u64 now = now_or_zero ? now_or_zero : bpf_ktime_get_ns();

    enter_process(task, target, now, true);
    return enter_thread(task, target, now, 0);
#endif
}
