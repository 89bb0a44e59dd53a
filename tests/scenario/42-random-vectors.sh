#!/bin/bash
# Random vectors of every operation, answered by an oracle that shares no code with meter/
# (whole numbers of any size, fractions, second by second): the same answers throughout.
# needs: pipe
# repeats
. "$(dirname "$0")/lib.sh"
vectors=$(tool vectors)
seeds=${SEEDS:-1 2}

for seed in $seeds; do
    note "seed $seed"
    /usr/bin/python3 "$TOP/tests/tools/oracle.py" "$seed" 13500 >"$work/random.json"
    expect 0 "$vectors" "$work/random.json"
    [ "$(tail -n 1 "$work/out")" = "13500 passed, 0 failed" ] || fail "$(tail -n 1 "$work/out")"
done

note "the oracle has an answer to every operation there is"
/usr/bin/python3 - "$TOP/tests/fixtures/vectors/billing.json" "$work/random.json" <<'PY' || fail "operations differ"
import json, sys
law, ours = ({v["op"] for v in json.load(open(f))["vectors"]} for f in sys.argv[1:])
assert law == ours, law ^ ours
PY
