#!/usr/bin/env bash
# Installs what the scenario tests and the benchmark talk to: SIPp, sipsak, Kamailio, rtpengine, pytest.
#
#   scripts/install-test-peers.sh            everything
#   scripts/install-test-peers.sh --check    installs nothing; exit 0 when all is there
#
# Debian and its children. Safe to run again: it says nothing and does nothing when all is present.
# Kamailio and rtpengine are wanted as programs, not as services of this machine, so the services that
# their packages bring are kept from starting during the installation and disabled after it.
set -euo pipefail

# Package : a file that proves it is there.
peers=(
    sip-tester:/usr/bin/sipp
    sipsak:/usr/bin/sipsak
    kamailio:/usr/sbin/kamailio
    rtpengine-daemon:/usr/bin/rtpengine
    python3-pytest:/usr/lib/python3/dist-packages/pytest/__init__.py
    gcc:/usr/bin/gcc
    libc6-dev:/usr/include/stdio.h
)
services=(kamailio rtpengine-daemon rtpengine-recording-daemon)

say() { printf 'install-test-peers: %s\n' "$*"; }

installed() {
    local package=${1%%:*} proof=${1#*:}
    [[ -e $proof ]] || dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed
}

missing=()
for peer in "${peers[@]}"; do
    installed "$peer" || missing+=("${peer%%:*}")
done
[[ ${#missing[@]} -eq 0 ]] && exit 0

if [[ ${1:-} == --check ]]; then
    say "missing: ${missing[*]}"
    exit 1
fi
command -v apt-get >/dev/null || {
    say "this script knows Debian's apt-get only; please install by hand: ${missing[*]}" >&2
    exit 1
}

as_root=()
if [[ $(id -u) -ne 0 ]]; then
    command -v sudo >/dev/null || {
        say "needs root or sudo to install: ${missing[*]}" >&2
        exit 1
    }
    as_root=(sudo)
fi

# invoke-rc.d asks this policy before it starts a service; 101 means "not allowed".
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
    say "keeping the packages' services from starting"
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi

say "installing ${missing[*]}"
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@"; }
apt update
apt install --yes --no-install-recommends "${missing[@]}" >/dev/null

for service in "${services[@]}"; do
    if command -v systemctl >/dev/null && [[ -d /run/systemd/system ]]; then
        systemctl cat "$service" >/dev/null 2>&1 || continue
        say "disabling the service $service"
        "${as_root[@]}" systemctl --quiet disable --now "$service"
    elif [[ -e /etc/init.d/$service ]]; then
        say "disabling the service $service"
        "${as_root[@]}" invoke-rc.d --force "$service" stop >/dev/null 2>&1 || true
        "${as_root[@]}" update-rc.d "$service" disable >/dev/null 2>&1 || true
    fi
done
say "done"
