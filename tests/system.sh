#!/bin/sh
# usage: system.sh PACKAGE:PROGRAM...
# Installs the Debian packages whose program is missing, where this user may; says so where not.
missing=""
for pair in "$@"; do
    package=${pair%%:*} program=${pair#*:}
    if [ -z "$program" ] || ! PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null 2>&1; then
        missing="$missing $package"
    fi
done
[ -z "$missing" ] && exit 0
if ! command -v apt-get >/dev/null 2>&1; then
    echo "not installed, and no apt-get to install it:$missing" >&2
    exit 1
fi
as=""
if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        as="sudo"
    else
        echo "not installed (run: sudo apt-get install$missing):$missing" >&2
        exit 1
    fi
fi
echo "installing$missing through apt …" >&2
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086  # one word per package
install="$as apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $missing"
$install >/dev/null 2>&1 || { $as apt-get update -qq >/dev/null 2>&1 && $install >/dev/null 2>&1; } || {
    echo "apt-get could not install:$missing" >&2
    exit 1
}
