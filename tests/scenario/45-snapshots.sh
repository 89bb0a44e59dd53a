#!/bin/bash
# A snapshot at every end, and what can be done with one.
# needs: pipe
# threads
# limit: 300
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
use pipe

mkdir -p "$work/p"
cd "$work/p"
echo shipped >shipped
json() { # FIELD: of the one object in $work/out
    /usr/bin/python3 -c '
import json, sys
v = json.load(open(sys.argv[1]))
for k in sys.argv[2].split("."):
    v = v[int(k)] if isinstance(v, list) else v[k]
print(v)' "$work/out" "$1"
}
# left JOB REASON: its snapshot is whole and holds what the job wrote
left() {
    local job=$1 reason=$2
    expect 0 gpurun --json snap show "$job"
    [ "$(json reason)" = "$reason" ] || fail "$job: the snapshot says '$(json reason)', not '$reason'"
    [ "$(json partial)" = False ] || fail "$job: partial"
    rm -rf "$work/got"
    expect 0 gpurun -q snap get "$job" -o "$work/got"
    [ "$(cat "$work/got/wrote")" = "$job" ] || fail "$job: what it wrote is not in its snapshot"
    [ "$(cat "$work/got/shipped")" = shipped ] || fail "$job: what was shipped is not in its snapshot"
}

note "exited, signalled, stopped, by a limit"
expect 0 gpurun -q --name e0 -- sh -c 'echo e0 >wrote'
left e0 exited
expect 7 gpurun -q --name e7 -- sh -c 'echo e7 >wrote; exit 7'
left e7 exited
[ "$(gpurun --json snap show e7 | /usr/bin/python3 -c 'import json,sys; print(json.load(sys.stdin)["exit_code"])')" = 7 ] ||
    fail "the snapshot does not know the exit code"
expect 137 gpurun -q --name s9 -- sh -c 'echo s9 >wrote; kill -9 $$'
left s9 signalled
expect 0 gpurun -q -d --name st -- sh -c 'echo st >wrote; sleep 1000'
await 20 "the job's file" gpurun -q cp st:wrote "$work/seen"
expect 143 gpurun -q stop st
left st stopped
expect 104 gpurun -q --name tm --max-time 2s --window 1s -- sh -c 'echo tm >wrote; sleep 1000'
left tm time

note "lost: the supervisor is killed, and whoever looks next takes the snapshot"
expect 0 gpurun -q -d --name lo -- sh -c 'echo lo >wrote; sleep 1000'
await 20 "the job's file" gpurun -q cp lo:wrote "$work/seen"
lost=$(gpurun --json ps | /usr/bin/python3 -c 'import json,sys; print([j["id"] for j in json.load(sys.stdin)["jobs"] if j["name"] == "lo"][0])')
supervisor=$(sed -n 's/^pid=//p' "$client"/gpurun/local/renters/*/jobs/"$lost"/state)
grep -q gpurun-agent "/proc/$supervisor/cmdline" || fail "pid $supervisor is no supervisor"
kill -9 "$supervisor"
is_lost() { [ "$(job_state lo)" = lost ]; }
await 20 "lost" is_lost
expect 105 gpurun -q wait lo
left lo lost

note "killed in the middle of its snapshot: the end was known, and the snapshot is taken after all"
expect 0 gpurun -q -d --name mid -- sh -c 'echo mid >wrote; head -c 150000000 /dev/urandom >large; exit 9'
mid=$(gpurun --json ps -a | /usr/bin/python3 -c 'import json,sys; print([j["id"] for j in json.load(sys.stdin)["jobs"] if j["name"] == "mid"][0])')
state=$(echo "$client"/gpurun/local/renters/*/jobs/"$mid"/state)
await 60 "its snapshot" grep -qx 'state=snapshotting' "$state"
kill -9 "$(sed -n 's/^pid=//p' "$state")"
await 60 "its end" job_is mid ended
expect 9 gpurun -q wait mid
left mid exited
[ "$(stat -c %s "$work/got/large")" = 150000000 ] || fail "a snapshot that was cut off"

note "--no-snapshot: the exit code stays, and it is said"
expect 0 gpurun -q -d --name no -- sh -c 'sleep 1000'
await 20 "the job" job_is no running
expect 143 gpurun stop --no-snapshot no
expect 100 gpurun snap show no
has 'no snapshot' "$work/err"

note "partial: what cannot be read is named, and the exit code is the job's"
mortal=()
[ "$(id -u)" != 0 ] || mortal=(setpriv --bounding-set=-dac_override,-dac_read_search)
expect 5 as_client "${mortal[@]}" "$BUILD/bin/gpurun" --name pa -- \
    sh -c 'echo pa >wrote; echo x >closed; chmod 000 closed; ln closed other
        mkdir shut; echo in >shut/in; chmod 555 shut; exit 5'
