#!/bin/bash
# Records that come twice, late, out of order, not at all, cut off or forged: a receipt made of them is
# refused and the record is named, by the renter's check; no fen moves.
# needs: pipe
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
use pipe
mkdir "$work/p"
cd "$work/p"
expect 0 gpurun -q host show local
expect 0 env -i PATH="$PATH" HOME="$client" GPURUN_AGENT_HOME="$client/gpurun/local" "$BUILD/bin/gpurun-agent" price set cpu=36
expect 0 gpurun -q wallet topup 10
expect 0 gpurun -q --max-cost 1 --name one -- sleep 2
expect 0 gpurun -q --max-cost 1 --name two -- sleep 1
expect 0 gpurun --json wallet
cp "$work/out" "$work/funds"
job() { gpurun --json bill "$1" | /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["job"])'; }
one=$(job one)
two=$(job two)
mkdir "$work/bad"
# Each file of bad/ is named RECORD-WHAT: the record at which it is found.
/usr/bin/python3 - "$client/gpurun/receipts/$one" "$client/gpurun/receipts/$two" "$work/bad" <<'PY'
import re, sys
table = []
for i in range(256):
    for _ in range(8):
        i = i >> 1 ^ (0x82f63b78 if i & 1 else 0)
    table.append(i)
def frame(record):
    crc = 0xffffffff
    for b in record:
        crc = table[(crc ^ b) & 255] ^ crc >> 8
    return b"#%08x %08x\n" % (len(record), crc ^ 0xffffffff) + record
def records(data):
    out = []
    while data:
        n = int(data[1:9], 16)
        assert frame(data[19:19 + n]) == data[:19 + n]
        out.append(data[19:19 + n])
        data = data[19 + n:]
    return out
a, b = (records(open(f, "rb").read()) for f in sys.argv[1:3])
n = len(a)
assert n >= 4
def put(at, what, rs, tail=b""):
    open("%s/%d-%s" % (sys.argv[3], at, what), "wb").write(b"".join(map(frame, rs)) + tail)
for i in range(n):
    put(i + 2, "twice", a[:i + 1] + a[i:])
    put(i + 1, "forged", a[:i] + [re.sub(rb"(?m)^cost=\d+$", b"cost=77", a[i])] + a[i + 1:])
    put(max(i + 1, 2), "another-session-%d" % i, a[:i] + [b[min(i, len(b) - 1)]] + a[i + 1:])
    put(i + 1, "cut", a[:i], frame(a[i])[:-1])
    if i + 1 < n:
        put(i + 1, "late", a[:i] + a[i + 1:] + [a[i]])
        put(i + 1, "missing", a[:i] + a[i + 1:])
        put(i + 1, "swapped", a[:i] + [a[i + 1], a[i]] + a[i + 2:])
PY
n=0
for f in "$work"/bad/*; do
    name=$(basename "$f")
    run gpurun bill --verify "$f"
    [ "$rc" != 0 ] || fail "$name: taken"
    [ "$rc" = 101 ] || [ "$rc" = 100 ] || fail "$name: status $rc"
    grep -q "record ${name%%-*}\b" "$work/out" "$work/err" || fail "$name: the record is not named: $(cat "$work/out" "$work/err")"
    n=$((n + 1))
done
note "$n receipts refused"
[ $n -ge 25 ] || fail "only $n of them"

note "in the place of the true one, too; and nothing moved"
for what in twice late swapped forged; do
    cp "$client/gpurun/receipts/$one" "$work/true"
    cp "$(find "$work/bad" -name "3-$what")" "$client/gpurun/receipts/$one"
    run gpurun audit
    [ "$rc" != 0 ] || fail "the audit takes a receipt with a record $what"
    cp "$work/true" "$client/gpurun/receipts/$one"
done
expect 0 gpurun audit
expect 0 gpurun bill --verify one --all
expect 0 gpurun --json wallet
same "$work/out" "$work/funds" "the wallet"
