#!/usr/bin/env bash
# Let the members of a group trace this machine without sudo, or undo that.
#
#   scripts/setup-capabilities.sh [install|undo] [OPTION...]
#
#   --group NAME    the group; it is made if there is none (podtrace)
#   --prefix DIR    where to install (/usr/local/libexec/podtrace)
#   --user NAME     who gets into the group beside who calls sudo; may be repeated
#   --dry-run       say what would be done
#
# Installed are a copy of the tracer that only root can change, and a launcher with the capabilities
# that tracing takes, which starts the system's Python on that copy and nothing else. docs/security.md
# says what this means: members of the group may watch every process of the machine.
set -euo pipefail
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
# They would say where sources are looked for, and where others may change what is being built.
unset CDPATH TMPDIR
umask 022

readonly system_python=/usr/bin/python3
readonly last_capability=/proc/sys/kernel/cap_last_cap
readonly cap_bpf=39

fail() {
    printf 'error: %s\n' "$1" >&2
    shift
    (($# == 0)) || printf '%s\n' "$@" >&2
    exit 1
}

usage() {
    sed -n 's/^# \{0,1\}//; 2,/^ *--dry-run/p' "$0" >&2
    exit "$1"
}

command=install
group=podtrace
prefix=/usr/local/libexec/podtrace
users=()
dry=false
case ${1:-} in
    install | undo) command=$1 && shift ;;
esac
while (($#)); do
    case $1 in
        --group | --prefix | --user)
            (($# > 1)) || { echo "error: $1 takes a value" >&2 && exit 2; }
            case $1 in
                --group) group=$2 ;;
                --prefix) prefix=$2 ;;
                --user) users+=("$2") ;;
            esac
            shift 2
            ;;
        --undo) command=undo && shift ;;
        --dry-run) dry=true && shift ;;
        -h | --help) usage 0 ;;
        *) echo "error: unknown option $1" >&2 && usage 2 ;;
    esac
done
[[ $prefix =~ ^(/[A-Za-z0-9_.+-]+)+$ && ! $prefix =~ /\.\.?(/|$) ]] ||
    fail "--prefix $prefix is no absolute path of letters, digits and _.+-"
[[ $group =~ ^[a-z_][a-z0-9_-]{0,31}$ && $group != root ]] ||
    fail "--group $group is no name of a group to give rights to"
((EUID == 0)) || fail "this takes root" "Run: sudo $(printf '%q ' bash "$0" "$command")..."

readonly launcher=$prefix/podtrace-tracer
readonly tracer=$prefix/tracer
readonly state=$prefix/setup.state

run() {
    if $dry; then
        printf 'would run:' && printf ' %q' "$@" && echo
    else
        "$@"
    fi
}

note() {
    $dry || printf '%s\n' "$1" >>"$state"
}

# Whoever could change a folder above could put other code where rights are given.
check_folders() {
    local folder=$1
    until [[ -e $folder || -L $folder ]]; do folder=$(dirname "$folder"); done
    while :; do
        [[ ! -L $folder ]] ||
            fail "$folder is a link: name the folder that it leads to" "Use: --prefix DIR"
        [[ $(stat -c %u "$folder") == 0 && ! $(stat -c %A "$folder") =~ ^.{5}w|^.{8}w ]] ||
            fail "$folder can be changed by others than root" \
                "Use: --prefix DIR, with a DIR below folders that only root can change, as" \
                "/opt/podtrace; or take that right away: chmod go-w $folder"
        [[ $folder != / ]] || break
        folder=$(dirname "$folder")
    done
}

# What is replaced and removed as a whole has to be what was installed here.
check_tracer() {
    [[ ! -e $tracer || -e $tracer/podtracer/__main__.py ]] ||
        fail "$tracer is something else than podtrace's tracer" "Use another --prefix DIR"
}

# A hard link that somebody made of the file would keep its rights otherwise.
retire() {
    [[ -e $1 ]] || return 0
    run chmod 0 "$1"
    run setcap -r "$1" 2>/dev/null || $dry || [[ -z $(getcap "$1") ]] ||
        fail "$1 cannot be deprived of its capabilities"
    run rm -f "$1"
}

needs() {
    command -v "$1" >/dev/null || fail "$1 is missing" "Install it, on Debian or Ubuntu with:" \
        "apt-get install --no-install-recommends $2"
}

find_sources() {
    local here
    here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
    if [[ -e $here/launcher.c ]]; then
        source_c=$here/launcher.c files=$here
    else
        source_c=$here/../launcher/launcher.c files=$here/../tracer-image
    fi
    local needed
    for needed in "$source_c" "$files"/{podtracer/__main__.py,bpf/podtrace.h,podtrace/wire/schema.py}; do
        [[ -f $needed ]] || fail "this installation of podtrace is incomplete: $needed is missing"
    done
}

