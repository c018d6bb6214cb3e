#!/usr/bin/env bash
# A newer Debian in a folder (a chroot), for peers that this Debian lacks or has in an old version only.
#
#   scripts/newer-debian.sh PACKAGE...           sees to it that the packages are in it; prints its folder
#   scripts/newer-debian.sh --check PACKAGE...   installs nothing; exit 0 and the folder when all is there
#
# It is made once, outside the checkout, and serves every checkout of this user; packages are added as they are asked for.
# A program in it is run with `chroot FOLDER PROGRAM` by root. Nothing is mounted in it and no service is started.
# DEBIAN_MIRROR and DEBIAN_SUITES say where it comes from; the first suite that can be had is taken, and stays.
set -euo pipefail

mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
read -r -a suites <<<"${DEBIAN_SUITES:-forky sid}"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/strowger-test-peers
folder=$cache/newer-debian
# A mirror that hangs must not hang a test run; on two busy cores the whole takes about two minutes.
minutes_at_most=12

say() { printf 'newer-debian: %s\n' "$*" >&2; }
# The tests that cannot run without it show this sentence as the reason.
give_up() {
    mkdir -p "$cache" && printf '%s\n' "$*" >"$folder.reason"
    say "$*"
    exit 1
}

check=no
if [[ ${1:-} == --check ]]; then
    check=yes
    shift
fi
[[ $# -gt 0 ]] || {
    say "name at least one package"
    exit 2
}

missing() {
    local package
    for package in "$@"; do
        dpkg-query --admindir="$folder/var/lib/dpkg" -W -f '${db:Status-Status}\n' "$package" 2>/dev/null |
            grep -qx installed || printf '%s\n' "$package"
    done
}
all_there() { [[ -d $folder ]] && [[ -z $(missing "$@") ]]; }

if [[ $check == yes ]]; then
    all_there "$@" || exit 1
    printf '%s\n' "$folder"
    exit 0
fi

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9 # two checkouts may be at it at the same time
if all_there "$@"; then
    rm -f "$folder.reason"
    printf '%s\n' "$folder"
    exit 0
fi

as_root=()
if [[ $(id -u) -ne 0 ]]; then
    command -v sudo >/dev/null || give_up "a newer Debian in a folder needs root or sudo to be made"
    as_root=(sudo)
fi
script=/usr/share/debootstrap/scripts/sid # one script serves all suites since 2005; old debootstraps lack the new names
[[ -e $script ]] || give_up "debootstrap is missing, so there is no newer Debian for: $*"

bounded() { timeout --kill-after=10 "${minutes_at_most}m" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "$@"; }

if [[ ! -d $folder ]]; then
    part=$folder.part
    for suite in "${suites[@]}"; do
        say "making a chroot of Debian $suite in $folder; this takes a minute or two, once"
        "${as_root[@]}" rm -rf "$part"
        if bounded debootstrap --variant=minbase "$suite" "$part" "$mirror" "$script" >"$cache/debootstrap.log" 2>&1; then
            # invoke-rc.d asks this policy before it starts a service; 101 means "not allowed".
            printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$part/usr/sbin/policy-rc.d" >/dev/null
            "${as_root[@]}" chmod 755 "$part/usr/sbin/policy-rc.d"
            printf 'path-exclude=%s\n' '/usr/share/doc/*' '/usr/share/man/*' '/usr/share/locale/*' |
                "${as_root[@]}" tee "$part/etc/dpkg/dpkg.cfg.d/lean" >/dev/null
            "${as_root[@]}" mv "$part" "$folder"
            break
        fi
        say "$suite: $(grep -v '^I:' "$cache/debootstrap.log" | tail -1)"
        "${as_root[@]}" rm -rf "$part"
    done
    [[ -d $folder ]] ||
        give_up "debootstrap of ${suites[*]} from $mirror failed: $(grep -v '^I:' "$cache/debootstrap.log" | tail -1)"
fi

mapfile -t wanted < <(missing "$@")
if [[ ${#wanted[@]} -gt 0 ]]; then
    say "installing in $folder: ${wanted[*]}"
    "${as_root[@]}" cp /etc/resolv.conf "$folder/etc/resolv.conf"
    # A mirror that is a snapshot serves lists past their date; their signatures are checked all the same.
    apt=(chroot "$folder" apt-get -qq -o Dpkg::Use-Pty=0 -o Acquire::Retries=3 -o Acquire::http::Timeout=30
        -o Acquire::Check-Valid-Until=false)
    install() {
        bounded "${apt[@]}" update && bounded "${apt[@]}" install --yes --no-install-recommends "${wanted[@]}"
    }
    # A package may be out of one suite for a while, as Asterisk often is; then the other suites are asked too.
    others() {
        printf "deb $mirror %s main\n" "${suites[@]}" |
            "${as_root[@]}" tee "$folder/etc/apt/sources.list" >/dev/null
    }
    if ! { install || { others && install; }; } >"$cache/newer-debian.log" 2>&1; then
        give_up "installing ${wanted[*]} in $folder failed: $(grep -E '^[EW]:' "$cache/newer-debian.log" | tail -1)"
    fi
    "${as_root[@]}" chroot "$folder" apt-get clean
fi
rm -f "$folder.reason"
printf '%s\n' "$folder"
