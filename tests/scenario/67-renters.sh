#!/bin/bash
# Renters an owner lets in by `gpurun-agent allow`: over a real sshd and a forced command, each
# confined to its own jobs, data, caches and chunks; turned away when revoked or over.
# needs: root
# limit: 200
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"

# The owner's account on the host: its home, and the agent in it.
sshd inn -- "AuthorizedKeysFile $work/inn/home/.ssh/authorized_keys"
home=$work/inn/home
agent_home=$home/.local/share/gpurun-agent
host() { env -i PATH="$PATH" HOME="$home" LC_ALL=C.UTF-8 TZ=UTC "$BUILD/bin/gpurun-agent" "$@"; }
mkdir -p "$home/.ssh"
echo '# the owner: kept byte for byte' >"$home/.ssh/authorized_keys"
chmod 600 "$home/.ssh/authorized_keys"
echo top-secret >"$home/diary"

# Two renters with homes and keys of their own.
renter() { # NAME: become it
    client=$work/$1
    [ -d "$client/.ssh" ] || { mkdir -p "$client/.ssh" "$work/p-$1"; chmod 700 "$client" "$client/.ssh"; client_key; }
    cd "$work/p-$1"
}
for r in ann bob; do
    renter $r
    know inn
    expect 0 host allow "$client/.ssh/id_ed25519.pub" --name $r
    has "$r may use this host as renter"
done

