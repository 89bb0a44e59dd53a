#!/bin/bash
# Checkpoints while a job runs: countersigned by the client, acknowledged by the operator's book, and
# both are in the chain that the receipt proves.
# needs: root
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
sshd op -- "AuthorizedKeysFile $work/op/home/.ssh/authorized_keys"
mkdir -p "$work/op/home/.ssh"
book() { env -i PATH="$PATH" HOME="$work/op/home" LC_ALL=C.UTF-8 TZ=UTC "$BUILD/bin/gpurun-book" "$@"; }
owner() { env -i PATH="$PATH" HOME="$work/h1/home" LC_ALL=C.UTF-8 TZ=UTC GPURUN_SSH="$work/h1/ssh" "$BUILD/bin/gpurun-agent" "$@"; }
client_key
sshd h1 -- "SetEnv HOME=$work/h1/home GPURUN_SSH=$work/h1/ssh"
know op
know h1
authorize h1
expect 0 owner price set cpu=36
expect 0 gpurun -q host add h1 "127.0.0.1:${port[h1]}"
expect 0 book key
expect 0 owner book allow "$(cat "$work/out")"
expect 0 owner book ls --json
expect 0 book host add h1 "$(json 'd["host_key"]')"
expect 0 book allow "$client/.ssh/id_ed25519.pub" --name ann
expect 0 book deposit ann 10
expect 0 gpurun wallet use "127.0.0.1:${port[op]}"
mkdir "$work/proj"
cd "$work/proj"
echo 'echo up; while [ ! -e stop ]; do sleep 0.2; done' >wait.sh
client_bg "$work/o" "$work/e" run --host h1 --name one --max-cost 6 wait.sh </dev/null
await 60 "the job is up" grep -q up "$work/o"
# Another one that nobody follows: its supervisor has the book acknowledge it.
expect 0 gpurun -q -d --host h1 --name alone --max-cost 3 wait.sh
alone=$(echo "$work"/h1/home/.local/share/gpurun-agent/renters/*/jobs/"$(cat "$work/out")"/usage)
printf '#!/bin/sh\nexec ssh -F %s "$@"\n' "$work/h1/ssh_config" >"$work/h1/ssh"
chmod 755 "$work/h1/ssh"
printf 'IdentityFile %s\nUserKnownHostsFile %s\n' "$work/h1/login" "$client/.ssh/known_hosts" >"$work/h1/ssh_config"
ssh-keygen -q -t ed25519 -N '' -C h1 -f "$work/h1/login"
expect 0 owner book ls --json
expect 0 book host add h1 "$(json 'd["host_key"]')" --ssh-key "$work/h1/login.pub"
expect 0 owner book reach book "127.0.0.1:${port[op]}"
journal=$(ls "$work"/h1/home/.local/share/gpurun-agent/renters/*/jobs/*/usage | grep -vF "$alone")
[ -f "$journal" ] || fail "no journal: $journal"
await 150 "the renter's countersignature in the host's chain" grep -qaF 'by=renter' "$journal"
await 60 "the book's acknowledgement in the host's chain" grep -qaF 'by=book' "$journal"
await 60 "a checkpoint of the other" grep -qaF 'kind=checkpoint' "$alone"
# Another book of this host's, the first of the list, never answers: that is its own affair.
await_none 30 'gpurun-agent errands'
printf '#!/bin/sh\ncase "$*" in *hangs.invalid*) echo $$ >%s/hangs; exec sleep 600 ;; esac\nexec ssh -F %s "$@"\n' "$work" "$work/h1/ssh_config" >"$work/h1/ssh"
slow=$(printf '%064d' 0)
expect 0 owner book allow "$slow" --name slow
expect 0 owner book reach slow hangs.invalid
# It is called for a lease that came to nothing, as every book is.
mkdir -p "$(dirname "$(dirname "$(dirname "$alone")")")/declined"
echo nonsense >"$(dirname "$(dirname "$(dirname "$alone")")")/declined/l00000000zzzz"
owner book tell >"$work/tell.out" 2>"$work/tell.err" &
tell=$!
await 60 "the book that hangs is called" test -s "$work/hangs"
# As if five minutes had gone since the host last called the book for its jobs.
rm -f "$work"/h1/home/.local/share/gpurun-agent/told.*.due
await 120 "the acknowledgement of a job that nobody follows" grep -qaF 'by=book' "$alone"
kill -0 "$(cat "$work/hangs")" || fail "it waited for the book that hangs"
is_due() { [ -f "$(echo "$work"/h1/home/.local/share/gpurun-agent/told.*.due)" ]; }
await 90 "when the next is due, as a supervisor had it seen to" is_due
kill "$tell" "$(cat "$work/hangs")" 2>/dev/null || true
! grep -qaF 'by=renter' "$alone" || fail "somebody follows it"
expect 143 gpurun -q stop alone
[ -n "$(ls "$work/op/home/.local/share/gpurun-book/acks")" ] || fail "the book keeps no acknowledgement"
job=$(basename "$(dirname "$journal")")
expect 143 gpurun -q stop one
wait "$bg" 2>/dev/null || true
expect 0 gpurun --json bill --verify one
# Its clock is as true as ours, and nothing of it is kept.
is 'd["dispute"], d["countersigned_s"] > 0, d["acknowledged_s"] > 0' "(None, True, True)"
[ ! -e "$client/gpurun/evidence/$job" ] || fail "evidence of nothing: $(cat "$client/gpurun/evidence/$job")"
expect 0 gpurun bill --verify one --all
grep -qaF 'by=book' "$client/gpurun/receipts/$job" || fail "not in the receipt"
expect 0 gpurun bill --verify alone --all
expect 0 book audit
