#!/bin/bash
# Whatever of ours dies: a dead supervisor's job is dead within a second and *lost*, billed to its
# last record, its data kept, its device free only then; a dead server or client harms no job.
# In every kind of confinement, as root.
# needs: pipe root
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/jobs.sh"

in_spaces() {
    case $kind in
    pidns) "$@" ;;
    subreaper) setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin "$@" ;;
    esac
}

dead_within() { # MS WORD
    local end=$(($(date +%s%N) + $1 * 1000000))
    until none_marked "$2"; do
        [ "$(date +%s%N)" -lt $end ] || fail "alive $1 ms after its supervisor died: $(marked "$2")"
        sleep 0.02
    done
}
runs() { [ "$(marked "$1" | wc -l)" -ge "$2" ]; }
bg_end() { rc=0; wait "$1" || rc=$?; }
mine() { # COMM: processes of that name that know this agent's home
    local p
    for p in $(with_environment "$client"); do
        [ "$(cat "/proc/$p/comm" 2>/dev/null)" != "$1" ] || echo "$p"
    done
}

cat >"$work/busy.sh" <<'SH'
# busy.sh MARK: children, a daemon in a session of its own, output
sleep 700 "$1" 2>/dev/null &
setsid sh -c 'trap "" TERM; echo data >kept; while :; do sleep 1; done' "$1" &
(setsid sh -c 'exec sh -c "while :; do sleep 1; done" "$1"' sh "$1" &)
until [ -e kept ]; do sleep 0.02; done
echo line 1
while :; do sleep 0.1; done
SH

for kind in pidns subreaper; do
    client=$work/client-$kind
    agent_home=$client/gpurun/local
    mkdir -p "$client/.ssh" "$work/p-$kind"
    cp "$work/busy.sh" "$work/p-$kind"
    cd "$work/p-$kind"
    gpurun() { in_spaces env -i PATH="$PATH" HOME="$client" GPURUN_HOME="$client/gpurun" LC_ALL=C.UTF-8 TZ=UTC "$BUILD/bin/gpurun" "$@"; }
    expect 0 gpurun -q host show local
    owner price set cpu=360 >/dev/null
    m=lost-$$-$kind
    gpurun -q -d --max-cost 100 --name billed -- sh busy.sh "$m-billed" >"$work/id"

    note "$kind: supervisor killed while a client follows: 105 at once, and nothing left"
    gpurun -q --max-cost 100 --name followed -- sh busy.sh "$m" >"$work/f.out" 2>"$work/f.err" &
    p=$!
    await 30 "it runs" grep -qx 'line 1' "$work/f.out"
    await 30 "all of it to run" runs "$m" 3
    kill -KILL "$(supervisor followed)"
    dead_within 1000 "$m"
    bg_end $p
    [ "$rc" = 105 ] || fail "status $rc: $(cat "$work/f.err")"
    grep -q lost "$work/f.err" || fail "not said: $(cat "$work/f.err")"
    is followed state lost || fail "state $(field followed state)"
    [ "$(field followed reason)$(field followed exit_code)$(field followed signal)" = "" ] ||
        fail "an end was invented: $(cat "$(record followed)/state")"
    expect 105 gpurun -q wait followed
    expect 105 gpurun -q logs -f followed
    [ "$(cat "$work/out")" = 'line 1' ] || fail "log: $(cat "$work/out")"

    note "$kind: its bill is signed, and its data kept"
    expect 0 gpurun --json bill followed
    /usr/bin/python3 - "$work/out" <<'PY' || fail "the lines of the bill"
