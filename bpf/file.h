// What kind of file a call is on, and the table of regular files with their paths.

#define TTY_MAJOR_FIRST 4
#define TTY_MAJOR_LAST 5
#define PTY_MAJOR_FIRST 128
#define PTY_MAJOR_LAST 143
#define DEVICE_MINOR_BITS 20

#if FAMILY_CALLS

// Note in the thread what kind of file a descriptor is, and which one.
ALWAYS_INLINE void classify(struct thread *thread, struct file *file) {
    thread->file_kind = FILE_OTHER;
    thread->object = 0;
    if (!file)
        return;
    struct inode *inode = TYPED(LOAD(TYPED(file, file), f_inode), inode);
    u32 type = LOAD(inode, i_mode) & MODE_TYPE;

    if (type == MODE_REGULAR) {
        struct super_block *super = TYPED(LOAD(inode, i_sb), super_block);

        thread->file_kind = FILE_REGULAR;
        thread->object = (u64)file;
        thread->file.inode = LOAD(inode, i_ino);
        thread->file.device = LOAD(super, s_dev);
        thread->file.generation = LOAD(inode, i_generation);
        thread->file.target = thread->target;
    } else if (type == MODE_SOCKET) {
        struct sock *sk = sock_of(file);

        thread->file_kind = socket_kind(sk);
        thread->object = (u64)sk;
    } else if (type == MODE_PIPE) {
        thread->file_kind = FILE_PIPE;
    } else if (type == MODE_CHARACTER) {
        u32 major = LOAD(inode, i_rdev) >> DEVICE_MINOR_BITS;

        if ((major >= TTY_MAJOR_FIRST && major <= TTY_MAJOR_LAST) ||
            (major >= PTY_MAJOR_FIRST && major <= PTY_MAJOR_LAST))
            thread->file_kind = FILE_TERMINAL;
    }
}

// Write the path of a file, last component first, up to the root of the calling process.
ALWAYS_INLINE void read_path(struct file_walk *walk, struct file *pointer) {
    struct file_value *value = &walk->value;
    struct file *file = TYPED(pointer, file);
    struct fs_struct *fs = TYPED(OWN(current_task(), fs), fs_struct);
    struct dentry *root = LOAD(fs, root.dentry);
    struct vfsmount *root_mount = LOAD(fs, root.mnt);
    // What changes is kept in the map, where the verifier does not follow it: each turn of the loop
    // then looks the same to it, whichever way the turn before went.
    volatile u64 *at_dentry = &walk->dentry;
    volatile u64 *at_mount = &walk->mount;

    *at_dentry = (u64)LOAD(file, f_path.dentry);
    *at_mount = (u64)LOAD(file, f_path.mnt);
    value->path_bytes = 0;
    value->path_complete = 0;
#pragma nounroll
    for (int i = 0; i < PATH_NAMES; i++) {
        struct dentry *dentry = (struct dentry *)*at_dentry;
        struct vfsmount *mount = (struct vfsmount *)*at_mount;

        if (dentry == root && mount == root_mount) {
            value->path_complete = 1;
            break;
        }
        struct dentry *typed = TYPED(dentry, dentry);
        struct dentry *parent = LOAD(typed, d_parent);

        struct mount *full = (void *)mount - __builtin_offsetof(struct mount, mnt);

        // A bind mount begins anywhere in its file system: what lies above is not in the path.
        if (parent == dentry || dentry == LOAD(TYPED(full, mount), mnt.mnt_root)) {
            struct mount *above = LOAD(TYPED(full, mount), mnt_parent);

            if (above == full) {
                value->path_complete = 1;
                break;
            }
            *at_dentry = (u64)LOAD(TYPED(full, mount), mnt_mountpoint);
            *at_mount = (u64)above + __builtin_offsetof(struct mount, mnt);
            continue;
        }
        u32 used = value->path_bytes;

        if (used >= PATH_BYTES)
            break;
        const void *name = LOAD(typed, d_name.name);
        long length = read_kernel_str(value->path + used, NAME_BYTES, name);

        if (length <= 0)
            break;
        value->path_bytes = used + length;
        *at_dentry = (u64)parent;
    }
}

ALWAYS_INLINE struct file_value *file_entry(struct thread *thread) {
    struct file_value *value = files.lookup(&thread->file);
    u32 zero = 0;

    if (value)
        return value;
    struct file_walk *walk = file_scratch.lookup(&zero);
    struct budget *budget = budgets.lookup(&zero);
    u64 second = bpf_ktime_get_ns() >> SECOND_SHIFT;

    if (!walk || !budget)
        return 0;
    if (budget->files_full == second) {
        count_lost(LOST_FILES_FULL);
        return 0;
    }
    walk->value.operations = 0;
    walk->value.bytes = 0;
    walk->value.max_ns = 0;
    read_path(walk, (struct file *)thread->object);
    files.insert(&thread->file, &walk->value);
    value = files.lookup(&thread->file);
    if (!value) {
        // For the rest of this second do not even read the paths of others.
        budget->files_full = second;
        count_lost(LOST_FILES_FULL);
    }
    return value;
}

#endif
