#!/bin/bash
# A job's directory is made while its files still arrive. Whoever is killed in the middle
# leaves nothing that the next gc does not take.
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
use libssh

agent=$work/$H/home/.local/share/gpurun-agent
# 1.5 MB/s: there is a middle, and it lasts.
port[slow]=$(free_port)
spawn slow "$(tool relay)" "${port[slow]}" "${port[$H]}" --rate 1500
await 10 "the relay" grep -q ready "$work/slow.log"
echo "[127.0.0.1]:${port[slow]} $(cut -d' ' -f1,2 "$work/$H/host_key.pub")" >>"$client/.ssh/known_hosts"
expect 0 gpurun -q host add slow "127.0.0.1:${port[slow]}"
n_frozen=0
is_frozen() { [ "$(grep -c frozen "$work/slow.log")" = $n_frozen ]; }
freeze() {
    n_frozen=$((n_frozen + 1))
    kill -USR1 "${pid[slow]}"
    await 10 "nothing to pass" is_frozen
}
thaw() { kill -USR2 "${pid[slow]}"; }

# Long names: what the tree says of its files is several chunks, of which the first is there soon.
files_in() { # DIR
    mkdir "$work/$1"
    cd "$work/$1"
    /usr/bin/python3 - <<'PY'
import os
for i in range(4000):
    d = "d%02d" % (i // 100)
    os.makedirs(d, exist_ok=True)
    with open(d + "/" + os.urandom(100).hex(), "wb") as f:
        f.write(os.urandom(6000))
os.chmod("d00", 0o750)
os.symlink("d01", "link")
os.makedirs("ro/in")
open("ro/in/file", "w").write("closed\n")
os.chmod("ro/in/file", 0o444)
os.chmod("ro", 0o555)
PY
}
# What a job sees: names, kinds, modes, times, targets of links, contents.
look='find . -printf "%p %y %m %T@ %l\n" | LC_ALL=C sort; find . -type f | LC_ALL=C sort | xargs sha256sum'
# Where the host keeps job directories of its one renter.
place() { find "$agent/renters" -mindepth 2 -maxdepth 2 -name work; }
early_files() { find "$(place)" -path "$(place)/e*/*" -type f; }
began() { [ -n "$(early_files 2>/dev/null)" ]; }
left() { find "$(place)" -mindepth 1 -maxdepth 1 -name "e*" -printf '%f\n'; }
none_left() { [ -z "$(left)" ]; }
serves() { pgrep -f "$work/$H/home.*serve"; }
gone() { ! serves; }

note "files are there before the last byte has come, and the job takes them over"
files_in p
sh -c "$look" >"$work/want"
client_bg "$work/o" "$work/e" -q --host slow -- sh -c "$look" </dev/null
p=$bg
await 60 "the first files" began
freeze
[ -z "$(find "$(place)" -maxdepth 1 -name 'e*.scan')" ] || fail "all of it was there: nothing is shown"
[ -z "$(find "$(place)" -maxdepth 1 -name 'j*')" ] || fail "the job had begun"
note "$(early_files | wc -l) of 4001 files"
thaw
rc=0
wait $p || rc=$?
[ $rc = 0 ] || fail "the run: $rc, $(cat "$work/e")"
diff "$work/want" "$work/o" >"$work/diff" || fail "the job saw something else: $(head -c 2000 "$work/diff")"
grep -aq 'directory taken over from e[0-9a-z]*: [0-9]* kept, 0 made, 0 removed' "$agent"/renters/*/jobs/*/supervisor.log ||
    fail "it was made another way: $(cat "$agent"/renters/*/jobs/*/supervisor.log)"
none_left || fail "left: $(left)"

note "the client is killed in the middle: the host takes it away"
files_in q
client_bg "$work/o" "$work/e" -q --host slow -- true </dev/null
p=$bg
await 60 "the first files" began
kill -9 $p
wait $p 2>/dev/null || true
await 30 "nothing to be left" none_left

note "so is the agent: the next gc does, or what the agent had begun by itself"
for r in r1 r2 r3; do # where the relay was too late to be frozen all is over: once more
    files_in $r
    client_bg "$work/o" "$work/e" -q --host slow -- true </dev/null
    p=$bg
    await 60 "the first files" began
    freeze
    ! none_left || { thaw; wait $p || true; continue; }
    kill -9 $(serves)
    kill -9 $p
    wait $p 2>/dev/null || true
    thaw
    shown=$r
    break
done
[ -n "${shown:-}" ] || fail "all of it was there each time: nothing is shown"
await 30 "the agent to be gone" gone
expect 0 env GPURUN_AGENT_HOME="$agent" "$BUILD/bin/gpurun-agent" gc
none_left || fail "left: $(left)"
expect 0 gpurun -q --host "$H" -- sh -c 'find . -type f | wc -l'
[ "$(cat "$work/out")" = 4001 ] || fail "the job saw $(cat "$work/out") files"
chmod -R u+w "$work"/[pqr]*
