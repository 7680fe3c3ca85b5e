#!/bin/bash
# Make docker.io/library/debian:SUITE-slim in buildah's storage from this machine's own mirror.
#
# Where no registry can be reached, an image build still needs the base that it names. This one
# holds what the published image holds, as far as a build can tell: a minimal system with apt, and
# no documentation. Sources and settings of apt come from this machine, because a mirror that
# answers here may need them.
#
# usage: debian-image.sh [SUITE]     bookworm by default; as root; does nothing if it is there
set -euo pipefail

suite=${1:-bookworm}
name=docker.io/library/debian:$suite-slim
store=(buildah --storage-driver "${STORAGE_DRIVER:-vfs}")

if "${store[@]}" inspect --type image "$name" >/dev/null 2>&1; then
    exit 0
fi

folder=$(mktemp -d)
container=
finish() {
    [ -z "$container" ] || "${store[@]}" rm "$container" >/dev/null
    rm -rf "$folder"
}
trap finish EXIT

# Third-party sources of the machine are not for the base.
sources=/etc/apt/sources.list.d/debian.sources
[ -e "$sources" ] || sources=/etc/apt/sources.list
options=()
for file in /etc/apt/apt.conf /etc/apt/apt.conf.d/*; do
    if [ -e "$file" ] && grep -qE '^[[:space:]]*Acquire::' "$file" && ! grep -q GzipIndexes "$file"; then
        cat "$file" >>"$folder/mirror"
    fi
done
[ ! -e "$folder/mirror" ] || options+=(
    --aptopt="$folder/mirror"
    --customize-hook="copy-in $folder/mirror /etc/apt/apt.conf.d"
    --customize-hook="mv \"\$1/etc/apt/apt.conf.d/mirror\" \"\$1/etc/apt/apt.conf.d/90mirror\""
)

mmdebstrap --quiet --variant=minbase --mode=root "${options[@]}" \
    --include=ca-certificates \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$suite" "$folder/root.tar" "$sources"

container=$("${store[@]}" from scratch)
"${store[@]}" add --quiet "$container" "$folder/root.tar" / >/dev/null
"${store[@]}" config --cmd bash --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
"${store[@]}" commit --quiet "$container" "$name" >/dev/null
