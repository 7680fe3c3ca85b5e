#!/usr/bin/env bash
# Build the tracer's image with docker, podman or buildah, and say how to bring it to a cluster.
#
#   IMAGE      name and tag (podtrace-tracer:VERSION)
#   PLATFORM   such as linux/arm64, where it is another than this machine's; the kernel then needs
#              an emulator of that platform's programs
#   BASE       a Debian image to build from, where not the one that the Dockerfile names
#   BUILDER    the command to build with, with its options ("buildah --storage-driver vfs")
#   OUTPUT     also write the image to this file, as a docker archive
set -euo pipefail

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

read -r -a builder <<<"${BUILDER:-$(choose_builder)}"
options=(
    --file tracer-image/Dockerfile
    --tag "$image"
    --build-arg "VERSION=$version"
    --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || true)"
)
[ -z "${PLATFORM:-}" ] || options+=(--platform "$PLATFORM")
[ -z "${BASE:-}" ] || options+=(--build-arg "BASE=$BASE")
case $(basename "${builder[0]}") in
buildah) build=(build --layers) ;;
podman) build=(build --layers) ;;
*) build=(build) ;;
esac
"${builder[@]}" "${build[@]}" "${options[@]}" . || {
    code=$?
    if [ -n "${PLATFORM:-}" ]; then
        echo "If it was an \"exec format error\": programs for $PLATFORM need an emulator here," >&2
        echo "such as: apt-get install qemu-user-static binfmt-support" >&2
    fi
    exit "$code"
}

case $(basename "${builder[0]}") in
buildah) save="${builder[*]} push $image docker-archive:podtrace-tracer.tar:$image" ;;
*) save="${builder[*]} save $image -o podtrace-tracer.tar" ;;
esac
if [ -n "${OUTPUT:-}" ]; then
    rm -f "$OUTPUT"
    read -r -a command <<<"${save//podtrace-tracer.tar/$OUTPUT}"
    "${command[@]}"
fi

# The name that nodes know an image by has a registry; podman's is localhost where none was given.
case $image in
*.*/* | *:*/* | localhost/*) name=$image ;;
*/*) name=docker.io/$image ;;
*) name=docker.io/library/$image ;;
esac
if [ "$(basename "${builder[0]}")" = podman ] && [ "$name" != "$image" ]; then
    name=localhost/$image
fi
cat <<TEXT

$image is built. As a file, for the nodes of a test cluster:
    $save
    kind load image-archive podtrace-tracer.tar
    minikube image load podtrace-tracer.tar
    sudo ctr -n k8s.io images import podtrace-tracer.tar          (on each node)
    kubectl podtrace --tracer-image $name --image-pull-policy Never ...
For all others, IMAGE=registry/name:tag names it so that it can be pushed:
    ${builder[*]} push registry/name:tag
    kubectl podtrace --tracer-image registry/name:tag ...
TEXT
