#!/bin/sh
# The real peers that the tests speak to. With root on Debian they are installed; otherwise this says
# what is missing, and pytest says which tests it skipped for it.
set -u
wanted="orthanc dcmtk"
missing=""
for name in $wanted; do
    dpkg -s "$name" >/dev/null 2>&1 || missing="$missing $name"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing the test peers:$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update >/dev/null 2>&1
    if apt-get -qq install -y --no-install-recommends $missing >/dev/null 2>&1; then
        exit 0
    fi
fi
echo "not installed:$missing. Tests that need them will be skipped;" \
    "to run them: sudo apt-get install --no-install-recommends$missing"
exit 0
