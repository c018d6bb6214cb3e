#!/usr/bin/env bash
# Installs what the scenario tests and the benchmark talk to: SIPp, sipsak, SIPVicious, Kamailio, rtpengine, baresip,
# pytest from Debian; Asterisk from a newer Debian in a folder of its own; pjsua2 from PyPI in a folder of its own.
#
#   scripts/install-test-peers.sh            everything
#   scripts/install-test-peers.sh --check    installs nothing; exit 0 when all is there
#   scripts/install-test-peers.sh --versions prints what is there, for docs/interoperation.md
#
# Debian and its children. Safe to run again: it says nothing and does nothing when all is present. Without Asterisk or
# pjsua2 it still ends well, for a mirror may not have them: their tests are skipped then, with the reason.
# Kamailio and rtpengine are wanted as programs, not as services of this machine, so the services that
# their packages bring are kept from starting during the installation and disabled after it.
set -euo pipefail

# Package : a file that proves it is there.
peers=(
    sip-tester:/usr/bin/sipp
    sipsak:/usr/bin/sipsak
    sipvicious:/usr/share/doc/sipvicious/copyright
    kamailio:/usr/sbin/kamailio
    kamailio-tls-modules:/usr/share/doc/kamailio-tls-modules/copyright
    rtpengine-daemon:/usr/bin/rtpengine
    baresip-core:/usr/bin/baresip
    debootstrap:/usr/sbin/debootstrap
    openssl:/usr/bin/openssl
    python3-pip:/usr/lib/python3/dist-packages/pip/__init__.py
    python3-openssl:/usr/lib/python3/dist-packages/OpenSSL/SSL.py
    python3-pylibsrtp:/usr/lib/python3/dist-packages/pylibsrtp/__init__.py
    libopus0:/usr/lib/x86_64-linux-gnu/libopus.so.0
    libspandsp2:/usr/lib/x86_64-linux-gnu/libspandsp.so.2
    python3-pytest:/usr/lib/python3/dist-packages/pytest/__init__.py
    python3-pytest-xdist:/usr/lib/python3/dist-packages/xdist/__init__.py
    iproute2:/usr/sbin/ip
    gcc:/usr/bin/gcc
    libc6-dev:/usr/include/stdio.h
)
services=(kamailio rtpengine-daemon rtpengine-recording-daemon)
cd "$(dirname "$0")/.."
# What is not a package of this Debian lies here, outside the checkout and for all of this user's checkouts.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/strowger-test-peers
pjsua2_wanted=tests/interop/pjsua2-requirements.txt
pjsua2=$cache/pjsua2

say() { printf 'install-test-peers: %s\n' "$*"; }

installed() {
    local package=${1%%:*} proof=${1#*:}
    [[ -e $proof ]] || dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed
}

have_pjsua2() { cmp --silent "$pjsua2_wanted" "$pjsua2/installed.txt"; }

if [[ ${1:-} == --versions ]]; then
    for peer in "${peers[@]}"; do
        dpkg-query -W -f '${Package} ${Version}\n' "${peer%%:*}" 2>/dev/null || true
    done
    if newer=$(scripts/newer-debian.sh --check asterisk); then
        dpkg-query --admindir="$newer/var/lib/dpkg" -W -f '${Package} ${Version} (newer Debian)\n' \
            asterisk kamailio rtpengine-daemon 2>/dev/null || true
    fi
    have_pjsua2 && sed -n 's/^\(pjsua2-python\)==\([^ ]*\).*/\1 \2 (PyPI)/p' "$pjsua2/installed.txt"
    exit 0
fi

missing=()
for peer in "${peers[@]}"; do
    installed "$peer" || missing+=("${peer%%:*}")
done
if [[ ${1:-} == --check ]]; then
    scripts/newer-debian.sh --check asterisk >/dev/null || missing+=("asterisk (newer Debian)")
    have_pjsua2 || missing+=("pjsua2 (PyPI)")
    [[ ${#missing[@]} -eq 0 ]] && exit 0
    say "missing: ${missing[*]}"
    exit 1
fi

# What comes from elsewhere than this Debian. Each ends well or leaves a sentence in $cache/NAME.reason.
install_from_elsewhere() {
    # Loudly, but not fatally: the script has said why.
    scripts/newer-debian.sh asterisk >/dev/null || say "Asterisk is not to be had; its tests will be skipped" >&2
    have_pjsua2 && return
    mkdir -p "$cache"
    rm -rf "$pjsua2" "$pjsua2.part"
    say "installing pjsua2 in $pjsua2"
    if timeout 300 /usr/bin/python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
        --no-deps --only-binary :all: --require-hashes --target "$pjsua2.part" -r "$pjsua2_wanted" 2>"$cache/pip.log"; then
        cp "$pjsua2_wanted" "$pjsua2.part/installed.txt"
        mv "$pjsua2.part" "$pjsua2"
        rm -f "$pjsua2.reason"
    else
        printf 'pip has no pjsua2 for this Python: %s\n' "$(tail -1 "$cache/pip.log")" >"$pjsua2.reason"
        say "$(<"$pjsua2.reason"); its tests will be skipped" >&2
    fi
}
if [[ ${#missing[@]} -eq 0 ]]; then
    install_from_elsewhere
    exit 0
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
# A mirror that stumbles is asked again; one that hangs does not hang the tests.
apt() {
    timeout 900 "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 \
        -o Acquire::Retries=3 -o Acquire::http::Timeout=30 "$@"
}
apt update || apt update
apt install --yes --no-install-recommends "${missing[@]}" >/dev/null ||
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
install_from_elsewhere
say "done"
