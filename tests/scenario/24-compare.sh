#!/bin/bash
# plan --compare: what a run costs on every card known, by the sums that make the bill.
# needs: pipe
. "$(dirname "$0")/lib.sh"

mkdir -p "$work/p"
cd "$work/p"
echo 'print(1)' >a.py

note "the cards that come with it, cheapest first"
expect 0 gpurun plan --json --compare --gpu 4090:2 --max-time 10h --max-cost 20 a.py
[ "$(json '[(c["type"], c["price_uyuan_per_h"]) for c in d["cards"]]')" = \
    "[('4090', 1000000), ('3090', 1320000), ('a100-40g', 3280000), ('a800', 5980000), ('a100-80g', 6680000)]" ] ||
    fail "the cards"
[ "$(json '[c["cost_fen"] for c in d["cards"]]')" = "[2000, 2640, 6560, 11960, 13360]" ] || fail "the costs"
[ "$(json '[c["can_run_s"] for c in d["cards"]][:2]')" = "[36000, 27272]" ] || fail "what 20 yuan buy"
for type in any a100 "RTX 4090"; do
    expect 0 gpurun plan --compare --gpu "$type" a.py
    [ ! -s "$work/err" ] || fail "of $type: $(cat "$work/err")"
done
expect 0 gpurun plan --compare --gpu 4091 a.py
has "no price of any gpu '4091' is known" "$work/err"
has "price of 2024-01-01"
[ "$(sed -n 2p "$work/out" | cut -d' ' -f1)" = 4090 ] || fail "not the cheapest first"

note "a host's own price stands beside them, an own estimate is called one"
expect 0 gpurun plan --compare a.py
has "free"
GPURUN_AGENT_HOME=$client/gpurun/local "$BUILD/bin/gpurun-agent" price set cpu=0.36 >/dev/null
expect 0 gpurun plan --json --compare --max-time 1h a.py
[ "$(json '[(c["source"], c["where"], c["cost_fen"]) for c in d["cards"]]')" = "[('host', 'local', 36)]" ] || fail "local"

note "what is wrong with the run is wrong here too; it belongs to plan"
expect 100 gpurun plan --compare nosuch.py
expect 100 gpurun run --compare a.py
expect 0 gpurun plan --compare --device npu:any a.py
[ ! -s "$work/out" ] || fail "prices of what nobody has"
has "no price of any npu" "$work/err"
[ "$(gpurun ps -a --json | grep -c '"id"')" = 0 ] || fail "something was started"
