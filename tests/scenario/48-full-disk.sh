#!/bin/bash
# A full disk, there and here: said, with the right code; nothing kept is lost, the job is
# not harmed and its log never blocks it.
# needs: root
# limit: 240
[ -n "${IN_NAMESPACE:-}" ] || exec unshare -m env IN_NAMESPACE=1 bash "$0"
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
use pipe
command -v mkfs.ext4 >/dev/null || PATH=$PATH:/usr/sbin

small_disk() { # DIR MB: a file system of its own there
    mkdir -p "$1"
    truncate -s "$2M" "$work/disk.$2"
    mkfs.ext4 -q -m 0 "$work/disk.$2" || fail "no ext4 can be made"
    mount -o loop "$work/disk.$2" "$1" 2>/dev/null || { echo "no loop mounts here"; exit 77; }
}
home=$client/gpurun/local
agent() { as_client env GPURUN_AGENT_HOME="$home" "$BUILD/bin/gpurun-agent" "$@"; }
small_disk "$home" 120
mkdir "$work/p"
cd "$work/p"
echo small >small
expect 0 gpurun -q --name kept -- sh -c 'head -c 3000000 /dev/urandom >made; sha256sum <made'
kept=$(cat "$work/out")
expect 0 gpurun -q --name spare -- sh -c 'rm made; head -c 3000000 /dev/urandom >other'

note "a tree that does not fit: 101, nothing changed, and small ones still go"
head -c 150M /dev/urandom >big
expect 101 gpurun -q -- true
has "host 'local' has no room left" "$work/err"
[ "$(wc -l <"$work/err")" -le 2 ] || fail "more than two lines"
expect 101 gpurun -q snap take .
has "host 'local' has no room left: '$home' has " "$work/err"
has 'gpurun gc' "$work/err"
has 'GPURUN_HOME names another place' "$work/err"
rm big
expect 0 gpurun -q -- cat small
expect 0 agent fsck

note "a job fills the disk: it sees ENOSPC, its log does not block, its exit code stays"
expect 4 gpurun --name filler -- sh -c 'echo begin; head -c 200M /dev/zero | tr "\0" x >fill || echo "head failed"; exit 4'
has begin
has "no snapshot:" "$work/err"
has "gpurun snap take" "$work/err"
job=$(sed -n 's/.*gpurun snap take \(j[0-9a-z]*\).*/\1/p' "$work/err")
expect 0 gpurun -q cp "$job:small" "$work/small"
same "$work/small" small "from the directory of a job without a snapshot"
note "the disk full to the last byte: no new job, but all that is kept can be read"
dd if=/dev/zero of="$home/ballast" bs=64k status=none 2>/dev/null || true
dd if=/dev/zero of="$home/ballast2" bs=1k status=none 2>/dev/null || true
expect 101 gpurun -q -- true
has "host 'local' has no room left" "$work/err"
expect 0 gpurun snap files kept
rm -rf "$work/got"
expect 0 gpurun -q snap get kept made -o "$work/got"
[ "$(sha256sum <"$work/got")" = "$kept" ] || fail "a snapshot cannot be read on a full disk"
expect 0 agent fsck
note "and what nobody needs any more can be given up: gc makes room with what the store holds back"
free_kb() { df --output=avail "$home" | tail -n 1; }
[ "$(free_kb)" -lt 64 ] || fail "$(free_kb) kB are free on the full disk"
expect 0 gpurun snap rm spare
expect 0 gpurun gc
[ "$(free_kb)" -ge 2900 ] || fail "gc on a full disk left $(free_kb) kB free: $(cat "$work/out")"
expect 0 agent fsck

