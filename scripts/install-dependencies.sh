#!/usr/bin/env bash
# Install what podtrace needs from the distribution and what is not there yet.
#
#   scripts/install-dependencies.sh NAME...
#
#   python     a Python >= 3.11 that can make virtual environments; PYTHON names it (python3)
#   bcc        BCC for the system's Python, which runs the tracer
#   metrics    prometheus_client for the system's Python: what the tracer's --metrics needs
#   compiler   a C compiler: the tests' fastest workloads are in C
#   capabilities  what gives a file capabilities: the launcher's
#   network    the ip command: the tests build links
#   pahole     an independent reader of BTF, for the tests
#   openssl    what makes the tests' certificates
#   prometheus what scrapes the metrics in tests, and checks the files for it; the tests start their
#              own, and leave the service that Debian's package starts alone
#   strace     what the tests ask which files were opened
#   bpftrace   what the benchmarks compare with
#   cluster    what a Kubernetes on this machine stands on
#   images     what builds container images, and their base where no registry answers
#   emulation  what runs programs for arm64
#   kernels    what boots other kernels, and makes what they need
#   terminal   a terminal whose screen tests can read
#   browser    what draws the documents' pictures
#   release    what the files of a release are made and tested with
#
# What works already is left alone.
set -euo pipefail

readonly python=${PYTHON:-python3}
readonly system_python=/usr/bin/python3

declare -rA packages=(
    [python]="python3 python3-venv"
    [bcc]="python3-bpfcc"
    [metrics]="python3-prometheus-client"
    [compiler]="gcc libc6-dev"
    [capabilities]="libcap2-bin"
    [network]="iproute2"
    [pahole]="pahole"
    [prometheus]="prometheus"
    [strace]="strace"
    [bpftrace]="bpftrace"
    [openssl]="openssl"
    [cluster]="etcd-server containerd runc containernetworking-plugins nftables"
    [images]="buildah mmdebstrap"
    [emulation]="qemu-user-static arch-test"
    [kernels]="qemu-system-x86 mmdebstrap e2fsprogs"
    [terminal]="tmux"
    [browser]="chromium fonts-dejavu-core"
    [release]="mmdebstrap debian-archive-keyring dpkg-dev patch binutils git"
)

has_python() {
    "$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# The PyPI project named bcc is an unrelated library: only the distribution's package has tables.
has_bcc() {
    "$system_python" -I -c 'import importlib.util as u; u.find_spec("bcc.table") or exit(1)' \
        2>/dev/null
}

has_metrics() {
    "$system_python" -I -c 'import prometheus_client' 2>/dev/null
}

has_compiler() {
    echo 'int main(void) { return 0; }' | cc -x c -o /dev/null - 2>/dev/null
}

has_capabilities() {
    PATH=$PATH:/sbin:/usr/sbin command -v setcap >/dev/null
}

has_network() {
    command -v ip >/dev/null
}

has_pahole() {
    command -v pahole >/dev/null
}

has_prometheus() {
    command -v prometheus >/dev/null && command -v promtool >/dev/null
}

has_openssl() {
    command -v openssl >/dev/null
}

has_strace() {
    command -v strace >/dev/null
}

has_bpftrace() {
    command -v bpftrace >/dev/null
}

has_cluster() {
    local program
    for program in etcd containerd ctr runc nft; do
        command -v "$program" >/dev/null || return
    done
    [[ -x /usr/lib/cni/ptp ]]
}

has_images() {
    command -v buildah >/dev/null && command -v mmdebstrap >/dev/null
}

has_emulation() {
    [[ $(uname -m) == aarch64 ]] ||
        { command -v arch-test && command -v qemu-aarch64-static; } >/dev/null
}

has_kernels() {
    command -v qemu-system-x86_64 >/dev/null && command -v mmdebstrap >/dev/null &&
        PATH=$PATH:/sbin:/usr/sbin command -v mke2fs >/dev/null
}

has_terminal() {
    command -v tmux >/dev/null
}

has_browser() {
    command -v chromium >/dev/null
}

has_release() {
    local program
    for program in mmdebstrap dpkg-source patch objdump git; do
        command -v "$program" >/dev/null || return
    done
    [[ -e /usr/share/keyrings/debian-archive-keyring.gpg ]]
}

refuse() {
    echo "error: not installed: $* (Debian's names)" >&2
    if command -v apt-get >/dev/null; then
        echo "Run as root: apt-get install --no-install-recommends $*" >&2
    else
        echo "Install them with this distribution's package manager. BCC's Python package is called" >&2
        echo "python3-bcc on Fedora, RHEL and openSUSE, python-bcc on Arch, py3-bcc on Alpine." >&2
    fi
    exit 1
}

install() {
    local options=(-qq -y --no-install-recommends -o Acquire::Retries=2 -o Acquire::http::Timeout=30)
    local output
    export DEBIAN_FRONTEND=noninteractive
    echo "installing $*" >&2
    # Package lists that are there and recent save the update.
    apt-get install "${options[@]}" "$@" </dev/null >/dev/null 2>&1 && return
    apt-get update -qq -o Acquire::http::Timeout=30 </dev/null >&2 ||
        echo "warning: some package lists could not be updated" >&2
    if ! output=$(apt-get install "${options[@]}" "$@" </dev/null 2>&1); then
        printf '%s\nerror: apt-get could not install %s\n' "$output" "$*" >&2
        exit 1
    fi
}

needs=()
missing=()
for need in "$@"; do
    if [[ -z ${packages[$need]:-} ]]; then
        echo "error: no dependency is called $need; there are: ${!packages[*]}" >&2
        exit 2
    fi
    if ! "has_$need"; then
        needs+=("$need")
        read -ra names <<<"${packages[$need]}"
        missing+=("${names[@]}")
    fi
done
((${#missing[@]})) || exit 0

if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
    refuse "${missing[@]}"
fi
install "${missing[@]}"
for need in "${needs[@]}"; do
    if ! "has_$need"; then
        echo "error: ${packages[$need]} installed, and still no usable $need" >&2
        [[ $need != python ]] ||
            echo "podtrace needs Python >= 3.11; name another one: make PYTHON=python3.12" >&2
        exit 1
    fi
done
