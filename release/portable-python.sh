#!/usr/bin/env bash
# Make the Python that the archive for Linux is frozen with, for old systems: on Debian 11, whose
# glibc is 2.31, with everything else that it needs linked into it.
#
#   release/portable-python.sh FOLDER     as root; FOLDER/bin/python3 is it
#
# Python, OpenSSL and zlib are those of Debian stable with its security fixes, which FOLDER/SOURCES
# lists. All are verified with Debian's keys.
set -euo pipefail

readonly old=bullseye
readonly stable=trixie
readonly python=python3.13
readonly keyring=/usr/share/keyrings/debian-archive-keyring.gpg

folder=$1
if ((EUID != 0)); then
    echo "error: a Debian $old is unpacked and entered, which takes root: run it with sudo" >&2
    exit 1
fi
if ! command -v mmdebstrap >/dev/null || [[ ! -e $keyring ]]; then
    echo "error: it needs: apt-get install mmdebstrap debian-archive-keyring" >&2
    exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A mirror that answers here may need this machine's settings of apt.
mirror() {
    { grep -hoE "https?://[^] ]+/$1/?( |$)" /etc/apt/sources.list.d/debian.sources \
        /etc/apt/sources.list 2>/dev/null || true; } | sed "\$a http://deb.debian.org/$1" | head -n 1
}
archive=$(mirror debian)
security=$(mirror debian-security)
apt-config dump | grep -E '^Acquire::(Check-|https?::|Force|Retries)' >"$work/settings" || true

fetch() {
    local package=$1 version
    # A mirror may list a newer version than it has.
    while read -r version; do
        if (cd "$work/sources" && apt-get source -qq --download-only "$package=$version") \
            >>"$work/fetched" 2>&1; then
            echo "$package $version" >>"$work/SOURCES"
            return
        fi
    done < <(apt-cache showsrc --only-source "$package" | sed -n 's/^Version: //p' | sort -Vru)
    echo "error: the source of Debian's $package cannot be fetched from $archive:" >&2
    tail -n 5 "$work/fetched" >&2
    return 1
}

mkdir -p "$work"/{sources,apt/lists/partial,apt/cache/archives/partial}
touch "$work/apt/status"
for entry in "$archive $stable" "$security $stable-security"; do
    echo "deb-src [signed-by=$keyring] $entry main"
done >"$work/apt/sources.list"
cat "$work/settings" - >"$work/apt/apt.conf" <<END
Dir::State "$work/apt";
Dir::State::lists "$work/apt/lists";
Dir::State::status "$work/apt/status";
Dir::Cache "$work/apt/cache";
Dir::Etc::sourcelist "$work/apt/sources.list";
Dir::Etc::sourceparts "-";
APT::Sandbox::User "root";
END
(
    export APT_CONFIG=$work/apt/apt.conf
    apt-get update -qq --error-on=any
    for package in "$python" openssl zlib; do
        fetch "$package"
    done
)

mmdebstrap --quiet --variant=apt --mode=root --format=directory \
    --include=gcc,libc6-dev,make,patchelf,perl,libffi-dev \
    --aptopt="$work/settings" \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$old" "$work/root" "deb [signed-by=$keyring] $archive $old main"

build=$work/root/build
mkdir -p "$build"/{python,openssl,zlib}
for name in python openssl zlib; do
    tar -xf "$work/sources/$name"*.orig.tar.?z --strip-components=1 -C "$build/$name"
done
# Debian's Python is laid out for a distribution: of that series only the fixes are wanted.
declare -A fixes=([python]='^(CVE-|ssl-|dict-|traverse-)' [openssl]='^[^#]')
for name in python openssl; do
    mkdir -p "$work/debian/$name"
    tar -xf "$work/sources/$name"*.debian.tar.xz -C "$work/debian/$name" --strip-components=1
    { grep -E "${fixes[$name]}" "$work/debian/$name/patches/series" || true; } |
        while read -r fix; do
            patch -s -p1 --fuzz=0 -d "$build/$name" <"$work/debian/$name/patches/$fix"
            echo "$name $fix" >>"$work/SOURCES"
        done
done

cat >"$build/build.sh" <<'END'
set -eux
jobs=-j$(nproc)
cd /build/zlib
CFLAGS='-O2 -fPIC' ./configure --static --prefix=/build/libraries
make "$jobs" libz.a install
cd /build/openssl
case $(uname -m) in
x86_64) target=linux-x86_64 ;;
aarch64) target=linux-aarch64 ;;
esac
./Configure "$target" --prefix=/build/libraries --libdir=lib --openssldir=/etc/ssl no-shared \
    no-tests no-docs no-apps no-module no-engine no-legacy no-dso no-quic no-dtls no-srp no-psk \
    no-comp
make "$jobs" build_libs
make install_dev
cd /build/python
./configure --prefix=/opt/python --enable-shared --disable-test-modules --with-ensurepip=install \
    --with-openssl=/build/libraries OPT='-DNDEBUG -O3' CFLAGS_NODIST=-fno-semantic-interposition \
    ZLIB_CFLAGS=-I/build/libraries/include ZLIB_LIBS=/build/libraries/lib/libz.a \
    LIBFFI_CFLAGS= LIBFFI_LIBS=-l:libffi.a
make "$jobs"
make install
patchelf --set-rpath '$ORIGIN/../lib' "$(readlink -f /opt/python/bin/python3)"
END
if ! env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$work/root" /bin/sh /build/build.sh >"$work/log" 2>&1 </dev/null; then
    tail -n 40 "$work/log" >&2
    echo "error: Python cannot be built, see above" >&2
    exit 1
fi
# It finds its library by /proc, which is not there inside.
"$work/root/opt/python/bin/python3" -I -c 'import ctypes, ssl, zlib'
cp "$work/SOURCES" "$work/root/opt/python/"
mkdir "$work/root/opt/python/licenses"
for license in python/LICENSE openssl/LICENSE.txt zlib/LICENSE; do
    cp "$build/$license" "$work/root/opt/python/licenses/${license%%/*}"
done
cp "$work/root/usr/share/doc/libffi-dev/copyright" "$work/root/opt/python/licenses/libffi"
mkdir -p "$(dirname "$folder")"
rm -rf "$folder.new"
mv "$work/root/opt/python" "$folder.new"
rm -rf "$folder"
mv "$folder.new" "$folder"