has partial "$work/err"
has closed "$work/err"
expect 0 gpurun --json snap show pa
[ "$(json partial)" = True ] || fail "not partial"
expect 0 gpurun snap show pa
has partial
expect 0 gpurun snap files pa
[ "$(grep -c damaged "$work/out")" = 1 ] || fail "not one damaged entry"
rm -rf "$work/got"
expect 0 gpurun snap get pa -o "$work/got"
has "2 files are left out" "$work/err" # by both its names
[ "$(cat "$work/got/wrote")" = pa ] || fail "the rest of a partial snapshot"
[ ! -e "$work/got/closed" ] && [ ! -e "$work/got/other" ] || fail "a damaged file was made"
expect 100 gpurun snap get pa other -o "$work/got-other"
has "'other' could not be read when it was kept" "$work/err"
for kind in tar tar.zst; do
    expect 0 gpurun snap export pa -o "$work/pa.$kind"
    has 'closed (could not be read for the snapshot)' "$work/err"
    has 'other (could not be read for the snapshot)' "$work/err"
    mkdir "$work/pa.$kind.d"
    expect 0 tar -C "$work/pa.$kind.d" -xf "$work/pa.$kind"
    [ ! -s "$work/err" ] || fail "tar complains: $(cat "$work/err")"
    diff -r "$work/got" "$work/pa.$kind.d" || fail "tar has something else"
    expect 0 as_client env GPURUN_HOME="$client/other" "$BUILD/bin/gpurun" snap import "$work/pa.$kind"
done

note "a folder that is closed to writing comes by itself, too"
expect 0 as_client "${mortal[@]}" "$BUILD/bin/gpurun" snap get pa shut -o "$work/shut"
[ "$(stat -c %a "$work/shut")" = 555 ] && [ "$(cat "$work/shut/in")" = in ] || fail "the folder"
chmod 755 "$work/got/shut" "$work/shut"

note "snap take of a folder: everything, ignored files and secrets too"
mkdir -p "$work/folder/sub"
cd "$work/folder"
echo '*' >.gitignore
echo ignored >ignored
echo key >id_rsa
echo s >sub/s
ln -s sub link
expect 0 gpurun snap take . --name mine
id=$(cat "$work/out")
case $id in s????????????) ;; *) fail "snap take printed '$id'" ;; esac
rm -rf "$work/got"
expect 0 gpurun -q snap get "$id" -o "$work/got"
diff -r --no-dereference "$work/folder" "$work/got" || fail "snap take and get differ"
note "what of it cannot be read is named, as a job's is"
mkdir "$work/closing"
echo x >"$work/closing/closed"
chmod 000 "$work/closing/closed"
expect 0 as_client "${mortal[@]}" "$BUILD/bin/gpurun" snap take "$work/closing"
part=$(cat "$work/out")
has "snap show $part" "$work/err"
expect 0 gpurun --json snap show "$part"
[ "$(json n_damaged) $(json damaged.0.name) $(json damaged.0.why)" = "1 closed Permission denied" ] ||
    fail "what is damaged is not named"
note "a folder's name that nothing could be asked for by is none"
mkdir "$work/@last"
echo odd >"$work/@last/odd"
expect 0 gpurun --json snap take "$work/@last"
[ "$(json name)" = None ] || fail "it is called $(json name)"
has "kept without a name" "$work/err"
expect 0 gpurun --json snap take "$work/@last" --name odd
[ "$(json name)" = odd ] || fail "it is called $(json name)"
note "which needs no second copy on the way: the store of this machine is read where it lies"
mv "$client/gpurun/tmp" "$work/tmp.was"
echo "no folder" >"$client/gpurun/tmp"
expect 0 gpurun -q snap get mine -o "$work/got-here"
diff -r --no-dereference "$work/folder" "$work/got-here" || fail "snap get from where it lies differs"
expect 0 gpurun -q snap export mine -o "$work/here.tar"
rm "$client/gpurun/tmp"
mv "$work/tmp.was" "$client/gpurun/tmp"
expect 0 gpurun --json snap take "$work/folder"
json id >"$work/id2"
expect 0 gpurun snap ls
has "$id"
has "$(cat "$work/id2")"
has mine
expect 0 gpurun --json snap ls
[ "$(json snapshots.0.id)" = "$(cat "$work/id2")" ] || fail "the newest is not first"
cd "$work/p"

note "snap take of a running job, while it runs on"
expect 0 gpurun -q -d --name run -- sh -c 'echo run >wrote; mkdir d; echo in >d/in; sleep 1000'
await 20 "the job's file" gpurun -q cp run:d/in "$work/seen"
expect 0 gpurun snap take run
live=$(cat "$work/out")
expect 0 gpurun snap files run
has d/in
job_is run running || fail "the job is $(job_state run)"
rm -rf "$work/got"
expect 0 gpurun -q snap get "$live" d -o "$work/got"
[ "$(cat "$work/got/in")" = in ] || fail "a folder of a live snapshot"

