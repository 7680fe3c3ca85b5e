#!/usr/bin/env bash
# Make the guests' root file system: Debian's Python with BCC, what the plugin and the tests need,
# and in /image what the tracer's image holds, assembled as its Dockerfile does.
#
# usage: debian-root.sh FOLDER IMAGE     as root; the packages are those of the Dockerfile's suite
set -euo pipefail

root=$1
image=$2
tracer_image=$(cd "$(dirname "$0")/../../../tracer-image" && pwd)
suite=$(sed -n 's|^ARG BASE=.*debian:\([a-z]*\).*|\1|p' "$tracer_image/Dockerfile")

# Third-party sources of the machine are not for the guests, its settings of apt are.
sources=/etc/apt/sources.list.d/debian.sources
[[ -e $sources ]] || sources=/etc/apt/sources.list
settings=$(mktemp)
trap 'rm -f "$settings"' EXIT
apt-config dump | grep -E '^Acquire::(Check-|https?::|Force|Languages|Retries)' >"$settings" || true

packages=(
    # the tracer's, and what its image is assembled with
    python3-bpfcc python3-prometheus-client binutils
    # the plugin's
    python3-click python3-rich python3-yaml
    # the tests'
    python3-jsonschema python3-pytest python3-pytest-timeout iproute2 mount util-linux
    # the initial file system's
    busybox-static
)
include=$(
    IFS=,
    echo "${packages[*]}"
)

# Without that hook usrmerge comes, and brings Perl.
mmdebstrap --quiet --variant=apt --mode=root --format=directory --include="$include" \
    --hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr \
    --aptopt="$settings" \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook="copy-in '$tracer_image/assemble-root.sh' /" \
    --customize-hook='chroot "$1" /assemble-root.sh /image && rm "$1/assemble-root.sh"' \
    --customize-hook='mkdir -p "$1/image/podtrace" "$1/podtrace" "$1/guest"' \
    "$suite" "$root" "$sources"

# Room for what the tests write; the file is sparse.
truncate --size=3G "$image"
mke2fs -q -t ext4 -O ^has_journal -E lazy_itable_init=1 -m 0 -d "$root" "$image"
