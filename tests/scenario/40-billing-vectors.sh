#!/bin/bash
# The billing vectors through the real code; and the tool tells right from wrong.
# needs: pipe
. "$(dirname "$0")/lib.sh"
vectors=$(tool vectors)
law=$TOP/tests/fixtures/vectors/billing.json

note "all vectors pass"
expect 0 "$vectors" "$law"
[ "$(tail -n 1 "$work/out")" = "181 passed, 0 failed" ] || fail "another last line"

note "a wrong answer, an unknown operation, a missing input and an unexpected error fail"
cat > "$work/wrong.json" <<'JSON'
{"schema": "gpurun.meter.vectors.v1", "units": {}, "vectors": [
 {"id": "A", "op": "parse", "input": {"text": "1.88"}, "expect": {"fen": 188}},
 {"id": "B", "op": "parse", "input": {"text": "1.88"}, "expect": {"fen": 189}},
 {"id": "C", "op": "divine", "input": {}, "expect": {}},
 {"id": "D", "op": "charge", "input": {"min_fen": 1}, "expect": {"charge_fen": 0}},
 {"id": "E", "op": "parse", "input": {"text": "x"}, "expect": {"fen": 0}},
 {"id": "F", "op": "parse", "input": {"text": "1"}, "expect": {"error": "syntax"}},
 {"id": "G", "op": "parse", "input": {"text": "x"}, "expect": {"error": "range"}},
 {"id": "H", "op": "max_seconds", "input": {"budget_fen": 9223372036854775807, "price_uyh": 36000000},
  "expect": {"seconds": 9223372036854775807}}
]}
JSON
expect 1 "$vectors" "$work/wrong.json"
[ "$(tail -n 1 "$work/out")" = "2 passed, 6 failed" ] || fail "another count"
for id in B C D E F G; do
    has "FAIL $id"
done

note "what is no such file is refused"
echo '{"schema": "other", "vectors": []}' > "$work/other.json"
expect 1 "$vectors" "$work/other.json"
has "not a file of schema" "$work/err"
echo '{"schema": "gpurun.meter.vectors.v1", "vectors": [1.5]}' > "$work/real.json"
expect 1 "$vectors" "$work/real.json"
expect 1 "$vectors" "$work/none.json"
