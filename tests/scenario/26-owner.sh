#!/bin/bash
# needs: pipe
# What an owner does with gpurun-agent: prices, renters, looking on, earnings; for people and as JSON.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"

home=$client/gpurun/local
owner() {
    env -i PATH=/usr/bin:/bin HOME="$client" GPURUN_AGENT_HOME="$home" LC_ALL=C.UTF-8 TZ=UTC \
        "$BUILD/lib/gpurun/agent/$arch/gpurun-agent$dyn" "$@"
}
dyn=
[ -x "$BUILD/lib/gpurun/agent/$arch/gpurun-agent" ] || dyn=.dyn
# json CODE: CODE is true of what was printed, which is d.
json() { /usr/bin/python3 -c "import json, sys; d = json.load(sys.stdin); assert $1, d" <"$work/out" || fail "not so: $1"; }

note "help, and words it does not know"
expect 0 owner help
has "price ls | set TYPE=YUAN... | rm TYPE..."
expect 0 owner help allow
has "--max-cost YUAN"
cp "$work/out" "$work/help"
expect 0 owner allow --help
same "$work/help" "$work/out" "help and --help"
for words in "" "nonsense" "jobs more" "allow" "help nonsense" "price sell" "earnings --cvs"; do
    # shellcheck disable=SC2086
    run owner $words
    [ "$rc" = 1 ] || [ "$rc" = 2 ] || fail "status $rc of: $words"
    [ -s "$work/err" ] || [ -z "$words" ] || fail "nothing said of: $words"
done

note "prices"
expect 0 owner price ls
has "no prices"
expect 0 owner price ls --json
json 'd == {"free": True, "prices": [], "plans": []}'
expect 0 owner price set cpu=3.6 4090=1.88 disk=0.01
has "1.88"
expect 0 owner price ls --json
json 'not d["free"] and {(p["class"], p["type"]): p["price_uyuan"] for p in d["prices"]} == {("cpu", ""): 3600000, ("gpu", "4090"): 1880000, ("disk", ""): 10000}'
cp "$work/out" "$work/before"
expect 1 owner price set cpu=1.0000001
expect 1 owner price set 4090=2 cpu=-1
expect 1 owner price rm a100
expect 0 owner price ls --json
same "$work/before" "$work/out" "prices after what was refused"
expect 1 owner price rm a100 --json
grep -q '^{"error":{"code":"not_found","message":"' "$work/err" || fail "$(cat "$work/err")"
expect 0 owner price rm 4090
hasnt 4090
expect 0 owner price ls --json
json '"4090" not in [p["type"] for p in d["prices"]]'

note "jobs, and what they bring in"
expect 3 gpurun -q run --max-cost 1 -- sh -c 'sleep 2; exit 3'
expect 0 owner jobs --json
json 'd["jobs"] == []'
expect 0 owner jobs -a --json
json 'len(d["jobs"]) == 1 and d["jobs"][0]["exit_code"] == 3 and d["jobs"][0]["charge_fen"] >= 1 and d["jobs"][0]["price_uyuan_per_h"] == 3600000'
expect 0 owner earnings --json
json 'd["total_fen"] == d["jobs"][0]["charge_fen"] >= 1'
expect 0 gpurun --json bill
json 'd["total_fen"] >= 1'
fen=$(/usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["total_fen"])' <"$work/out")
expect 0 owner earnings
has "total 0.0$fen yuan"
expect 0 owner earnings --csv
has ",exited,0.0$fen"
expect 0 owner status
has "earned      0.0$fen yuan"
has "1 ended"
expect 0 owner status --json
json "d['ended'] == 1 and d['running'] == 0 and d['earned_fen'] == $fen and len(d['host_key']) == 64"

note "renters: let in, changed, sent away"
ssh-keygen -q -t ed25519 -N '' -f "$work/wang"
expect 0 owner renters --json
json '[r["is"] for r in d["renters"]] == ["login user"]'
expect 1 owner allow "$work/wang.pub"
has "--name" "$work/err"
expect 1 owner allow "$work/wang" --name wang
expect 1 owner allow "$work/wang.pub" --name wang --until 2020-01-01
expect 1 owner allow "$work/wang.pub" --name 'wa ng'
[ ! -e "$client/.ssh/authorized_keys" ] || fail "what was refused has let somebody in"
expect 0 owner allow "$work/wang.pub" --name wang --max-cost 5 --json
json 'd["name"] == "wang" and len(d["id"]) == 16'
id=$(/usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])' <"$work/out")
[ "$(grep -c "serve --renter $id" "$client/.ssh/authorized_keys")" = 1 ] || fail "no line of wang's"
grep -q '^restrict,' "$client/.ssh/authorized_keys" || fail "wang is not restricted"
expect 0 owner allow "$work/wang.pub" --name wang --until 30d
[ "$(grep -c "serve --renter $id" "$client/.ssh/authorized_keys")" = 1 ] || fail "wang has two lines"
expect 0 owner renters --json
json '[(r["name"], r["is"], r["max_cost_fen"], r["until"] is None) for r in d["renters"] if r["name"]] == [("wang", "admitted", None, False)]'
expect 1 owner revoke zhang
expect 0 owner revoke wang --json
json "d['id'] == '$id' and d['running'] == 0"
hasnt "$id" "$client/.ssh/authorized_keys"
expect 0 owner renters
has revoked

note "looking after it"
expect 0 owner devices --json
json 'd["devices"][0]["class"] == "cpu"'
run owner doctor --json
json '{"offer", "disk", "protection", "devices", "environment"} <= {c["what"] for c in d["checks"]}'
[ "$rc" = "$(/usr/bin/python3 -c 'import json, sys; print(int(not all(c["ok"] for c in json.load(sys.stdin)["checks"])))' <"$work/out")" ] ||
    fail "status $rc of doctor"
run owner doctor
has "ok    offer"
expect 0 owner fsck --json
json 'len(d["stores"]) == 1 and d["stores"][0]["sound"] and d["stores"][0]["snapshots"] >= 1 and d["damaged"] == []'
expect 0 owner gc -n --json
json 'd["dry_run"] and d["expired"] == 0'
expect 0 owner tick --json
json 'd["lost"] == 0'
expect 0 owner tick
[ ! -s "$work/out" ] || fail "tick speaks though there is nothing to say"

note "a damaged store is found, named, and told by the status"
for pack in "$home"/renters/*/store/packs/*; do
    [ -f "$pack" ] || pack=$(find "$home"/renters/*/store -type f -size +300c -path '*pack*' | head -n 1)
    break
done
/usr/bin/python3 - "$pack" <<'PY'
import sys

with open(sys.argv[1], "r+b") as f:
    data = bytearray(f.read())
    for i in range(len(data) // 3, len(data)):
        data[i] ^= 0x55
    f.seek(0)
    f.write(data)
PY
run owner fsck --json
[ "$rc" = 1 ] || fail "fsck of a damaged store says $rc"
json 'not all(s["sound"] for s in d["stores"]) or d["damaged"]'
