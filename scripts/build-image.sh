#!/usr/bin/env bash
# Build the tracer's image with docker, podman or buildah, and say how to bring it to a cluster.
#
#   IMAGE      name and tag (podtrace-tracer:VERSION)
#   PLATFORM   such as linux/arm64, where it is another than this machine's; the kernel then needs
#              an emulator of that platform's programs
#   BASE       a Debian image to build from, where not the one that the Dockerfile names
#   BUILDER    the command to build with, with its options ("buildah --storage-driver vfs")
#   OUTPUT     also write the image to this file, as a docker archive; compressed if it ends in .gz
#   SOURCE     address of the sources, for a label of the image
#   SOURCE_DATE_EPOCH    the time, in seconds, that the image is said to be of (now)
set -euo pipefail

output=${OUTPUT:-}
case $output in
'' | /*) ;;
*) output=$PWD/$output ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=$(sed -n 's/^VERSION = "\(.*\)"$/\1/p' plugin/podtrace/wire/version.py)
image=${IMAGE:-podtrace-tracer:$version}

# A docker without its daemon builds nothing.
choose_builder() {
    if command -v docker >/dev/null && docker version >/dev/null 2>&1; then
        echo docker
    elif command -v podman >/dev/null; then
        echo podman
    elif command -v buildah >/dev/null; then
        echo buildah
    else
        echo "error: none of docker (with its daemon running), podman and buildah is here" >&2
        echo "Install one of them, such as: apt-get install buildah" >&2
        return 1
    fi
}

# The date of GNU, or that of BSD and macOS.
moment() {
    local seconds=${SOURCE_DATE_EPOCH:-$(date +%s)} form=+%Y-%m-%dT%H:%M:%SZ
    date -u -d "@$seconds" "$form" 2>/dev/null || date -u -r "$seconds" "$form"
}

# The commit, and whether the files are other ones; nothing where these are of no repository, though
# they may lie in another one.
revision() {
    [ ! -e .git ] || git describe --always --abbrev=40 --exclude='*' --dirty 2>/dev/null || true
}

chosen=${BUILDER:-$(choose_builder)}
read -r -a builder <<<"$chosen"
kind=$(basename "${builder[0]}")
# See https://github.com/opencontainers/image-spec/blob/main/annotations.md.
options=(
    --file tracer-image/Dockerfile
    --tag "$image"
    --label "org.opencontainers.image.version=$version"
    --label "org.opencontainers.image.created=$(moment)"
)
commit=$(revision)
[ -z "$commit" ] || options+=(--label "org.opencontainers.image.revision=$commit")
[ -z "${SOURCE:-}" ] || options+=(--label "org.opencontainers.image.source=$SOURCE")
[ -z "${PLATFORM:-}" ] || options+=(--platform "$PLATFORM")
[ -z "${BASE:-}" ] || options+=(--build-arg "BASE=$BASE")
case $kind in
buildah | podman) options+=(--layers) ;;
esac
"${builder[@]}" build "${options[@]}" . || {
    code=$?
    if [ -n "${PLATFORM:-}" ]; then
        echo "If it was an \"exec format error\": programs for $PLATFORM need an emulator here," >&2
        echo "such as: apt-get install qemu-user-static binfmt-support" >&2
    fi
    exit "$code"
}

# Sets `save` to the command that writes the image to a file, which must not be there yet.
set_save() {
    case $kind in
    buildah) save=("${builder[@]}" push "$image" "docker-archive:$1:$image") ;;
    *) save=("${builder[@]}" save "$image" -o "$1") ;;
    esac
}

if [ -n "$output" ]; then
    plain=${output%.gz}
    rm -f "$output" "$plain"
    set_save "$plain"
    "${save[@]}"
    [ "$plain" = "$output" ] || gzip "$plain"
fi

# The name that nodes know an image by has a registry; podman's is localhost where none was given.
case $image in
*.*/* | *:*/* | localhost/*) name=$image ;;
*/*) name=docker.io/$image ;;
*) name=docker.io/library/$image ;;
esac
if [ "$kind" = podman ] && [ "$name" != "$image" ]; then
    name=localhost/$image
fi
file=${output:-podtrace-tracer.tar}
file=${file%.gz}
set_save "$file"
echo
if [ -z "$output" ]; then
    echo "$image is built. As a file, for the nodes of a cluster without a registry:"
    echo "    ${save[*]}"
else
    echo "$image is built, and in $output. To the nodes of a cluster without a registry:"
    # Neither kind nor older versions of ctr read a compressed one.
    [ "$file" = "$output" ] || echo "    gunzip $output"
fi
cat <<TEXT
    kind load image-archive $file
    minikube image load $file
    sudo ctr -n k8s.io images import $file          (on each node; k3s: sudo k3s ctr ...)
    kubectl podtrace --tracer-image $name --image-pull-policy Never ...
For all others, IMAGE=registry/name:tag names it so that it can be pushed:
    ${builder[*]} push registry/name:tag
    kubectl podtrace --tracer-image registry/name:tag ...
TEXT
