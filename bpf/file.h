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
ALWAYS_INLINE void read_path(struct file_value *value, struct file *pointer) {
    struct file *file = TYPED(pointer, file);
    struct dentry *dentry = LOAD(file, f_path.dentry);
    struct vfsmount *mount = LOAD(file, f_path.mnt);
    struct fs_struct *fs = TYPED(current_task()->fs, fs_struct);
    struct dentry *root = LOAD(fs, root.dentry);
    struct vfsmount *root_mount = LOAD(fs, root.mnt);

    // What is used is kept in the value, where the verifier does not follow it: each turn of the
    // loop then looks the same to it.
    value->path_bytes = 0;
    value->path_complete = 0;
#pragma nounroll
    for (int i = 0; i < PATH_NAMES; i++) {
        if (dentry == root && mount == root_mount) {
            value->path_complete = 1;
            break;
        }
        struct dentry *typed = TYPED(dentry, dentry);
        struct dentry *parent = LOAD(typed, d_parent);

        if (parent == dentry) {
            struct mount *full = (void *)mount - __builtin_offsetof(struct mount, mnt);
            struct mount *above = LOAD(TYPED(full, mount), mnt_parent);

            if (above == full) {
                value->path_complete = 1;
                break;
            }
            dentry = LOAD(TYPED(full, mount), mnt_mountpoint);
            mount = (void *)above + __builtin_offsetof(struct mount, mnt);
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
        dentry = parent;
    }
}

ALWAYS_INLINE struct file_value *file_entry(struct thread *thread) {
    struct file_value *value = files.lookup(&thread->file);
    u32 zero = 0;

    if (value)
        return value;
    struct file_value *scratch = file_scratch.lookup(&zero);
    struct budget *budget = budgets.lookup(&zero);
    u64 second = bpf_ktime_get_ns() >> SECOND_SHIFT;

    if (!scratch || !budget)
        return 0;
    if (budget->files_full == second) {
        count_lost(LOST_FILES_FULL);
        return 0;
    }
    scratch->operations = 0;
    scratch->bytes = 0;
    scratch->max_ns = 0;
    read_path(scratch, (struct file *)thread->object);
    files.insert(&thread->file, scratch);
    value = files.lookup(&thread->file);
    if (!value) {
        // For the rest of this second do not even read the paths of others.
        budget->files_full = second;
        count_lost(LOST_FILES_FULL);
    }
    return value;
}

#endif