find_bcc() {
    packages=$("$system_python" -I -c '
import importlib.util, os
spec = importlib.util.find_spec("bcc.table")
print(os.path.dirname(os.path.dirname(os.path.realpath(spec.origin))))' 2>/dev/null) ||
        fail "$system_python has no BCC" "Install it, on Debian or Ubuntu with:" \
            "apt-get install --no-install-recommends python3-bpfcc"
    [[ $packages =~ ^[A-Za-z0-9/_.+-]+$ ]] || fail "BCC is in a folder of an odd name: $packages"
    check_folders "$packages"
}

make_group() {
    getent group "$group" >/dev/null && return
    run groupadd --system "$group"
    note "group=$group"
}

make_folder() {
    local missing=() folder=$prefix
    until [[ -d $folder ]]; do
        missing=("$folder" "${missing[@]}")
        folder=$(dirname "$folder")
    done
    for folder in "${missing[@]}"; do run mkdir -m 0755 "$folder"; done
    for folder in "${missing[@]}"; do [[ $folder == "$prefix" ]] || note "folder=$folder"; done
}

install_tracer() {
    run rm -rf "$tracer.new" "$tracer.old"
    run mkdir -m 0755 "$tracer.new"
    run cp -rL --no-preserve=all "$files/podtracer" "$files/bpf" "$files/podtrace" "$tracer.new/"
    run find "$tracer.new" -name __pycache__ -prune -exec rm -rf {} +
    run chown -R 0:0 "$tracer.new"
    run chmod -R u=rwX,go=rX "$tracer.new"
    # The launcher's Python writes none: it could not, and it would cost every start.
    run "$system_python" -I -m compileall -q -s "$tracer.new" -p "$tracer" \
        "$tracer.new/podtracer" "$tracer.new/podtrace"
    [[ ! -e $tracer ]] || run mv "$tracer" "$tracer.old"
    run mv "$tracer.new" "$tracer"
    run rm -rf "$tracer.old"
}

install_launcher() {
    local capabilities=cap_bpf,cap_perfmon,cap_net_admin release
    release=$(uname -r)
    # There tables count as locked memory, whose limit the launcher has to raise.
    [[ $(printf '%s\n' 5.11 "$release" | sort -V | head -n 1) == 5.11 ]] ||
        capabilities+=,cap_sys_resource
    run cc -std=gnu11 -O2 -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE -pie \
        -Wl,-z,relro,-z,now -Wall -Wextra -Werror \
        "-DTRACER=\"$tracer\"" "-DPACKAGES=\"$packages\"" -o "$work/launcher" "$source_c" ||
        fail "the launcher could not be compiled"
    retire "$launcher.new"
    run install -o 0 -g "$group" -m 0750 "$work/launcher" "$launcher.new"
    run setcap "$capabilities=p" "$launcher.new" ||
        fail "$launcher cannot have capabilities" \
            "Its file system does not store them, or this root may not give them (in a container)."
    retire "$launcher"
    run mv "$launcher.new" "$launcher"
}

# With no target the tracer's Python starts and complains: then all until there works.
check_launcher() {
    local said code=0
    ! $dry || return 0
    said=$(cd / && setpriv --reuid 65534 --regid "$(stat -c %g "$launcher")" --clear-groups \
        "$launcher" 2>&1 </dev/null) || code=$?
    ((code == 2)) || fail "the launcher does not start the tracer (exit code $code)" "$said"
}

add_members() {
    local user
    [[ -z ${SUDO_USER:-} || $SUDO_USER == root ]] || users+=("$SUDO_USER")
    for user in "${users[@]}"; do
        id "$user" >/dev/null 2>&1 || fail "there is no user $user"
        [[ " $(id -nG "$user") " != *" $group "* ]] || continue
        run usermod --append --groups "$group" "$user"
        echo "$user is in the group $group from the next login on"
    done
}

has_members() {
    local gid members
    IFS=: read -r _ _ gid members < <(getent group "$group")
    [[ -n $members ]] ||
        getent passwd | awk -F: -v gid="$gid" '$4 == gid { found = 1 } END { exit !found }'
}

install_all() {
    [[ $(<"$last_capability") -ge $cap_bpf ]] ||
        fail "kernel $(uname -r) has no CAP_BPF: there root alone may trace"
    needs cc "gcc libc6-dev"
    needs setcap libcap2-bin
    find_sources
    find_bcc
    check_folders "$prefix"
    check_folders "$(realpath "$system_python")"
    check_tracer
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    make_folder
    make_group
    install_tracer
    install_launcher
    check_launcher
    add_members
    $dry && return
    echo "installed $launcher for the group $group: its members may watch every process"
    if has_members; then
        echo "add others with: usermod -aG $group USER"
    else
        echo "nobody is in the group $group yet: run this again with --user NAME"
    fi
    [[ $prefix == /usr/local/libexec/podtrace ]] ||
        echo "who uses it has to set: export PODTRACE_LAUNCHER=$launcher"
}

undo() {
    local line
    if [[ ! -d $prefix ]]; then
        echo "nothing is installed in $prefix"
        return
    fi
    needs setcap libcap2-bin
    check_folders "$prefix"
    check_tracer
    retire "$launcher"
    retire "$launcher.new"
    run rm -rf "$tracer" "$tracer.new" "$tracer.old"
    local made=()
    [[ ! -f $state ]] || mapfile -t made <"$state"
    run rm -f "$state"
    run rmdir --ignore-fail-on-non-empty "$prefix"
    local at
    for ((at = ${#made[@]} - 1; at >= 0; at--)); do
        line=${made[at]}
        case $line in
            folder=*) run rmdir --ignore-fail-on-non-empty "${line#*=}" ;;
            group=*) run groupdel "${line#*=}" ;;
        esac
    done
    ! $dry || return 0
    if [[ -d $prefix ]]; then
        echo "removed what was installed in $prefix, which has other files too"
    else
        echo "removed $prefix; traces that are going on end as they would have"
    fi
}

if [[ $command == undo ]]; then undo; else install_all; fi
