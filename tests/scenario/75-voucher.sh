#!/bin/bash
# Vouchers of an operator's book: they pay before cash, in the law's order; the owner gets its share of
# the whole charge and the operator bears them; a run with no cash at all; a voucher for dear runs only;
# what is given back goes to where it came from. The renter, the owner and the book agree to the fen.
# needs: root
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
book() { env -i PATH="$PATH" HOME="$work/op/home" LC_ALL=C.UTF-8 TZ=UTC "$BUILD/bin/gpurun-book" "$@"; }
owner() { env -i PATH="$PATH" HOME="$work/far/home" LC_ALL=C.UTF-8 TZ=UTC "$BUILD/bin/gpurun-agent" "$@"; }
funds() { # BALANCE HELD VOUCHERS
    expect 0 gpurun --json wallet
    is 'd["balance_fen"], d["held_fen"], sum(v["free_fen"] for v in d["vouchers"])' "($1, $2, $3)"
}

sshd op -- "AuthorizedKeysFile $work/op/home/.ssh/authorized_keys"
mkdir -p "$work/op/home/.ssh"
sshd far
client_key
authorize far
know far
know op
rows=$work/far/home/.local/share/gpurun-agent/devices.d
mkdir -p "$rows"
chmod 700 "$work/far/home/.local/share/gpurun-agent"
: >"/dev/shm/beta1-$$"
at_end() { rm -f /dev/shm/beta1-$$ /run/lock/gpurun-devices/beta-beta1-$$.lock; }
printf 'gpurun.class.v1\n\nclass=asic\nvendor=beta\ndetect=nodes\nnode=/dev/shm/beta1-%s\ntype=beta\n' $$ >"$rows/beta.conf"
expect 0 owner price set cpu=36 disk=20 asic:beta=3.60 asic:beta/day=24
expect 0 book key
expect 0 owner book allow "$(cat "$work/out")" --name acme
expect 0 owner book own no --json
expect 0 owner book ls --json
expect 0 book host add far "$(json 'd["host_key"]')"
expect 0 book fee 10
expect 0 gpurun -q host add far "127.0.0.1:${port[far]}"
expect 0 book allow "$client/.ssh/id_ed25519.pub" --name ann
expect 0 gpurun -q wallet use "127.0.0.1:${port[op]}"

note "given once, with bounds that are dates and amounts"
expect 0 book voucher add ann 3 --ref welcome --until 2099-12-31
expect 0 book voucher add ann 3 --ref welcome --until 2099-12-31 --json
is 'd["repeated"], d["fen"]' "(True, 300)"
expect 1 book voucher add ann 4 --ref welcome --until 2099-12-31
has "was used for something else" "$work/err"
for bad in 1.005 0 -1 x; do
    expect 1 book voucher add ann -- "$bad"
done
expect 1 book voucher add ann 1 --until 2020-01-01
has "expired" "$work/err"
expect 1 book voucher add ann 1 --until tomorrow
expect 1 book voucher add ann 1 --min-spend 1.005
expect 1 book voucher add nobody 1
expect 1 book voucher ls ann --ref x
expect 0 book voucher add ann 20 --ref dear --min-spend 20
expect 0 book voucher ls ann --json
is '[(v["id"], v["free_fen"], v["state"]) for v in d["vouchers"]]' "[('dear', 2000, 'open'), ('welcome', 300, 'open')]"
funds 0 0 2300
# One of twenty yuan and more is no help to who cannot pay nineteen: only the other counts.
is 'd["reach_fen"]' 300
expect 0 gpurun wallet
has "a run may hold"
has "welcome"

note "a run with no cash: held of the voucher, charged to it, the rest is free again"
expect 101 gpurun -q --max-cost 3.01 -- true
has "free for you" "$work/err"
mkfifo "$work/enough"
exec 7<>"$work/enough"
client_bg "$work/o1" "$work/e1" run --name one -- \
    sh -c 'head -c 100000 /dev/urandom >data; echo up; sleep 1.2; read -r _' <"$work/enough"
up() { grep -q up "$work/o1" || gone "$bg"; }
await 60 "the job is up" up
grep -q up "$work/o1" || fail "no job: $(cat "$work/e1")"
expect 0 book voucher ls ann --json
is '[(v["free_fen"], v["promised_fen"]) for v in d["vouchers"]]' "[(2000, 0), (0, 300)]"
echo >&7
wait "$bg" || fail "status $?: $(cat "$work/e1")"
expect 0 gpurun --json bill one
charge=$(json 'd["charge_fen"]')
[ "$charge" -gt 0 ] || fail "it cost nothing"
expect 0 gpurun -q snap rm one
expect 0 gpurun --json bill one
whole=$((charge + $(json 'sum(l["fen"] for l in d["lines"] if l["kind"] == "keeping")')))
funds 0 0 $((2300 - whole))
expect 0 book host ls --json
due=$(json 'd["hosts"][0]["due_fen"]')
expect 0 book audit --json
is 'd["right"], d["vouchers_spent_fen"], d["vouchers_left_fen"], d["charges_fen"]' "(True, $whole, $((2300 - whole)), $whole)"
is 'd["owners_fen"]' "$due"
expect 0 gpurun --json wallet log
is 'sum(x["voucher_change_fen"] for x in d), sum(x["balance_change_fen"] for x in d)' "($((2300 - whole)), 0)"
expect 0 book statement ann --json
is 'sum(x["voucher_change_fen"] for x in d["entries"])' $((2300 - whole))

note "with cash the other counts, too; what is dear enough is paid by vouchers first"
expect 0 book deposit ann 20
left=$((300 - whole))
expect 0 gpurun --json wallet
is 'd["reach_fen"]' $((2000 + 2000 + left))
expect 0 gpurun -q reserve --device asic:beta --day
id=$(cat "$work/out")
# 24 yuan: the one that expires, the one for dear runs, and the rest in cash.
cash=$((2000 - (2400 - 2000 - left)))
funds $cash 0 0
expect 0 book voucher ls --json
is '[v["state"] for v in d["vouchers"]]' "['used up', 'used up']"

note "given back: cash first, then the vouchers from the last to the first"
expect 0 gpurun -q --json reserve refund "$id"
paid=$(json 'd["paid_fen"]')
back=$((2400 - paid))
rest=$((back - (2000 - cash)))
[ "$rest" -gt 0 ] || fail "only $back fen came back"
dear=$((rest < 2000 ? rest : 2000))
funds 2000 0 "$rest"
expect 0 book voucher ls --json
is '[v["free_fen"] for v in d["vouchers"]]' "[$dear, $((rest - dear))]"
expect 0 gpurun --json audit
is 'd["right"]' True
expect 0 owner audit --json
is 'd["right"]' True
expect 0 book audit --json
is 'd["right"], d["owners_fen"] + d["fee_fen"] == d["charges_fen"]' "(True, True)"
is 'd["renters_fen"] + d["vouchers_left_fen"] + d["charges_fen"]' $((2000 + 2300))
