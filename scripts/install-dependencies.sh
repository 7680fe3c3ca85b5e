#!/usr/bin/env bash
# Install what podtrace needs from the distribution and what is not there yet.
#
#   scripts/install-dependencies.sh python   a Python >= 3.11 that can make virtual environments
#   scripts/install-dependencies.sh bcc      BCC for the system's Python, which runs the tracer
#
# PYTHON names the first of the two, python3 by default. Nothing is touched that works already.
set -euo pipefail

readonly python=${PYTHON:-python3}
readonly system_python=/usr/bin/python3

has_python() {
    "$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# The PyPI project named bcc is an unrelated library: only the distribution's package has BPF.
has_bcc() {
    "$system_python" -I -S -c '
import sys, sysconfig
from importlib.machinery import PathFinder
paths = ["/usr/lib/python3/dist-packages", *sysconfig.get_paths().values()]
spec = PathFinder.find_spec("bcc", paths)
sys.exit(spec is None or PathFinder.find_spec("table", spec.submodule_search_locations) is None)
' 2>/dev/null
}

explain() {
    local packages=$1
    if ! command -v apt-get >/dev/null; then
        echo "error: not installed: $packages (the names of Debian's packages)" >&2
        echo "Install them with this distribution's package manager; BCC's Python package is" >&2
        echo "python3-bcc on Fedora, RHEL and openSUSE, python-bcc on Arch, py3-bcc on Alpine." >&2
    else
        echo "error: not installed: $packages" >&2
        echo "Run as root: apt-get install --no-install-recommends $packages" >&2
    fi
}

install() {
    local options=(-qq -y --no-install-recommends -o Acquire::Retries=2 -o Acquire::http::Timeout=30)
    export DEBIAN_FRONTEND=noninteractive
    echo "installing $*" >&2
    # Package lists that are there and fresh enough save the update, which is the slow part.
    apt-get install "${options[@]}" "$@" >&2 </dev/null 2>/dev/null && return
    apt-get update -qq -o Acquire::http::Timeout=30 >&2 ||
        echo "warning: some package lists could not be updated" >&2
    apt-get install "${options[@]}" "$@" >&2 </dev/null
}

missing=()
for need in "$@"; do
    case $need in
    python) has_python || missing+=(python3 python3-venv) ;;
    bcc) has_bcc || missing+=(python3-bpfcc) ;;
    *)
        echo "error: unknown dependency $need; known: python, bcc" >&2
        exit 2
        ;;
    esac
done
((${#missing[@]})) || exit 0

if ! command -v apt-get >/dev/null || ((EUID != 0)); then
    explain "${missing[*]}"
    exit 1
fi
install "${missing[@]}"
for need in "$@"; do
    if ! "has_$need"; then
        echo "error: ${missing[*]} installed, but $need is still not usable" >&2
        [[ $need != python ]] ||
            echo "podtrace needs Python >= 3.11; name another one: make PYTHON=python3.12" >&2
        exit 1
    fi
done