import json, sys
b = json.load(open(sys.argv[1]))
assert b["reason"] == "lost" and b["exit_code"] is None, b
assert sum(l["fen"] for l in b["lines"]) == b["charge_fen"], b
PY
    expect 0 gpurun -q bill --verify followed
    is followed snapshot_state whole || fail "snapshot $(field followed snapshot_state) $(field followed snapshot_why)"
    rm -rf got
    expect 0 gpurun -q snap get -o got "$(field followed snapshot)"
    [ "$(cat got/kept)" = data ] || fail "what it wrote is not in the snapshot"

    note "$kind: nobody connected: found at the next contact, whichever it is"
    for contact in ps tick wait; do
        gpurun -q -d --max-cost 100 --name "alone-$contact" -- sh busy.sh "$m" >"$work/id"
        await 30 "it runs" grep -qsx 'line 1' "$(record "alone-$contact")/log/out.00000000000000000000"
        kill -KILL "$(supervisor "alone-$contact")"
        dead_within 1000 "$m"
        ! settled "alone-$contact" || fail "somebody marked it already"
        case $contact in
        ps)
            expect 0 gpurun ps -a
            await 20 "it is lost" is alone-ps state lost
            ;;
        tick)
            run owner tick
            [ "$rc" = 0 ] || fail "tick: $rc"
            ;;
        wait) expect 105 gpurun -q wait alone-wait ;;
        esac
        is "alone-$contact" state lost || fail "state $(field "alone-$contact" state)"
        is "alone-$contact" snapshot_state whole || fail "no snapshot: $(field "alone-$contact" snapshot_why)"
        [ ! -e "$agent_home/renters/"*/active/"$(basename "$(record "alone-$contact")")" ] || fail "still active"
        [ ! -e "/tmp/gpurun-$(basename "$(record "alone-$contact")")" ] || fail "its temporary files are left"
    done

    note "$kind: billed to the last record"
    # 10 fen a second, a record at least every 10 s.
    has_record() { [ "0$(field billed cost_fen)" -ge 100 ]; }
    await 40 "a record of ten seconds" has_record
    kill -KILL "$(supervisor billed)"
    expect 105 gpurun -q wait billed
    none_marked "$m-billed" || fail "left"
    fen=$(receipt billed charge_fen)
    most=$((($(field billed ended_wall_ns) - $(field billed started_wall_ns)) / 100000000))
    [ "$fen" -ge 100 ] && [ "$fen" -le $most ] && [ "$fen" = "$(field billed charge_fen)" ] ||
        fail "charged $fen fen, at most $most were right"

    note "$kind: both killed, supervisor and guard"
    gpurun -q -d --max-cost 100 --name both -- sh busy.sh "$m" >"$work/id"
    await 30 "it runs" grep -qsx 'line 1' "$(record both)/log/out.00000000000000000000"
    g=$(guard both)
    kill -KILL "$(supervisor both)" "$g"
    [ $kind != pidns ] || dead_within 1000 "$m"
    expect 105 gpurun -q wait both
    none_marked "$m" || fail "left after its recovery: $(marked "$m")"
done

kind=pidns client=$work/client-pidns
agent_home=$client/gpurun/local
cd "$work/p-pidns"

note "the server killed: the job runs on, the client comes back by itself"
gpurun -q --max-cost 100 --name served -- \
    sh -c 'echo 1; echo 2; until [ -e "$1" ]; do sleep 0.1; done; for i in 3 4 5 6 7 8; do echo $i; sleep 0.3; done; exit 3' sh "$work/killed" >"$work/f.out" 2>"$work/f.err" &
p=$!
await 30 "it runs" grep -qx 2 "$work/f.out"
s=$(supervisor served)
for q in $(mine gpurun-agent); do
    [ "$q" = "$s" ] || ! tr '\0' ' ' 2>/dev/null <"/proc/$q/cmdline" | grep -q serve || kill -KILL "$q"
done
touch "$work/killed"
bg_end $p
[ "$rc" = 3 ] || fail "status $rc: $(cat "$work/f.err")"
[ "$(cat "$work/f.out")" = "$(seq 8)" ] || fail "output: $(cat "$work/f.out")"
is served reason exited || fail "reason $(field served reason)"
is served pid "$s" || fail "another supervisor"

note "killed between the exit record and the word ended: how it ended is known, not lost"
d=$(record served)
cp -r "$d" "$work/saved"
sed -i 's/^state=ended$/state=snapshotting/; /^snapshot/d; /^charge_fen=/d' "$d/state"
touch "$agent_home"/renters/*/active/"$(basename "$d")" 2>/dev/null ||
    touch "$(echo "$agent_home"/renters/*/)active/$(basename "$d")"
expect 0 owner tick
is served state ended || fail "state $(field served state)"
is served exit_code 3 || fail "exit $(field served exit_code)"
expect 3 gpurun -q wait served

note "a mark of a job that has ended is taken away once, and is no lost job"
touch "$(echo "$agent_home"/renters/*/)active/$(basename "$d")"
expect 0 owner tick
[ ! -e "$(echo "$agent_home"/renters/*/)active/$(basename "$d")" ] || fail "the mark is still there"
is served exit_code 3 || fail "exit $(field served exit_code)"

note "the machine started anew: another boot, the same answer"
gpurun -q -d --max-cost 100 --name rebooted -- sh busy.sh "$m" >"$work/id"
await 30 "it runs" grep -qsx 'line 1' "$(record rebooted)/log/out.00000000000000000000"
kill -KILL "$(supervisor rebooted)"
dead_within 1000 "$m"
# The next contact happens in another boot: the kernel's id is another one there.
uuidgen >"$work/boot_id" 2>/dev/null || echo 01234567-89ab-4cde-8f01-23456789abcd >"$work/boot_id"
unshare -m sh -c 'mount --bind "$1" /proc/sys/kernel/random/boot_id && shift && exec "$@"' - "$work/boot_id" \
    env -i PATH="$PATH" HOME="$client" GPURUN_AGENT_HOME="$agent_home" "$BUILD/bin/gpurun-agent" tick >"$work/out" 2>"$work/err" ||
    fail "tick in another boot"
is rebooted state lost || fail "state $(field rebooted state)"
expect 105 gpurun -q wait rebooted
expect 0 gpurun -q bill --verify rebooted

[ -z "$(leftovers)" ] || fail "left over: $(leftovers)"