note "authorized_keys: forced commands, and the owner's line as it was"
[ "$(head -n 1 "$home/.ssh/authorized_keys")" = '# the owner: kept byte for byte' ] || fail "changed"
[ "$(grep -c '^restrict,command="[^"]* serve --renter [0-9a-f]\{16\}" ssh-ed25519 ' "$home/.ssh/authorized_keys")" = 2 ] ||
    fail "lines: $(cat "$home/.ssh/authorized_keys")"
expect 0 host renters
has ann
has bob
expect 0 host allow "$work/ann/.ssh/id_ed25519.pub" --name ann
[ "$(grep -c 'serve --renter' "$home/.ssh/authorized_keys")" = 2 ] || fail "a second line for ann"
expect 1 host allow "$work/ann/.ssh/id_ed25519" --name x
has 'private key' "$work/err"
expect 1 host allow "$work/bob/.ssh/id_ed25519.pub" --name ann
has 'called' "$work/err"
expect 1 host allow "$work/bob/.ssh/id_ed25519.pub" --name bob --until 2020-01-01
expect 1 host allow "$work/nokey" --name x

note "whatever a renter asks sshd for, it gets the agent"
renter ann
ssh_words=(-F /dev/null -i "$client/.ssh/id_ed25519" -o UserKnownHostsFile="$client/.ssh/known_hosts" -o BatchMode=yes -p "${port[inn]}" 127.0.0.1)
run timeout 20 ssh "${ssh_words[@]}" cat "$home/diary"
hasnt top-secret
run timeout 20 ssh -N -o ExitOnForwardFailure=yes -L "$(free_port):127.0.0.1:22" "${ssh_words[@]}"
[ "$rc" != 0 ] || fail "a forward was given"

note "a run of each, with the same file"
for r in ann bob; do
    renter $r
    expect 0 gpurun -q host add inn "127.0.0.1:${port[inn]}"
    head -c 300000 /dev/urandom >common.bin
    [ $r = ann ] || cp "$work/p-ann/common.bin" common.bin
    echo "private of $r" >"$r.txt"
    expect 0 gpurun --host inn --name "job-$r" --dir . -- sh -c 'cat *.txt; echo "made here" >result'
    has "private of $r"
done
ids=("$agent_home"/renters/*/)
[ ${#ids[@]} = 2 ] || fail "renters: ${ids[*]}"

note "the same bytes are another renter's: they were sent anew, into a store of its own"
for d in "${ids[@]}"; do
    [ "$(find "$d/store" -name '*.pack' -size +200k 2>/dev/null | wc -l)" -ge 1 ] ||
        [ "$(du -sk "$d/store" | cut -f1)" -ge 200 ] || fail "no copy in $d"
done

note "bob sees nothing of ann's, by name or by id"
renter ann
ann_job=$(gpurun --json ps -a | /usr/bin/python3 -c 'import json,sys; print(json.load(sys.stdin)["jobs"][0]["id"])')
ann_snap=$(gpurun --json ps -a | /usr/bin/python3 -c 'import json,sys; print(json.load(sys.stdin)["jobs"][0]["snapshot"])')
renter bob
expect 0 gpurun ps -a
hasnt job-ann
for words in "logs $ann_job" "wait $ann_job" "stop $ann_job" "snap show $ann_snap" "snap get $ann_snap" "resume $ann_job -- true"; do
    # shellcheck disable=SC2086
    run gpurun -q $words
    [ "$rc" = 100 ] || [ "$rc" = 101 ] || fail "$words: $rc"
    ! grep -q "private of ann" "$work/out" "$work/err" || fail "$words shows it"
done

note "a job of bob's is confined to its own directory and ordinary read paths"
cat >prowl.sh <<'SH'
try() { what=$1; shift; if "$@" >/dev/null 2>&1; then echo "WORKED: $what"; fi; }
try 'read the owner'\''s diary' cat "$1/diary"
# (In a private /tmp, the path to the job's own directory may be there: .local.)
try 'list the owner'\''s home' sh -c 'ls -A "$1" | grep -v "^[.]local$"' sh "$1"
try 'read authorized_keys' cat "$1/.ssh/authorized_keys"
try 'read the host key of the agent' cat "$2/key"
try 'see another renter' sh -c 'ls "$1"/renters | grep -v "^$(basename "$(dirname "$HOME")")$"' sh "$2"
try 'write to /etc' sh -c ': >/etc/gpurun-was-here'
try 'write to /usr' sh -c ': >/usr/gpurun-was-here'
try 'write to /var' sh -c ': >/var/tmp/gpurun-was-here'
try 'read /root' ls /root
try 'read shadow' grep -q . /etc/shadow
try 'read a host key of sshd' sh -c 'cat /etc/ssh/ssh_host_*_key | grep .'
try 'read a raw disk' sh -c 'for d in /dev/vda /dev/sda /dev/nvme0n1; do head -c 1 $d && exit 0; done; exit 1'
try 'use a capability' chown 12345 prowl.sh
try 'see other processes' sh -c 'for p in /proc/[0-9]*; do tr "\0" " " <$p/cmdline; done | grep "[s]shd"'
try 'the abstract socket of others' /usr/bin/python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.connect("\0gpurun-test-abstract")'
echo mine >own || echo 'cannot write its own directory'
echo cached >"$HOME/cache-file" || echo 'cannot write its cache'
echo t >"$TMPDIR/t" && [ -e /tmp/t ] || echo 'has no private /tmp'
/usr/bin/python3 -c 'import json, socket' || echo 'cannot run python'
cat /etc/passwd >/dev/null || echo 'cannot read /etc/passwd'
echo done
SH
/usr/bin/python3 -c '
import socket, sys, time
s = socket.socket(socket.AF_UNIX); s.bind("\0gpurun-test-abstract"); s.listen(); print("up", flush=True); time.sleep(600)' >"$work/abstract" &
pid[abstract]=$!
await 20 "the abstract socket" grep -q up "$work/abstract"
expect 0 gpurun -q --host inn --name prowl --dir . -- sh prowl.sh "$home" "$agent_home"
[ "$(cat "$work/out")" = done ] || fail "the job could, or could not: $(cat "$work/out")"
stop abstract

note "its cache is there for its next job, and for nobody else's"
# shellcheck disable=SC2016
expect 0 gpurun -q --host inn -- sh -c 'cat "$HOME/cache-file"'
has cached
renter ann
# shellcheck disable=SC2016
expect 1 gpurun -q --host inn -- sh -c 'cat "$HOME/cache-file"'

note "a cap of all jobs together"
expect 0 host price set cpu=3.6
expect 0 host allow "$work/ann/.ssh/id_ed25519.pub" --name ann --max-cost 0.30
expect 0 gpurun -q --host inn --max-cost 0.20 --name one -- true
gpurun -q -d --host inn --max-cost 0.30 --name two -- sleep 600 >"$work/id"
run gpurun -q --host inn --max-cost 0.20 --name three -- true
[ "$rc" = 101 ] || [ "$rc" = 100 ] || fail "above what the owner allows: $rc"
has 'owner allows' "$work/err"

note "revoked: not let in any more; what runs keeps its grant, and is stopped by the owner"
expect 0 host revoke ann
has 'still run'
! grep -q 'gpurun:ann' "$home/.ssh/authorized_keys" || fail "the line is still there"
run gpurun -q --host inn -- true
[ "$rc" = 101 ] || [ "$rc" = 103 ] || fail "a revoked renter: $rc"
renter bob
expect 0 gpurun -q --host inn -- true
expect 1 host revoke ann-nobody
p=$(sed -n 's/^pid=//p' "$(grep -lx name=two "$agent_home"/renters/*/jobs/*/state)")
kill -TERM "$p"
await 30 "ann's job ends" gone "$p"

note "until a time: sshd and the agent both keep it"
expect 0 host allow "$work/bob/.ssh/id_ed25519.pub" --name bob --until 2099-12-31T00:00:00Z
grep -q 'expiry-time="209912310000Z"' "$home/.ssh/authorized_keys" || fail "no expiry-time"
expect 0 gpurun -q --host inn -- true
d=$(grep -lx name=bob "$agent_home"/renters/*/renter)
sed -i 's/^until_wall_ns=.*/until_wall_ns=1000000000000000000/' "$d"
run gpurun -q --host inn -- true
[ "$rc" = 101 ] || [ "$rc" = 100 ] || fail "admitted until 2001: $rc"
has 'until' "$work/err"

[ -z "$(leftovers | grep -v "sshd: ")" ] || { stop inn; [ -z "$(leftovers)" ] || fail "left over: $(leftovers)"; }
