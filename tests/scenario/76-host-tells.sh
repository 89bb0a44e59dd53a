#!/bin/bash
# A renter that never comes back: the host tells the operator's book by itself what a job cost, what
# keeping did, and that a reservation was broken. Twice, or with the renter after all, it changes
# nothing; who is not that book, or no host, is not talked to.
# needs: root
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
book() { env -i PATH="$PATH" HOME="$work/op/home" LC_ALL=C.UTF-8 TZ=UTC "$BUILD/bin/gpurun-book" "$@"; }
owner() { env -i PATH="$PATH" HOME="$work/far/home" LC_ALL=C.UTF-8 TZ=UTC GPURUN_SSH="${calls:-$work/far/ssh}" "$BUILD/bin/gpurun-agent" "$@"; }
stands() { # BALANCE HELD: of ann, in the book, with nobody asking for her
    expect 0 book balance ann --json
    is 'd["balance_fen"], d["held_fen"]' "($1, $2)"
}
settled() { book balance ann --json | /usr/bin/python3 -c 'import json, sys; sys.exit(any(h["for"] == "run" for h in json.load(sys.stdin)["holds"]))'; }

# ssh(1) looks for keys in the passwd entry's home, which is this user's own: a program of the owner's
# that says where they are.
mkdir -p "$work/far" "$work/op/home/.ssh"
printf '#!/bin/sh\nexec ssh -F %s "$@"\n' "$work/far/ssh_config" >"$work/far/ssh"
chmod 755 "$work/far/ssh"
printf 'IdentityFile %s\nUserKnownHostsFile %s\nGlobalKnownHostsFile /dev/null\n' "$work/far/login" "$work/far/known" >"$work/far/ssh_config"
ssh-keygen -q -t ed25519 -N '' -C far -f "$work/far/login"
sshd op -- "AuthorizedKeysFile $work/op/home/.ssh/authorized_keys"
sshd far -- "SetEnv HOME=$work/far/home GPURUN_SSH=$work/far/ssh"
client_key
authorize far
know far
know op
rows=$work/far/home/.local/share/gpurun-agent/devices.d
mkdir -p "$rows"
chmod 700 "$work/far/home/.local/share/gpurun-agent"
: >"/dev/shm/tau1-$$"
at_end() { rm -f /dev/shm/tau[12]-$$ /run/lock/gpurun-devices/{tau-tau1,ups-tau2}-$$.lock; }
printf 'gpurun.class.v1\n\nclass=asic\nvendor=tau\ndetect=nodes\nnode=/dev/shm/tau1-%s\ntype=tau\n' $$ >"$rows/tau.conf"
expect 0 owner price set cpu=36 asic:tau=3.60 disk=10
expect 0 owner price set asic:tau/day=24
expect 0 book key
key=$(cat "$work/out")
expect 0 owner book allow "$key" --name acme
expect 0 owner book ls --json
is 'd["books"][0]["at"]' None
host_key=$(json 'd["host_key"]')
expect 0 book fee 10
expect 0 book host add far "$host_key"
expect 0 gpurun -q host add far "127.0.0.1:${port[far]}"
expect 0 book allow "$client/.ssh/id_ed25519.pub" --name ann
expect 0 gpurun -q wallet use "127.0.0.1:${port[op]}"
expect 0 book deposit ann 100

note "what is no place, and no book"
for bad in '' -oProxyCommand=x 'a b' 'root@-x' '@x' "x;y" 'a/b'; do
    expect 1 owner book reach acme -- "$bad"
done
expect 1 owner book reach nobody 127.0.0.1
expect 2 owner book # no word
expect 1 owner book reach acme
expect 0 owner book tell --json
is 'd["told"]' 0
expect 0 owner book reach acme "127.0.0.1:${port[op]}" --json
is 'd["books"][0]["at"]' "127.0.0.1:${port[op]}"

