#!/usr/bin/env bash
# Make a Debian as a new user of podtrace has it: nothing of podtrace, and the packages named.
#
# usage: fresh-debian.sh FOLDER SUITE PACKAGE...     as root
set -euo pipefail

root=$1
suite=$2
shift 2

# The mirror is this machine's own, its third-party sources are not for a fresh one.
mirror=$({ grep -hoE 'https?://[^] ]+/debian/?( |$)' /etc/apt/sources.list.d/debian.sources \
    /etc/apt/sources.list 2>/dev/null || true; } | sed '$a http://deb.debian.org/debian' | head -n 1)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
settings=$(mktemp)
trap 'rm -f "$settings"' EXIT
apt-config dump | grep -E '^Acquire::(Check-|https?::|Force|Languages|Retries)' >"$settings" || true

# Without that hook usrmerge comes, and brings Perl.
mmdebstrap --quiet --variant=apt --mode=root --format=directory \
    --include="$(
        IFS=,
        echo "$*"
    )" \
    --hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr \
    --aptopt="$settings" \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$suite" "$root" "deb [signed-by=$keyring] $mirror $suite main"
