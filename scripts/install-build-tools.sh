#!/usr/bin/env bash
# Sees to it that the switch can be built: a C compiler (the embedded SQLite is C) and cargo.
# Says nothing and does nothing when both are there. Debian and its children; elsewhere it says what is missing.
set -euo pipefail

say() { printf 'install-build-tools: %s\n' "$*" >&2; }

if ! command -v cargo >/dev/null; then
    say "cargo is not on the PATH; https://rustup.rs installs Rust for this user"
    exit 1
fi

command -v cc >/dev/null && [[ -e /usr/include/stdio.h ]] && exit 0

command -v apt-get >/dev/null || {
    say "a C compiler is missing and this is not Debian: install one, then try again"
    exit 1
}
as_root=()
if [[ $(id -u) -ne 0 ]]; then
    command -v sudo >/dev/null || {
        say "needs root or sudo to install gcc and libc6-dev"
        exit 1
    }
    as_root=(sudo)
fi
say "installing gcc and libc6-dev"
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq update
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends gcc libc6-dev >/dev/null