note "a job with nobody there: the book cannot be told, as its machine is not known"
expect 0 gpurun -q -d --name one --max-cost 6 -- sh -c 'head -c 3000000 /dev/urandom >data; sleep 1'
one=$(cat "$work/out")
dir=$(echo "$work"/far/home/.local/share/gpurun-agent/renters/*/jobs/"$one")
await 60 "the end of the job" grep -q '^state=ended' "$dir/state"
expect 1 owner book tell
has "the book 'acme' at 127.0.0.1:${port[op]}" "$work/err"
has "Host key verification failed" "$work/err"
echo "[127.0.0.1]:${port[op]} $(cut -d' ' -f1,2 "$work/op/host_key.pub")" >"$work/far/known"
expect 1 owner book tell
has "Permission denied" "$work/err"
stands 10000 600

note "a book that is called by the clock, in vain too, puts off no parking, and its tries no back-off"
tell_in_vain() { # every second or two; true once FILE is there
    if [ -e "$1" ]; then
        return 0
    fi
    expect 1 owner book tell
    sleep 1.5
    [ -e "$1" ]
}
expect 0 gpurun -q host park far "echo x >>$work/parked; exit 3" --park-after 5s
await 100 "parked between errands" tell_in_vain "$work/parked"
phase() { gpurun --json host show far | /usr/bin/python3 -c 'import json, sys; print((json.load(sys.stdin)["park"] or {}).get("phase"))'; }
for _ in 1 2 3 4; do # more than the time asked for
    tell_in_vain "$work/none-such" || true
done
[ "$(phase)" = failed ] || fail "phase $(phase) after errands"
[ "$(wc -l <"$work/parked")" = 1 ] || fail "tried again before its time"
expect 0 gpurun -q host park far none
expect 0 book host add far "$host_key" --ssh-key "$work/far/login.pub"
expect 1 book host rm far --ssh-key "$work/far/login.pub"
grep -q "^restrict,command=\".*gpurun-book'* serve --host [0-9a-f]*\" ssh-ed25519" "$work/op/home/.ssh/authorized_keys" || fail "no login for the host"

note "what answers has to be that book, and say something sensible"
printf '#!/bin/sh\nexec yes\n' >"$work/yes"
mkdir "$work/other"
expect 0 env -i HOME="$work/other" "$BUILD/bin/gpurun-book" host add far "$host_key"
printf '#!/bin/sh\nexec env HOME=%s %s/bin/gpurun-book serve\n' "$work/other" "$BUILD" >"$work/otherbook"
printf '#!/bin/sh\nexec env HOME=%s/far/home GPURUN_AGENT_HOME=%s/other/agent %s/bin/gpurun-agent serve\n' "$work" "$work" "$BUILD" >"$work/nobook"
printf '#!/bin/sh\nprintf "\\033[2Jgo away\\n" >&2; exit 9\n' >"$work/rude"
chmod 755 "$work"/yes "$work"/otherbook "$work"/nobook "$work"/rude
for calls in "$work/yes" "$work/otherbook" "$work/nobook" "$work/rude"; do
    expect 1 owner book tell
    ! grep -q "$(printf '\033')" "$work/err" || fail "a terminal can be steered"
    stands 10000 600
done
calls=$work/none-such
expect 1 owner book tell
has "cannot run" "$work/err"
calls=$work/otherbook
expect 1 owner book tell
has "another key" "$work/err"
calls=''

note "told: the owner is paid, the rest is free, what covers keeping stays"
expect 0 owner book tell --json
is 'd["told"]' 1
charge=$(sed -n 's/^charge_fen=//p' "$dir/state")
[ "$charge" -gt 0 ] || fail "it cost nothing: $(cat "$dir/state")"
expect 0 book balance ann --json
kept=$(json 'd["held_fen"]')
{ [ "$kept" -gt 0 ] && [ "$kept" -lt 600 ]; } || fail "$kept fen held for keeping"
stands $((10000 - charge)) "$kept"
expect 0 book host ls --json
is 'd["hosts"][0]["due_fen"]' $((charge - charge / 10))
# What a kept job cost is not gone through again at each errand: only whether it is kept still is asked.
mv "$dir/usage" "$work/usage.away"
expect 0 owner book tell --json
mv "$work/usage.away" "$dir/usage"
is 'd["told"]' 0

note "the next job's end is told by its supervisor; notes that are lost change nothing"
expect 0 gpurun -q -d --name two --max-cost 5 -- sleep 1
await 60 "the book has heard of it" settled
two=$(echo "$work"/far/home/.local/share/gpurun-agent/renters/*/jobs/*/state | tr ' ' '\n' | grep -v "$one")
charge=$((charge + $(sed -n 's/^charge_fen=//p' "$two")))
expect 0 book balance ann --json
[ "$(json 'd["balance_fen"]')" = $((10000 - charge)) ] || fail "$(cat "$work/out"), $charged charged"
held=$(json 'd["held_fen"]')
await_none 30 'gpurun-agent errands'
rm -r "$work/far/home/.local/share/gpurun-agent/told"
expect 0 owner book tell --json
is 'd["told"] > 1' True
stands $((10000 - charge)) "$held"

note "a reservation is broken: its book hears it at once, without the renter"
expect 0 gpurun -q reserve --device asic:tau --day
v=$(cat "$work/out")
stands $((7600 - charge)) "$held"
# Of one job nobody can say any more whether it is on it: it is named, and all the rest is done.
mine=$(echo "$work"/far/home/.local/share/gpurun-agent/renters/*)
mkdir -p "$mine/jobs/j00000000zzzz" "$mine/active"
echo junk >"$mine/jobs/j00000000zzzz/state"
: >"$mine/active/j00000000zzzz"
expect 1 owner reservation break "$v" --json
rm -r "$mine/jobs/j00000000zzzz" "$mine/active/j00000000zzzz"
is 'd["stopped"], [n["job"] for n in d["not_stopped"]]' "([], ['j00000000zzzz'])"
has "job j00000000zzzz could not be told to end" "$work/err"
due=$(json 'd["refund_fen"]')
[ "$due" -gt 2390 ] || fail "$due fen go back"
hasnt "not every book was told" "$work/err"
stands $((7600 - charge + due)) "$held"

note "the renter comes back: nothing more moves, and lets the data go, which the host tells"
for j in one two; do
    expect 0 gpurun -q bill $j
done
expect 0 gpurun -q reserve ls
stands $((7600 - charge + due)) "$held"
stop op
run gpurun -q snap rm "$one"
sshd op -- "AuthorizedKeysFile $work/op/home/.ssh/authorized_keys"
stands $((7600 - charge + due)) "$held"
expect 0 owner tick --json
is 'd["booked"] > 0' True
expect 0 book balance ann --json
is 'd["held_fen"] < '"$held" True
expect 0 gpurun --json audit
is 'd["right"]' True
expect 0 owner audit --json
is 'd["right"]' True
expect 0 book audit --json
is 'd["right"]' True

note "other devices by a slow way to the book: what was shown is what is paid"
# More than a yuan a second less, and each question takes longer than a second.
printf 'gpurun.class.v1\n\nclass=asic\nvendor=ups\ndetect=nodes\nnode=/dev/shm/tau2-%s\ntype=ups\n' $$ >"$rows/ups.conf"
: >"/dev/shm/tau2-$$"
expect 0 owner price set asic:ups=3600
expect 0 owner price set asic:ups/day=90000
expect 0 book deposit ann 100000
expect 0 gpurun -q reserve --device asic:tau --day
v=$(cat "$work/out")
slow=$(free_port)
spawn slow "$(tool relay)" "$slow" "${port[op]}" --delay 600
await 20 "the relay" grep -q ready "$work/slow.log"
echo "[127.0.0.1]:$slow $(cut -d" " -f1,2 "$work/op/host_key.pub")" >>"$client/.ssh/known_hosts"
expect 0 gpurun -q wallet use "127.0.0.1:$slow"
expect 0 gpurun -q --json reserve switch "$v" --device asic:ups
is 'd["type"], d["events"][1]["charge_fen"] > 8990000' "('ups', True)"
stop slow
expect 0 book audit --json
is 'd["right"]' True

note "a login of a host's is no renter's, and of no other host"
client=$work/guest
mkdir -p "$client/.ssh"
chmod 700 "$client" "$client/.ssh"
cp "$work/far/login" "$client/.ssh/id_ed25519"
know op
run gpurun -q wallet use "127.0.0.1:${port[op]}"
[ "$rc" != 0 ] || expect 101 gpurun wallet
grep -qE "login is a host's|nobody has been let in" "$work/err" || fail "let in"

note "a host that was removed has no login any more"
expect 0 book host rm far
! grep -q 'serve --host' "$work/op/home/.ssh/authorized_keys" || fail "it still has"
grep -q 'serve --account' "$work/op/home/.ssh/authorized_keys" || fail "so has nobody"
rm -r "$work/far/home/.local/share/gpurun-agent/told"
expect 1 owner book tell
has "Permission denied" "$work/err"
expect 0 book host rm far
