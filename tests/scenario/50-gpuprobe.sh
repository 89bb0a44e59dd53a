#!/bin/bash
# needs: root
# What gpurun-gpuprobe says of GPUs, with NVIDIA's library substituted by a bind mount in a
# private mount namespace: several cards, MIG, refusing, lying and hanging drivers, none at all.
set -euo pipefail
build=${BUILD:-build/dev}
probe=$(echo "$build"/lib/gpurun/agent/"$(uname -m)"/gpurun-gpuprobe)
library=$build/tests/libs/nvml.so
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAIL: $*"; sed 's/^/    /' "$work/out" 2>/dev/null; exit 1; }

# The place must exist to be mounted over; in the namespace only.
place=/usr/local/nvidia/lib64
ask() {
    cat > "$work/conf"
    unshare -m bash -ec '
        mount -t tmpfs none /usr/local
        mkdir -p "$1"
        cp "$2" "$1/libnvidia-ml.so.1"
        cp "$3" "$1/libnvidia-ml.so.1.conf"
        shift 3
        exec env -i timeout 10 "$@"' - "$place" "$library" "$work/conf" "$work/probe" > "$work/out" 2>"$work/err" ||
        { echo "exit $?" >> "$work/out"; return 1; }
}
cp "$probe" "$work/probe"
has() { grep -qF -- "$1" "$work/out" || fail "no '$1'"; }
hasnt() { ! grep -qF -- "$1" "$work/out" || fail "has '$1'"; }

ask <<'CONF'
driver 550.54.14
cuda 12040
device NVIDIA GeForce RTX 4090|GPU-11111111-2222-3333-4444-555555555555|25757220864|00000000:01:00.0|37|1
device NVIDIA A100-SXM4-80GB|GPU-aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee|85899345920|00000000:41:00.0|0|0
CONF
has nvml=ok
has driver=550.54.14
[ "$(grep -c '^device=' "$work/out")" = 2 ] || fail "not two devices"
has 'name=NVIDIA GeForce RTX 4090'
has 'uuid=GPU-aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee'
has 'busy_percent=37'
has 'n_processes=1'
has 'memory_bytes=85899345920'
has 'capability=8.9'
# No real driver stands behind the substitute: the runtime cannot confirm, and that is no "no".
hasnt 'usable=no'

ask <<'CONF'
device NVIDIA H100 80GB HBM3|GPU-1|85899345920|00000000:01:00.0|5|0
slice NVIDIA H100 80GB HBM3 MIG 1g.10gb|MIG-1|10468982784
slice NVIDIA H100 80GB HBM3 MIG 2g.20gb|MIG-2|20937965568
device NVIDIA H100 80GB HBM3|GPU-2|85899345920|00000000:02:00.0|5|0
CONF
[ "$(grep -c '^device=' "$work/out")" = 4 ] || fail "not two GPUs and two slices"
has 'mig=parent'
has 'mig_parent=GPU-1'
has 'its slices are the devices'
hasnt 'mig_parent=GPU-2'

ask <<'CONF'
fail init 18
CONF
has nvml=failed
has 'Driver/library version mismatch'
hasnt device=

ask <<'CONF'
device NVIDIA GeForce RTX 3090|GPU-1|25757220864|00000000:01:00.0|0|0
device NVIDIA GeForce RTX 3090|GPU-2|25757220864|00000000:02:00.0|0|0
fail device 1 15
CONF
has nvml=failed
has 'GPU 1'
has 'GPU is lost'

# Strings without an end must not be read past their arrays.
ask <<'CONF'
unterminated
device X|Y|1|00000000:01:00.0|0|0
CONF
has nvml=ok
has name=AAAA

# A library that is no library.
echo garbage > "$work/garbage"
library=$work/garbage
ask <<<'' || fail "exit"
has nvml=missing
library=$build/tests/libs/nvml.so

# Hanging: the probe is the caller's to kill, and dies at once when told.
if ask <<<'hang'; then
    fail "a hanging driver was not noticed"
fi
has 'exit 124'

# Nothing at all: no GPU is no error.
env -i "$work/probe" > "$work/out"
has nvml=missing
hasnt device=

# Watching ends with stdin.
mkfifo "$work/watching"
env -i timeout 60 "$work/probe" --watch-ms 100 <"$work/watching" >"$work/watched" &
watcher=$!
exec 7>"$work/watching"
twice() { [ "$(grep -c '^gpurun.probe.v1$' "$work/watched")" -ge 2 ]; }
for ((n = 0; n < 1200; n++)); do
    ! twice || break
    sleep 0.05
done
exec 7>&-
twice || fail "--watch-ms printed no two records in a minute"
wait $watcher || fail "--watch-ms ended with $? when stdin did"
status=0
env -i "$work/probe" --watch-ms 0 > "$work/out" 2>&1 || status=$?
[ "$status" = 100 ] || fail "--watch-ms 0: exit $status"
has '--watch-ms'
