# Shared by the scenarios that set clocks: `. "$(dirname "$0")/clocks.sh"` after lib.sh.
#
#   timed NAME            $work/NAME.clock and NAME.boot: the clocks and boot id of a machine
#   step NAME SECONDS [CLOCK...]   set its clocks on: wall, mono, boot (default: all three)
#   speed NAME FACTOR     from now on they run so many times as fast, until the end of the scenario
#   new_boot NAME         another boot id
#   clock_env NAME        words for env: by these clocks
#   timed_host NAME [-- DIRECTIVE...]   an sshd, its machine's clocks, an agent that is started
#                         by it; known to the client and to gpurun as NAME
#   owner_of NAME WORD... gpurun-agent as the owner of that host runs it
#   jobs_of NAME          the directories of its jobs

agent_dyn=$BUILD/lib/gpurun/agent/$arch/gpurun-agent.dyn

timed() {
    head -c 24 /dev/zero >"$work/$1.clock"
    cat /proc/sys/kernel/random/boot_id >"$work/$1.boot"
}
step() {
    local name=$1 seconds=$2
    shift 2
    [ $# -gt 0 ] || set -- wall mono boot
    /usr/bin/python3 - "$work/$name.clock" "$seconds" "$@" <<'PY'
import mmap, struct, sys
with open(sys.argv[1], "r+b") as f:
    m = mmap.mmap(f.fileno(), 24)
    v = list(struct.unpack("3q", m))
    for clock in sys.argv[3:]:
        v[("wall", "mono", "boot").index(clock)] += int(float(sys.argv[2]) * 1e9)
    m[:] = struct.pack("3q", *v)
PY
}
speed() {
    /usr/bin/python3 - "$work/$1.clock" "$2" <<'PY' &
import mmap, struct, sys, time
with open(sys.argv[1], "r+b") as f:
    m = mmap.mmap(f.fileno(), 24)
    base, began = struct.unpack("3q", m), time.monotonic_ns()
    while True:
        ahead = int((time.monotonic_ns() - began) * (float(sys.argv[2]) - 1))
        m[:] = struct.pack("3q", *(v + ahead for v in base))
        time.sleep(0.01)
PY
    pid[speed-$1]=$!
}
new_boot() { cat /proc/sys/kernel/random/uuid >"$work/$1.boot"; }
clock_env() { echo "LD_PRELOAD=$BUILD/tests/libs/clock.so GPURUN_TEST_CLOCK=$work/$1.clock GPURUN_TEST_BOOT=$work/$1.boot"; }
timed_host() {
    local name=$1
    shift
    [ "${1:-}" != -- ] || shift
    timed "$name"
    sshd "$name" -- "ForceCommand env $(clock_env "$name") GPURUN_AGENT_HOME=$work/$name/agent $agent_dyn serve" "$@"
    authorize "$name"
    know "$name"
}
owner_of() {
    local name=$1
    shift
    # shellcheck disable=SC2046
    env -i PATH="$PATH" HOME="$work/$name/home" LC_ALL=C.UTF-8 TZ=UTC GPURUN_AGENT_HOME="$work/$name/agent" \
        $(clock_env "$name") "$agent_dyn" "$@"
}
jobs_of() { echo "$work/$1"/agent/renters/*/jobs/*; }
