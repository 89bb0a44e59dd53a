# Shared by the scenarios that run jobs: `. "$(dirname "$0")/hosts.sh"` after lib.sh.
#
#   transports            which to go through: "pipe libssh ssh", or $TRANSPORTS
#   use TRANSPORT         set $H to a host reached by it (made on first use), and GPURUN_SSH
#   client_bg OUT ERR WORD...   gpurun in the background, its own pid in $bg; stdin from fd 0
#   new_host NAME         an sshd that lets the client's key in, and that the client knows
#   snap_row NAME         what snap ls says of a snapshot
#   job_state JOB         its state, as ps knows it
#   job_field JOB FIELD   a field of it as JSON
#   same FILE FILE WHAT   byte for byte

transports() { echo "${TRANSPORTS:-pipe libssh ssh}"; }

use() {
    unset GPURUN_SSH
    case $1 in
    pipe) H=local ;;
    libssh) H=hlib ;;
    ssh) H=hssh GPURUN_SSH=/usr/bin/ssh ;;
    *) fail "no transport $1" ;;
    esac
    export H
    [ -z "${GPURUN_SSH:-}" ] || export GPURUN_SSH
    [ "$1" != pipe ] || return 0
    [ -f "$client/gpurun/hosts/$H" ] && return 0
    [ -f "$client/.ssh/id_ed25519" ] || client_key
    new_host "$H"
    expect 0 gpurun -q host add "$H" "127.0.0.1:${port[$H]}"
}

new_host() {
    sshd "$1"
    authorize "$1"
    know "$1"
}
snap_row() { gpurun snap ls 2>/dev/null | grep -F " $1 "; }

# Every supervisor descends from a server of ours, or from init: found by its directory.
ps_json() { gpurun --json ps -a 2>/dev/null; }
job_field() {
    ps_json | /usr/bin/python3 -c '
import json, sys
for j in json.load(sys.stdin)["jobs"]:
    if sys.argv[1] in (j["id"], j["name"]):
        print(j[sys.argv[2]])' "$1" "$2"
}
job_state() { job_field "$1" state; }
job_is() { [ "$(job_state "$1")" = "$2" ]; }

same() { cmp "$1" "$2" || fail "$3: $(stat -c %s "$1") bytes against $(stat -c %s "$2")"; }

client_bg() {
    local out=$1 err=$2
    shift 2
    # Now, not when the shell below gets to it: what an earlier client wrote is not its.
    : >"$out"
    : >"$err"
    # exec, so that $! is gpurun itself and no shell around it.
    (exec env -i PATH="$PATH" HOME="$client" GPURUN_HOME="$client/gpurun" LC_ALL=C.UTF-8 TZ=UTC \
        ${GPURUN_SSH:+GPURUN_SSH="$GPURUN_SSH"} "$BUILD/bin/gpurun" "$@") <&0 >"$out" 2>"$err" &
    bg=$!
}

# A mount namespace, ${pid[machine]}, whose only GPU driver is the one in $work/nv, and whose
# device locks are its own. Root.
nv_machine() {
    spawn machine unshare -m bash -ec '
        mount -t tmpfs none /usr/local
        mount -t tmpfs none /run/lock
        mkdir -p /usr/local/nvidia/lib64
        mount --bind "$1/nv" /usr/local/nvidia/lib64
        : >"$1/machine.ready"
        exec sleep 1000' - "$work"
    await 20 "the machine" test -e "$work/machine.ready"
}
