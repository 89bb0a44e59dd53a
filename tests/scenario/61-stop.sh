#!/bin/bash
# A stop is SIGTERM to everything of the job, its window, then SIGKILL; and nothing of a job is
# left after it, whatever it does: ignores signals, forks twice, makes sessions, hides.
# In every kind of confinement: pid name space, user name space, subreaper.
# needs: pipe
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/jobs.sh"

mkdir -p "$work/p"
cd "$work/p"

# A word that only processes of this test have as an argument.
mark() { echo "mark-$$-$1"; }

# Processes that do not want to end: each ignores what it can, has a session and a parent of its own, and the mark.
cat >stubborn.py <<'PY'
import os, signal, sys, time
mark = sys.argv[1]
here = os.getcwd()
def deaf():
    for s in range(1, 65):
        try:
            signal.signal(s, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
def sleeper(name):
    deaf()
    os.execv("/usr/bin/python3", ["python3", "-c", "import signal,sys,time\nfor s in range(1,65):\n"
             "  try: signal.signal(s, signal.SIG_IGN)\n  except (OSError, ValueError): pass\n"
             "open(sys.argv[2], 'w').close()\nwhile True: time.sleep(1)", mark, name])
if os.fork() == 0:            # a child
    sleeper("child")
if os.fork() == 0:            # a daemon: forks twice, own session
    os.setsid()
    if os.fork() == 0:
        os.chdir("/")
        sleeper(here + "/daemon")
    os._exit(0)
if os.fork() == 0:            # no environment, closed descriptors
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 256)
        deaf()
        os.execve("/usr/bin/python3", ["python3", "-c", "import signal,time,sys\nfor s in range(1,65):\n"
                  "  try: signal.signal(s, signal.SIG_IGN)\n  except (OSError, ValueError): pass\n"
                  "open(sys.argv[2], 'w').close()\nwhile True: time.sleep(1)", mark, "bare"], {})
    os._exit(0)
deaf()
while not all(os.path.exists(n) for n in ("child", "daemon", "bare")):
    time.sleep(0.01)
print("ready", flush=True)
while True:
    time.sleep(1)
PY

# As another user, who has name spaces only with a user's rights, or none at all.
in_spaces() { # KIND WORD...
    local kind=$1
    shift
    case $kind in
    pidns) "$@" ;;
    # Without CAP_SYS_ADMIN (and with no way to get it anew) there are no name spaces at all.
    subreaper) setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin "$@" ;;
    # A user of their own, made for this test: in a user name space we are somebody else's root.
    userns) setpriv --reuid 12345 --regid 12345 --clear-groups "$@" ;;
    esac
}
# One home per kind, each with a path that the user in question may walk.
kinds='pidns subreaper userns'
[ "$(id -u)" = 0 ] || kinds=own
if [ "$(id -u)" = 0 ]; then
    chmod 755 "$work" "$work/p"
    top=$work
    while [ "$top" != / ]; do # mktemp's own directories are 0700
        top=$(dirname "$top")
        [ $((0$(stat -c %a "$top") & 1)) != 0 ] || { kinds='pidns subreaper'; note "no userns: $top"; }
    done
fi