note "with room again, the data that waited is kept, and the job can be resumed"
rm "$home"/renters/*/work/"$job"/fill "$home"/ballast*
expect 0 gpurun snap take "$job"
snap=$(cat "$work/out")
expect 0 gpurun --json snap show "$job"
has "\"id\":\"$snap\""
has '"exit_code":4'
expect 0 gpurun -q resume filler -- cat small
[ "$(cat "$work/out")" = small ] || fail "resumed: $(cat "$work/out")"

note "a disk full while a job that prints runs"
mkfifo "$work/go"
client_bg "$work/o" "$work/e" -q --name chatty -- sh -c "echo started; cat $work/go; head -c 30000000 /dev/zero | tr '\0' y; echo; echo over; exit 6" </dev/null
p=$bg
await 30 "the job" grep -q started "$work/o"
dd if=/dev/zero of="$home/ballast" bs=1M status=none 2>/dev/null || true
echo >"$work/go"
rc=0
wait $p || rc=$?
[ $rc = 6 ] || fail "chatty ended with $rc: $(tail -c 300 "$work/e")"
expect 6 gpurun -q wait chatty
rm "$home/ballast"
expect 0 agent fsck

note "rm and gc give room back"
expect 0 gpurun -q -- true
before=$(df --output=used "$home" | tail -n 1)
expect 0 gpurun snap rm kept
expect 0 agent gc
after=$(df --output=used "$home" | tail -n 1)
[ $((before - after)) -ge 2900 ] || fail "gc gave $((before - after)) kB back: $(cat "$work/out")"
expect 0 agent fsck
expect 0 gpurun -q --from "$snap" -- cat small

note "the client's disk is full: the job is not harmed, a fetch fails with 101 and leaves nothing"
small_disk "$work/laptop" 24
mkdir "$work/laptop/home" "$work/laptop/here"
here() { as_client env GPURUN_HOME="$work/laptop/home" "$BUILD/bin/gpurun" "$@"; }
expect 0 here -q config
cp "$client/gpurun/key" "$work/laptop/home/key"
mkdir -p "$work/laptop/home/local"
mount --bind "$home" "$work/laptop/home/local"
expect 0 here -q --name big -- sh -c 'head -c 15000000 /dev/urandom >data; echo made'
dd if=/dev/zero of="$work/laptop/ballast" bs=1M count=8 status=none 2>/dev/null || true
cd "$work/laptop/here"
expect 101 here -q snap get big -o fetched
has "No space left" "$work/err"
has "'$work/laptop/here' has " "$work/err"
has 'make room there, or -o names another place' "$work/err"
[ -z "$(ls -A "$work/laptop/here")" ] || fail "left behind: $(ls -A "$work/laptop/here")"
[ -z "$(ls -A "$work/laptop/home/tmp" 2>/dev/null)" ] || fail "left in tmp: $(ls -A "$work/laptop/home/tmp")"
dd if=/dev/zero of="$work/laptop/ballast2" bs=64k status=none 2>/dev/null || true
cd "$work/p"
run here -q --name on-full -- sh -c 'echo ran; exit 3'
note "a run from a full laptop: $rc $(head -n 2 "$work/err")"
[ $rc = 3 ] || [ $rc = 101 ] || fail "a run from a full laptop: $rc"
note "what to do is said of a place that is full, too, and of what is kept here"
expect 0 gpurun -q snap export big -o "$work/kept.tar"
expect 101 gpurun -q snap export big -o "$work/laptop/here/kept.tar"
has "'$work/laptop/here' has " "$work/err"
expect 101 here -q snap import "$work/kept.tar"
has 'GPURUN_HOME names another place' "$work/err"
expect 101 here -q --from big --setup 'sh data' -- true
has 'GPURUN_HOME names another place' "$work/err"
rm "$work/laptop/ballast" "$work/laptop/ballast2"
expect 0 here -q snap get big data -o "$work/fetched"
[ "$(stat -c %s "$work/fetched")" = 15000000 ] || fail "fetched after all"
cd "$work/p"

note "what surely does not fit on another host's disk is refused before it is sent"
client_key
new_host h1
new_host h2
small_disk "$work/h2/home/.local/share/gpurun-agent" 64
home=$work/h2/home/.local/share/gpurun-agent
expect 0 gpurun -q host add h1 "127.0.0.1:${port[h1]}"
expect 0 gpurun -q host add h2 "127.0.0.1:${port[h2]}"
expect 0 gpurun -q --host h1 --name large -- sh -c 'head -c 80000000 /dev/urandom >large'
expect 0 gpurun -q --host h2 -- true
before=$(free_kb)
for how in 'snap mirror large' 'resume large'; do
    # shellcheck disable=SC2086
    expect 101 gpurun $how --host h2
    has "host 'h2' has no room left (\`gpurun snap rm\` and \`gpurun gc\` make some): " "$work/err"
    grep -qE ': 80\.0 MB at least would have to be kept, and [0-9.]+ MB may be$' "$work/err" || fail "$(cat "$work/err")"
done
[ $((before - $(free_kb))) -lt 1000 ] || fail "$((before - $(free_kb))) kB of it went there"
dd if=/dev/zero of="$home/ballast" bs=1k count=$((before - 5000)) status=none
head -c 20M /dev/urandom >big
expect 0 gpurun -q --host h1 -- true # read: what is in it is known by then
expect 101 gpurun --host h2 -- true
has "host 'h2' has no room left" "$work/err"
grep -qE '[0-9.]+ MB at least would have to be kept, and [0-9.]+ MB may be$' "$work/err" || fail "$(cat "$work/err")"
[ "$(free_kb)" -gt 3000 ] || fail "only $(free_kb) kB are left there"
rm big
expect 0 gpurun -q --host h2 -- cat small
note "of a place that has room, but no inodes, it is said"
mkdir "$work/no-inodes"
mount -t tmpfs -o size=8m,nr_inodes=3 none "$work/no-inodes"
mkdir "$work/three"
touch "$work/three/"{1,2,3}
expect 0 gpurun -q snap take "$work/three"
expect 101 gpurun -q snap get three -o "$work/no-inodes/three"
has "'$work/no-inodes' has 8.4 MB and 2 inodes free: make room there, or -o names another place" "$work/err"
[ -z "$(ls -A "$work/no-inodes")" ] || fail "left behind: $(ls -A "$work/no-inodes")"
umount "$work/no-inodes"
cd /
umount "$home" "$work/laptop/home/local" "$work/laptop" "$client/gpurun/local"
