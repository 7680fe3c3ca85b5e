#!/usr/bin/env bash
# Make docker.io/library/debian:SUITE-slim in buildah's storage from this machine's own mirror.
#
# Where no registry can be reached, an image build still needs the base that it names. This one
# holds what the published image holds, as far as a build can tell: a minimal system with apt, and
# no documentation but licences. Sources and settings of apt come from this machine, because a mirror that
# answers here may need them.
#
# For another architecture than this machine's, the kernel has to know an emulator of its programs.
#
# usage: debian-image.sh [SUITE [ARCHITECTURE]]
#        as root; does nothing if the image is there, made by this script as it is
set -euo pipefail

suite=${1:-bookworm}
architecture=${2:-$(dpkg --print-architecture)}
name=docker.io/library/debian:$suite-slim
[[ $architecture == "$(dpkg --print-architecture)" ]] ||
    name=docker.io/podtrace/debian-$architecture:$suite-slim
store=(buildah --storage-driver "${STORAGE_DRIVER:-vfs}")

label=podtrace.made-by
script=$(sha256sum <"$0" | cut -c 1-16)
made_by=$("${store[@]}" inspect --type image --format "{{index .OCIv1.Config.Labels \"$label\"}}" \
    "$name" 2>/dev/null || true)
if [[ $made_by == "$script" ]]; then
    exit 0
fi

folder=$(mktemp -d)
container=
finish() {
    [[ -z $container ]] || "${store[@]}" rm "$container" >/dev/null
    rm -rf "$folder"
}
trap finish EXIT

# Third-party sources of the machine are not for the base.
sources=/etc/apt/sources.list.d/debian.sources
[[ -e $sources ]] || sources=/etc/apt/sources.list
apt-config dump | grep -E '^Acquire::(Check-|https?::|Force|Languages|Retries)' \
    >"$folder/90mirror" || true
# As in the published image: packages are not kept once they are installed.
cat >"$folder/docker-clean" <<'END'
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
END
options=()
if grep -q https: "$sources"; then
    options+=(--include=ca-certificates)
fi

# Without that hook usrmerge comes, and brings Perl.
mmdebstrap --quiet --variant=minbase --mode=root "${options[@]}" --architectures="$architecture" \
    --hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr \
    --aptopt="$folder/90mirror" \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$suite" "$folder/root" "$sources"
mv "$folder/90mirror" "$folder/docker-clean" "$folder/root/etc/apt/apt.conf.d/"

container=$("${store[@]}" from scratch)
"${store[@]}" add --quiet "$container" "$folder/root" / >/dev/null
"${store[@]}" config --cmd bash --arch "$architecture" --label "$label=$script" \
    --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
"${store[@]}" commit --quiet "$container" "$name" >/dev/null