for kind in $kinds; do
    client=$work/client-$kind
    agent_home=$client/gpurun/local
    mkdir -p "$client/.ssh" "$work/p-$kind"
    chmod 700 "$client"
    cp stubborn.py "$work/p-$kind"
    cd "$work/p-$kind"
    [ $kind != userns ] || chown -R 12345:12345 "$client" "$work/p-$kind"
    gpurun() { in_spaces "$kind" env -i PATH="$PATH" HOME="$client" GPURUN_HOME="$client/gpurun" LC_ALL=C.UTF-8 TZ=UTC "$BUILD/bin/gpurun" "$@"; }
    [ $kind != own ] || in_spaces() { shift; "$@"; }
    expect 0 gpurun host show local
    if [ "$kind" != own ]; then
        in_spaces "$kind" env -i PATH="$PATH" HOME="$client" GPURUN_AGENT_HOME="$agent_home" "$BUILD/bin/gpurun-agent" doctor >"$work/out" || true
        has "jobs run in $kind"
    fi

    note "$kind: what ignores every signal is killed after its window, with all it started"
    m=$(mark "$kind")
    gpurun -q -d --window 2s --name stubborn -- /usr/bin/python3 stubborn.py "$m" >"$work/id"
    await 30 "all of it runs" grep -qx ready "$(record stubborn)"/log/out.00000000000000000000
    [ "$(marked "$m" | wc -l)" -ge 4 ] || fail "only $(marked "$m" | wc -l) run"
    before=$(date +%s%N)
    expect 137 gpurun -q stop stubborn
    ms=$((($(date +%s%N) - before) / 1000000))
    [ $ms -ge 1900 ] || fail "killed after $ms ms, before its window was over"
    none_marked "$m" || fail "left after its stop: $(marked "$m")"
    is stubborn reason stopped || fail "reason $(field stubborn reason)"
    is stubborn snapshot_state whole || fail "no snapshot"

    note "$kind: stop --now does not wait for the window; --no-snapshot keeps nothing"
    gpurun -q -d --window 600s --name now -- /usr/bin/python3 stubborn.py "$m" >"$work/id"
    await 30 "all of it runs" grep -qx ready "$(record now)"/log/out.00000000000000000000
    before=$SECONDS
    expect 137 gpurun -q stop --now --no-snapshot now
    [ $((SECONDS - before)) -lt 30 ] || fail "it took $((SECONDS - before)) s"
    none_marked "$m" || fail "left after its stop: $(marked "$m")"
    is now snapshot '' || fail "a snapshot was taken"
    is now snapshot_state none || fail "snapshot state $(field now snapshot_state)"

    note "$kind: what a command leaves behind ends with it"
    # shellcheck disable=SC2016
    expect 0 gpurun -q --name behind -- sh -c '/usr/bin/python3 stubborn.py "$1" &
        until [ -e child ] && [ -e daemon ] && [ -e bare ]; do sleep 0.05; done; exit 0' sh "$m"
    none_marked "$m" || fail "left behind: $(marked "$m")"
    expect 0 gpurun -q --name daemon -- sh -c 'setsid setsid sleep 600 "$1" >/dev/null 2>&1 & exit 0' sh "$m"
    none_marked "$m" || fail "left behind: $(marked "$m")"

    note "$kind: killing the guard kills the job, and the host is at fault"
    gpurun -q -d --name guarded -- /usr/bin/python3 stubborn.py "$m" >"$work/id"
    await 30 "all of it runs" grep -qx ready "$(record guarded)"/log/out.00000000000000000000
    kill -KILL "$(guard guarded)"
    expect 102 gpurun -q wait guarded
    none_marked "$m" || fail "left: $(marked "$m")"
    is guarded reason fault || fail "reason $(field guarded reason)"
done

client=$work/client-${kinds%% *}
agent_home=$client/gpurun/local
kind=${kinds%% *}
cd "$work/p-$kind"

note "the window is for all of the job, not only for its first process"
cat >saver.py <<'PY'
import signal, sys, time
def save(*_):
    time.sleep(4)
    open("saved", "w").write("work")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
while True:
    time.sleep(0.05)
PY
# The shell dies of SIGTERM at once; its child takes its time.
gpurun -q -d --name saver -- sh -c '/usr/bin/python3 saver.py; echo after' >"$work/id"
await 30 "it runs" grep -qx ready "$(record saver)"/log/out.00000000000000000000
expect 143 gpurun -q stop saver
expect 0 gpurun -q snap get -o got "$(field saver snapshot)" saved
[ "$(cat got/saved 2>/dev/null || cat got)" = work ] || fail "what it saved in its window is not in the snapshot"

note "and stop --now ends that, too"
gpurun -q -d --window 600s --name saver-now -- sh -c '/usr/bin/python3 stubborn.py "$1"; exit 9' sh "$(mark saver)" >"$work/id"
await 30 "it runs" grep -qx ready "$(record saver-now)"/log/out.00000000000000000000
(
    rc=0
    gpurun -q stop saver-now || rc=$?
    echo $rc >"$work/first"
) 2>/dev/null &
p=$!
await 30 "it is being stopped" is saver-now state stopping
expect 143 gpurun -q stop --now saver-now
wait $p
[ "$(cat "$work/first")" = 143 ] || fail "the first stop ended with $(cat "$work/first")"
none_marked "$(mark saver)" || fail "left"

note "a stopped (SIGSTOP) job hears SIGTERM"
gpurun -q -d --name asleep -- sh -c 'trap "exit 5" TERM; kill -STOP $$; while :; do sleep 0.05; done' >"$work/id"
await 20 "it runs" is asleep state running
expect 5 gpurun -q stop asleep

note "stopping what has ended says how it ended"
expect 5 gpurun -q stop asleep
expect 143 gpurun -q stop --now saver

note "a job that cannot signal its supervisor, nor see it"
gpurun -q --name kills -- sh -c 'kill -9 '"$$"' 2>/dev/null && echo killed; kill -9 -1; echo no' >"$work/out" 2>"$work/err" || true
[ -d "/proc/$$" ] || fail "killed from within"
hasnt killed
is kills state ended || fail "state $(field kills state)"

[ -z "$(leftovers)" ] || fail "left over: $(leftovers)"
