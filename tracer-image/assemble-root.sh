#!/bin/bash
# Gather what the tracer runs on into a root file system of its own, from the packages installed.
#
# Taken: Python with most of its library as byte code, its packages of BCC and of Prometheus's
# client, and the shared libraries that these load, found by asking the dynamic linker. No shell, no
# package manager.
#
# Two libraries are linked but never called here, and are large: Z3 serves clang's static analyzer
# and ICU, beneath libxml2, recodes Windows manifests. Their place is taken by empty functions that
# end the process when called; together they would be a quarter of the image.
#
# usage: assemble-root.sh FOLDER
set -euo pipefail

root=$1
python=$(readlink -f /usr/bin/python3)
library=$(echo /usr/lib/python3.[0-9]*)
unused='libz3.so.* libicuuc.so.*'

# Folders and symbolic links of the base that programs expect.
mkdir -p "$root"/{dev,etc,proc,run,sys,usr/bin,usr/lib,var/cache,var/lib/dpkg/status.d,var/tmp}
mkdir -m 1777 "$root/tmp"
mkdir -m 700 "$root/root" "$root/var/cache/podtrace"
for folder in /lib /lib64; do
    [ ! -L "$folder" ] || cp -a "$folder" "$root$folder"
done
cp -aL --parents /etc/passwd /etc/group "$root"
cp -a --parents /etc/os-release /usr/lib/os-release "$root"

# Python. Its tests, its tools for developers, and modules for terminals and data bases are of no
# use. Encryption is neither, but Prometheus's client does not load without the module for it;
# without the other one of OpenSSL hashlib has its own implementations.
cp "$python" "$root/usr/bin/python3"
mkdir -p "$root$library"
tar -C "$library" -c \
    --exclude='__pycache__' --exclude='./config-*' --exclude='./test' --exclude='./idlelib' \
    --exclude='./lib2to3' --exclude='./distutils' --exclude='./ensurepip' --exclude='./tkinter' \
    --exclude='./turtledemo' --exclude='./turtle.py' --exclude='./pydoc_data' --exclude='./venv' \
    --exclude='./unittest' --exclude='./sqlite3' --exclude='./curses' --exclude='./dbm' \
    --exclude='*test*.so' --exclude='_sqlite3.*' --exclude='_curses*' --exclude='_dbm.*' \
    --exclude='_hashlib.*' --exclude='readline.*' --exclude='nis.*' \
    --exclude='_crypt.*' --exclude='ossaudiodev.*' --exclude='_codecs_*' --exclude='xxlimited*' \
    . | tar -C "$root$library" -x
mkdir -p "$root/usr/lib/python3/dist-packages"
for package in bcc decorator.py prometheus_client; do
    cp -a "/usr/lib/python3/dist-packages/$package" "$root/usr/lib/python3/dist-packages/"
done
rm -r "$root"/usr/lib/python3/dist-packages/prometheus_client/{bridge,twisted}
"$python" -m compileall -q -b "$root/usr/lib" -s "$root"
find "$root/usr/lib" -name '*.py' -delete
find "$root/usr/lib" -name '__pycache__' -prune -exec rm -r {} +

# Shared libraries: those that bcc opens by name, and all that anything needs.
bcc=$(ldconfig -p | awk '$1 == "libbcc.so.0" {print $NF; exit}')
realtime=$(ldconfig -p | awk '$1 == "librt.so.1" {print $NF; exit}')
mapfile -t modules < <(find "$root$library/lib-dynload" -name '*.so')
mapfile -t libraries < <(
    { echo "$bcc"; echo "$realtime"; ldd "$python" "$bcc" "${modules[@]}" | grep -o '/[^ :]*\.so[^ :]*'; } |
        grep -v "^$root" | sort -u
)
is_unused() {
    local pattern
    for pattern in $unused; do
        # shellcheck disable=SC2053 # a pattern is meant
        [[ $(basename "$1") != $pattern ]] || return 0
    done
    return 1
}
# What only an unused library needs is not needed.
mapfile -t spared < <(
    for path in "${libraries[@]}"; do
        ! is_unused "$path" || ldd "$path" | grep -o '/[^ :]*\.so[^ :]*'
    done | sort -u | while read -r path; do
        used=
        for other in "$python" "${modules[@]}" "${libraries[@]}"; do
            is_unused "$other" || ! objdump -p "$other" | grep -q "NEEDED *$(basename "$path")$" || used=1
        done
        [ -n "$used" ] || echo "$path"
    done
)
imports=$(for path in "${libraries[@]}"; do is_unused "$path" || nm -D --undefined-only "$path"; done |
    awk '{sub(/@.*/, "", $NF); print $NF}' | sort -u)
for path in "${libraries[@]}"; do
    place=$root$(readlink -f "$(dirname "$path")")/$(basename "$path")
    mkdir -p "$(dirname "$place")"
    if is_unused "$path"; then
        work=$(mktemp -d)
        nm -D --defined-only "$path" | awk '{sub(/@.*/, "", $NF); print $NF}' | sort -u |
            comm -12 - <(echo "$imports") |
            awk '{printf ".globl %s\n.type %s, %%function\n%s: .long 0\n", $1, $1, $1}' |
            as -o "$work/empty.o"
        ld -shared -soname "$(basename "$path")" -o "$place" "$work/empty.o"
        strip "$place"
        rm -r "$work"
    elif [[ " ${spared[*]} " != *" $path "* ]]; then
        cp "$path" "$place"
    fi
done
# The linker on arm64 is named by a path of its own in every program; ldd printed it as well.
cp -a --parents /etc/ld.so.conf /etc/ld.so.conf.d "$root"
ldconfig -r "$root"
rm -rf "$root"/etc/ld.so.conf* "$root/var/cache/ldconfig"

# What scanners of images read, and the licences: of each package something was taken from.
for path in "$python" "$library/os.py" /usr/lib/python3/dist-packages/bcc/table.py \
    /usr/lib/python3/dist-packages/{decorator.py,prometheus_client/metrics_core.py} \
    /etc/passwd /usr/lib/os-release "${modules[@]#"$root"}" "${libraries[@]}"; do
    dpkg -S "$(basename "$path")" 2>/dev/null |
        awk -F': ' -v end="/$(basename "$path")" \
            'substr($2, length($2) - length(end) + 1) == end {print $1}' | tr -d ' ' | tr ',' '\n'
done | sed 's/:.*//' | sort -u | while read -r package; do
    dpkg-query -s "$package" >"$root/var/lib/dpkg/status.d/$package"
    copyright=/usr/share/doc/$package/copyright
    [ ! -e "$copyright" ] || cp -L --parents "$copyright" "$root"
done

chroot "$root" /usr/bin/python3 -I -c 'import bcc, hashlib, http.server, prometheus_client, socket'
