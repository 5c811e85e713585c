#!/bin/sh
# Install the real peers of the tests with root on Debian; otherwise print what is missing.
# pytest lists the tests that it skips for it.
set -u
wanted="orthanc dcmtk postgresql chromium"
missing=""
# a head CT that may be installed but not be committed (GPL-2): unpacked beside the virtual environment
cranium=.venv/cranium
if [ ! -e "$cranium/Cranium.inv3" ] && command -v apt-get >/dev/null 2>&1; then
    work=$(mktemp -d)
    (
        cd "$work" || exit
        apt-get -qq download invesalius-examples || { [ "$(id -u)" = 0 ] && apt-get -qq update && apt-get -qq download invesalius-examples; }
        dpkg -x invesalius-examples_*.deb unpacked
    ) >/dev/null 2>&1
    mkdir -p "$cranium"
    mv "$work/unpacked/usr/share/doc/invesalius-examples/examples/Cranium.inv3" "$cranium/" 2>/dev/null ||
        echo "no head CT: invesalius-examples could not be fetched; the test that needs it will be skipped"
    rm -rf "$work"
fi
for name in $wanted; do
    dpkg -s "$name" >/dev/null 2>&1 || missing="$missing $name"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing the test peers:$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update >/dev/null 2>&1
    absent=""
    for name in $missing; do # one that cannot be had is no reason to go without the others
        apt-get -qq install -y --no-install-recommends "$name" >/dev/null 2>&1 || absent="$absent $name"
    done
    [ -z "$absent" ] && exit 0
    missing=$absent
fi
echo "not installed:$missing. Tests that need them will be skipped;" \
    "to run them: sudo apt-get install --no-install-recommends$missing"
exit 0