note "get: one file, into its own name; nothing overwritten"
mkdir "$work/here"
cd "$work/here"
expect 0 gpurun snap get "$live" d/in
[ "$(cat in)" = in ] && [ "$(cat "$work/out")" = in ] || fail "one file by its name"
echo mine >in
expect 100 gpurun snap get "$live" d/in
has "'in' is there already" "$work/err"
[ "$(cat in)" = mine ] || fail "it was overwritten"
expect 100 gpurun snap get "$live" d/nosuch
has "nosuch" "$work/err"
expect 100 gpurun snap get "$live" ../../etc/passwd
for bad in s000000000000 nosuch; do
    expect 100 gpurun snap get "$bad"
    has "$bad" "$work/err"
done

note "cp: every direction"
echo local >local
mkdir -p tree/x
echo deep >tree/x/deep
expect 0 gpurun cp local run:
expect 0 gpurun cp local run:other
expect 0 gpurun cp local run:new/folder/
expect 0 gpurun cp tree run:
expect 0 gpurun cp tree/. run:contents
expect 0 gpurun cp "$live:d/in" run:from-snapshot
expect 0 gpurun cp run:tree run:d
expect 0 gpurun exec run -- sh -c 'cat local other new/folder/local tree/x/deep contents/x/deep from-snapshot d/tree/x/deep'
[ "$(cat "$work/out")" = "$(printf 'local\nlocal\nlocal\ndeep\ndeep\nin\ndeep')" ] || fail "cp to the job: $(cat "$work/out")"
expect 0 gpurun cp run:tree/x/deep back
expect 0 gpurun cp run:tree back-tree
expect 0 gpurun cp run:other .
expect 0 gpurun cp "$live:" all
[ "$(cat back back-tree/x/deep other all/d/in)" = "$(printf 'deep\ndeep\nlocal\nin')" ] || fail "cp from the job"
expect 0 gpurun cp run:local back
[ "$(cat back)" = local ] || fail "cp over a file that is there"
expect 100 gpurun cp run:nosuch nothing
has nosuch "$work/err"
[ ! -e nothing ] || fail "something was made of nothing"
expect 100 gpurun cp local "$live:x"
has 'snapshots are never changed' "$work/err"
expect 100 gpurun cp local other2
for bad in ../out /../out x/../../out; do
    expect 100 gpurun cp local "run:$bad"
done
# A link that the job makes does not lead a copy out of its directory.
expect 0 gpurun exec run -- sh -c "ln -s $work/here escape; ln -s $work/here/local escape-file"
expect 101 gpurun cp local run:escape/planted
[ ! -e planted ] || fail "a link led out of the job's directory"
expect 101 gpurun cp run:escape/local stolen
[ ! -e stolen ] || fail "a link led a copy out of the job's directory"
echo changed >local2
expect 0 gpurun cp local2 run:escape-file
[ "$(cat local)" = local ] || fail "a copy was written through a link"
expect 143 gpurun -q stop run

note "keep, rm, ls -a: what it was stays on record"
expect 0 gpurun --json snap keep "$id" --days 40
expect 0 gpurun --json snap show "$id"
made=$(json made_ns) expires=$(json expires_ns)
[ $(((expires - made) / 86400000000000)) = 40 ] || fail "kept for $(((expires - made) / 86400000000000)) days"
expect 100 gpurun snap keep "$id" --days -1
expect 100 gpurun snap keep "$id"
expect 0 gpurun snap diff "$id" "$live"
cp "$work/out" "$work/changes"
expect 0 gpurun snap files "$id"
[ -s "$work/out" ] || fail "it has no names"
cp "$work/out" "$work/names"
expect 0 gpurun snap rm "$id"
expect 0 gpurun snap ls
hasnt "$id"
expect 0 gpurun snap ls -a
has "$id"
expect 0 gpurun snap show "$id"
has "gone"
expect 100 gpurun snap get "$id" -o "$work/gone"
has "gone" "$work/err"
[ ! -e "$work/gone" ] || fail "something was made of what is gone"
expect 0 gpurun gc
expect 0 gpurun gc
expect 0 gpurun snap files "$id"
cmp "$work/out" "$work/names" || fail "not the names that it had"
expect 0 gpurun snap diff "$id" "$live"
cmp "$work/out" "$work/changes" || fail "it does not compare as it did"
expect 0 gpurun snap rm "$id"
expect 100 gpurun snap keep "$id" --days 3
has "gone" "$work/err"
