#!/usr/bin/env bash
# Make a Debian as a new user of podtrace has it: Python, BCC, pipx and git, nothing of podtrace.
#
# usage: fresh-debian.sh FOLDER [SUITE]     as root
set -euo pipefail

root=$1
suite=${2:-bookworm}

# Third-party sources of the machine are not for a fresh one, its settings of apt are.
sources=/etc/apt/sources.list.d/debian.sources
[[ -e $sources ]] || sources=/etc/apt/sources.list
settings=$(mktemp)
trap 'rm -f "$settings"' EXIT
apt-config dump | grep -E '^Acquire::(Check-|https?::|Force|Languages|Retries)' >"$settings" || true

# Without that hook usrmerge comes, and brings Perl.
mmdebstrap --quiet --variant=apt --mode=root --format=directory \
    --include=ca-certificates,git,make,pipx,python3-bpfcc,python3-venv \
    --hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr \
    --aptopt="$settings" \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$suite" "$root" "$sources"
