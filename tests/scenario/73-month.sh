#!/bin/bash
# A month in a minute: two hosts, three renters and an operator's book, each beyond a cable of its own,
# by clocks that are set on from day to day, and from 31 January, 23:59 in Shanghai into February
# under jobs that run. Three statements, equal to the fen: the renters', the owners', the book's.
# DAYS: on how many days jobs run (make soak: each of them).
# needs: root
# limit: 300
# repeats
if [ "${1:-}" != inside ]; then
    [ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
    exec unshare -n -- bash "$0" inside
fi
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/clocks.sh"
ip link set lo up

DAYS=${DAYS:-3}
JANUARY_S=1798732800 # 2027-01-01 00:00 in Shanghai
FEBRUARY_S=1801411200
# One clock for all the world: what each side keeps of time is the same month.
timed world
clock_of_world() { # SECONDS: set the wall clock to that
    step world "$(/usr/bin/python3 -c 'import struct, sys, time
print(repr(float(sys.argv[2]) - time.time() - struct.unpack("3q", open(sys.argv[1], "rb").read())[0] / 1e9))' "$work/world.clock" "$1")" "${@:2}"
}
clock_of_world $((JANUARY_S + 3600)) wall

note "a book and two hosts, each in a network of its own"
n=0
real_sshd=$sshd_program
for h in op h1 h2; do
    n=$((n + 1))
    spawn "net-$h" unshare -n sleep 1000
    p=${pid[net-$h]}
    other_net() { [ "$(readlink "/proc/$p/ns/net")" != "$(readlink /proc/self/ns/net)" ]; }
    await 20 "a network for $h" other_net
    ip link add "cable$n" type veth peer name far netns "$p"
    ip addr add "10.73.$n.1/24" dev "cable$n"
    ip link set "cable$n" up
    nsenter --net="/proc/$p/ns/net" sh -c "ip link set lo up; ip addr add 10.73.$n.2/24 dev far; ip link set far up"
    printf '#!/bin/sh\nexec nsenter --net=/proc/%s/ns/net %s "$@"\n' "$p" "$real_sshd" >"$work/sshd_there"
    chmod 755 "$work/sshd_there"
    sshd_program=$work/sshd_there
    if [ $h = op ]; then
        sshd op --address 10.73.$n.2 -- "AuthorizedKeysFile $work/op/home/.ssh/authorized_keys"
    else
        sshd $h --address 10.73.$n.2 -- "ForceCommand env $(clock_env world) GPURUN_AGENT_HOME=$work/$h/agent $agent_dyn serve"
    fi
    sshd_program=$real_sshd
done
mkdir -p "$work/op/home/.ssh"
# shellcheck disable=SC2046
book() { env -i PATH="$PATH" HOME="$work/op/home" LC_ALL=C.UTF-8 TZ=UTC $(clock_env world) "$BUILD/bin/gpurun-book" "$@"; }
owner() { # HOST WORD...
    # shellcheck disable=SC2046
    env -i PATH="$PATH" HOME="$work/$1/home" LC_ALL=C.UTF-8 TZ=UTC GPURUN_AGENT_HOME="$work/$1/agent" $(clock_env world) "$agent_dyn" "${@:2}"
}
# shellcheck disable=SC2046
gpurun() { as_client env $(clock_env world) "$BUILD/bin/gpurun" "$@"; }
renter() { # NAME: become it
    client=$work/$1
    [ -d "$client/.ssh" ] || { mkdir -p "$client/.ssh" "$work/p-$1"; chmod 700 "$client" "$client/.ssh"; client_key; }
    cd "$work/p-$1"
}
expect 0 book key
key=$(cat "$work/out")
expect 0 book fee 7.5
for h in h1 h2; do
    expect 0 owner $h price set cpu=$([ $h = h1 ] && echo 361.23 || echo 799.99) job=0.013 disk=300
    expect 0 owner $h book allow "$key"
    expect 0 owner $h book own no
    expect 0 owner $h book ls --json
    expect 0 book host add $h "$(json 'd["host_key"]')"
done
for r in ann bob eve; do
    renter $r
    know op 10.73.1.2
    expect 0 book allow "$client/.ssh/id_ed25519.pub" --name $r
    expect 0 book deposit $r 500
    n=1
    for h in h1 h2; do
        n=$((n + 1))
        authorize $h
        know $h 10.73.$n.2
        expect 0 gpurun -q host add $h "10.73.$n.2:${port[$h]}"
    done
    sed -i "\#command=\"env#!s#command=\"#command=\"env $(clock_env world) #" "$work/op/home/.ssh/authorized_keys"
    expect 0 gpurun wallet use "10.73.1.2:${port[op]}"
    printf 'head -c 300000 /dev/urandom >data; echo up; until [ -e "$1" ]; do sleep 0.1; done; sleep "$2"\n' >job.sh
done

declare -A runner=()
begin() { # RENTER HOST NAME SECONDS: a job that ends so long after $work/go-NAME is there
    renter "$1"
    # shellcheck disable=SC2046
    (exec env -i PATH="$PATH" HOME="$client" GPURUN_HOME="$client/gpurun" LC_ALL=C.UTF-8 TZ=UTC $(clock_env world) \
        "$BUILD/bin/gpurun" -q --host "$2" --name "$3" --max-cost 60 -- sh job.sh "$work/go" "$4") </dev/null >"$work/$1.out" 2>"$work/$1.err" &
    runner[$1]=$!
}
all() { # DAY: a job of each renter; WORD... to be done while all of them run
    local day=$1 r i=0
    shift
    rm -f "$work/go"
    for r in ann bob eve; do
        i=$((i + 1))
        begin $r h$(((day + i) % 2 + 1)) "day-$day" "$i.4"
    done
    for r in ann bob eve; do
        await 90 "the job of $r" grep -q up "$work/$r.out"
    done
    "$@"
    : >"$work/go"
    for r in ann bob eve; do
        wait "${runner[$r]}" || fail "$r: status $?: $(cat "$work/$r.err")"
    done
}
for day in $(seq 1 "$DAYS"); do
    note "day $((1 + (day - 1) * 30 / DAYS)) of January"
    clock_of_world $((JANUARY_S + (day - 1) * 30 * 86400 / DAYS + day * 4321))
    all "$day" true
    for h in h1 h2; do
        expect 0 owner $h tick
    done
done
note "the month ends under three jobs"
clock_of_world $((FEBRUARY_S - 60))
# Now it is two seconds to midnight: the wall clock alone is set, which is on no bill.
all $((DAYS + 1)) clock_of_world $((FEBRUARY_S - 1)) wall
note "one lets its data go in February, three days later"
clock_of_world $((FEBRUARY_S + 3 * 86400))
renter eve
expect 0 gpurun -q snap rm "day-$((DAYS + 1))"
# What is kept of the others goes by itself.
clock_of_world $((FEBRUARY_S + 25 * 86400))
for h in h1 h2; do
    expect 0 owner $h tick
    expect 0 owner $h audit
done
for r in ann bob eve; do
    renter $r
    expect 0 gpurun wallet
done
expect 0 book tick

note "the statements"
mkdir "$work/s"
for r in ann bob eve; do
    renter $r
    expect 0 gpurun bill --verify --all
    expect 0 gpurun audit
    for m in 2027-01 2027-02; do
        expect 0 gpurun --json bill --month $m
        cp "$work/out" "$work/s/bill-$r-$m"
        expect 0 gpurun --json audit --month $m
        cp "$work/out" "$work/s/audit-$r-$m"
    done
    expect 0 gpurun --json bill
    cp "$work/out" "$work/s/bill-$r"
    expect 0 gpurun --json wallet
    cp "$work/out" "$work/s/wallet-$r"
done
for h in h1 h2; do
    for m in 2027-01 2027-02; do
        expect 0 owner $h audit --json --month $m
        cp "$work/out" "$work/s/owner-$h-$m"
    done
    expect 0 owner $h audit --json
    cp "$work/out" "$work/s/owner-$h"
done
for m in 2027-01 2027-02; do
    expect 0 book statement --json --month $m
    cp "$work/out" "$work/s/book-$m"
done
expect 0 book audit --json
cp "$work/out" "$work/s/book"
expect 0 book host ls --json
cp "$work/out" "$work/s/book-hosts"
/usr/bin/python3 - "$work/s" "$((DAYS + 1))" <<'PY' || fail "the statements differ: $(head -c 3000 "$work"/s/owner-h1-2027-01)"
import json, sys
def of(name):
    return json.load(open(sys.argv[1] + "/" + name))
renters, hosts, months = ("ann", "bob", "eve"), ("h1", "h2"), ("2027-01", "2027-02")
n = int(sys.argv[2])
whole = 0
for r in renters:
    bill = of("bill-" + r)
    assert len(bill["bills"]) == n, (r, len(bill["bills"]))
    by_month = [of("bill-%s-%s" % (r, m))["total_fen"] for m in months]
    assert sum(by_month) == bill["total_fen"], (r, by_month, bill["total_fen"])
    for m, fen in zip(months, by_month):
        a = of("audit-%s-%s" % (r, m))
        assert a["right"] and a["charge_fen"] + a["keeping_fen"] == fen, (r, m, a, fen)
    # Paid in front, and what is left of it.
    w = of("wallet-" + r)
    assert w["held_fen"] == 0 and 50000 - w["balance_fen"] == bill["total_fen"], (r, w, bill["total_fen"])
    whole += bill["total_fen"]
for m in months:
    mine = sum(of("bill-%s-%s" % (r, m))["total_fen"] for r in renters)
    theirs = [of("owner-%s-%s" % (h, m)) for h in hosts]
    assert all(o["right"] for o in theirs)
    assert mine == sum(o["charge_fen"] + o["keeping_fen"] for o in theirs), (m, mine, theirs)
    assert mine > 0, m
    # Time in a state: the months of both sides, too.
    for s in ("running", "fault", "suspended", "lost"):
        a = sum(of("audit-%s-%s" % (r, m))["ns"].get(s, 0) for r in renters)
        b = sum(o["ns"].get(s, 0) for o in theirs)
        assert a == b, (m, s, a, b)
        assert s == "running" or a == 0, (m, s, a)
# A job that ran over midnight is on both months' bills.
last = [sum(b["name"] == "day-%d" % n for b in of("bill-%s-%s" % (r, m))["bills"]) for r in renters for m in months]
assert last == [1] * 6, last
owners = sum(of("owner-" + h)["earned_fen"] for h in hosts)
book = of("book")
assert owners == whole and book["right"] and book["charges_fen"] == whole, (owners, whole, book)
assert book["owners_fen"] + book["fee_fen"] == whole, book
# The book's own months go by the day of posting: one begins as the other ended.
january, february = (of("book-" + m) for m in months)
assert january["opening"]["balance_fen"] == 0 and january["closing"] == february["opening"], (january["closing"], february["opening"])
assert february["closing"]["balance_fen"] == 150000 - whole, (february["closing"], whole)
for s in january, february:
    assert s["opening"]["balance_fen"] + sum(x["balance_change_fen"] for x in s["entries"]) == s["closing"]["balance_fen"]
assert january["entries"] and february["entries"] and january["entries"][-1]["at_ns"] < february["entries"][0]["at_ns"]
kept = sum(of("owner-%s-2027-02" % h)["keeping_fen"] for h in hosts)
assert kept > 0
print("-- %d fen in %d sessions, %d of them for keeping" % (whole, n * 3, kept))
PY
