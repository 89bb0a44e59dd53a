#!/bin/bash
# The bill by job, day and month; as text, JSON, CSV, a spreadsheet's CSV, bars and SVG: one
# sum throughout, and the statement's words.
# needs: pipe
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
mkdir "$work/proj"
cd "$work/proj"
printf 'import sys, time\ntime.sleep(float(sys.argv[1]))\n' >busy.py
expect 0 gpurun -q host show local
note "before there is anything, each view says so"
expect 0 gpurun bill --csv
[ "$(grep -c '^job,month,' "$work/out")" = 1 ] || fail "a table of no rows, and no columns"
expect 0 gpurun bill --plot
[ "$(grep -cx 'nothing yet' "$work/out")" = 2 ] || fail "no bars, and nothing said"
expect 0 env -i PATH="$PATH" HOME="$client" GPURUN_AGENT_HOME="$client/gpurun/local" "$BUILD/bin/gpurun-agent" price set cpu=360
for name in 'a<b' '训练' plain; do
    run gpurun -q --name "$name" busy.py 1
    [ "$rc" = 0 ] || expect 0 gpurun -q busy.py 1
done
month=$(TZ=Asia/Shanghai date +%Y-%m)

note "each view sums to the same"
expect 0 gpurun --json bill
total=$(json 'd["total_fen"]')
[ "$total" -ge 30 ] || fail "three seconds at ten fen each cost $total"
[ "$(json 'sum(b["charge_fen"] for b in d["bills"])')" = "$total" ] || fail "by job"
[ "$(json 'd["net_fen"] + d["tax_fen"], d["vat_bps"], d["fapiao"]')" = "($total, 600, False)" ] || fail "the tax in it"
for by in day month; do
    expect 0 gpurun --json bill --by $by
    [ "$(json 'd["total_fen"], sum(x["fen"] for x in d["'$by's"]), sum(x["jobs_ended"] for x in d["'$by's"])')" = "($total, $total, 3)" ] ||
        fail "by $by: $(cat "$work/out")"
    expect 0 gpurun bill --by $by --csv
    [ "$(awk -F, 'NR > 1 { s += $4 } END { print s }' "$work/out")" = "$total" ] || fail "by $by as CSV"
    expect 0 gpurun bill --by $by
    has "$(printf 'total ¥%d.%02d' $((total / 100)) $((total % 100)))"
done
expect 0 gpurun bill --csv
[ "$(awk -F, 'NR > 1 { s += $10 } END { print s }' "$work/out")" = "$total" ] || fail "as CSV"
[ "$(grep -c ^job, "$work/out")" = 1 ] || fail "the header is there once"
expect 0 gpurun bill --csv --month 1999-01
[ "$(wc -l <"$work/out")" = 1 ] || fail "lines of another month"
expect 0 gpurun bill plain --month 1999-01 # what one job has of a month is its lines of it, and their sum
has "total ¥0.00 in 1999-01"
expect 0 gpurun --json bill plain --month 1999-01
is 'd["lines"], d["charge_fen"] > 0' "([], True)"
expect 0 gpurun --json bill --month "$month"
[ "$(json 'd["total_fen"]')" = "$total" ] || [ "$(TZ=Asia/Shanghai date +%d)" = 01 ] || fail "this month"

note "what was verified before is known, and nothing else is believed"
verified=$client/gpurun/verified
receipt=$(find "$client/gpurun/receipts" -type f -name 'j*' | sort | head -n 1)
[ -s "$verified" ] || fail "nothing is remembered"
cp "$verified" "$work/verified"
cp "$receipt" "$work/receipt"
flip() { # FILE: one bit of its signature
    /usr/bin/python3 - "$1" <<'PY'
import sys
b = bytearray(open(sys.argv[1], "rb").read())
b[-3] ^= 1
open(sys.argv[1], "wb").write(b)
PY
}
flip "$receipt"
expect 101 gpurun bill
has "record" "$work/err"
# One more: both are named, no sum that lacks them goes for the whole one, and a job's own bill
# is there.
mapfile -t receipts < <(find "$client/gpurun/receipts" -type f -name 'j*' | sort)
flip "${receipts[1]}"
for view in '' --csv --json --plot; do
    expect 101 gpurun bill ${view:+"$view"}
    for r in "${receipts[0]}" "${receipts[1]}"; do
        has "$(basename "$r")" "$work/err"
    done
    hasnt "$(basename "${receipts[2]}")" "$work/err"
    case $view in
    --csv)
        for r in "${receipts[0]}" "${receipts[1]}"; do
            has "$(basename "$r"),,refused,,,,,,,,,,the receipt is not right"
        done
        has "$(basename "${receipts[2]}"),"
        [ "$(tr -cd ',\n' <"$work/out" | sort -u)" = ,,,,,,,,,,,, ] || fail "not a table: $(cat "$work/out")"
        ;;
    '' | --plot) has "NOT COMPLETE: the receipts of 2 more jobs are not right" ;;
    esac
done
expect 101 gpurun bill --plot -o "$work/part.svg"
grep -q "<text[^>]*>NOT COMPLETE: the receipts of 2 more jobs" "$work/part.svg" || fail "no mark: $(cat "$work/part.svg")"
expect 101 gpurun bill --csv --by day
has "refused,2,,"
expect 101 gpurun bill --verify --all
for r in "${receipts[0]}" "${receipts[1]}"; do
    has "$(basename "$r")" "$work/err"
done
has "$(basename "${receipts[2]}"): right"
good=$(basename "${receipts[2]}")
expect 0 gpurun --json bill "$good"
fen=$(json 'd["charge_fen"]')
expect 101 gpurun --json bill
[ "$(json 'd["complete"], [b["job"] for b in d["bills"]], d["total_fen"]')" = "(False, ['$good'], $fen)" ] || fail "what is right of it: $(cat "$work/out")"
[ "$(json 'sorted(d["refused"])')" = "['$(basename "${receipts[0]}")', '$(basename "${receipts[1]}")']" ] || fail "what is not: $(cat "$work/out")"
for by in job day month; do
    expect 101 gpurun bill --by $by
    has "$(printf 'total ¥%d.%02d' $((fen / 100)) $((fen % 100)))"
    has "NOT COMPLETE: the receipts of 2 more jobs are not right"
    hasnt fapiao
    expect 101 gpurun --json bill --by $by
    is 'd["complete"], d["total_fen"]' "(False, $fen)"
done
expect 0 gpurun bill "$(basename "${receipts[2]}")"
flip "${receipts[1]}"
# Somebody adds its hash to what is known, but cannot sign that.
sed -i "s/^receipt=$(basename "$receipt") \([0-9a-f]*\) .*/receipt=$(basename "$receipt") \1 $(sha256sum <"$receipt" | cut -c1-64)/" "$verified"
cmp -s "$verified" "$work/verified" && fail "it was not changed"
expect 101 gpurun bill
cp "$work/receipt" "$receipt"
expect 0 gpurun --json bill
[ "$(json 'd["total_fen"], d["complete"], d["refused"]')" = "($total, True, [])" ] || fail "another sum than before"
cmp "$verified" "$work/verified" || fail "it was not made anew"
expect 0 gpurun audit

note "a spreadsheet's CSV: marked as UTF-8, CRLF, otherwise the same"
expect 0 gpurun bill --csv
cp "$work/out" "$work/plain.csv"
expect 0 gpurun bill --csv --excel
/usr/bin/python3 - "$work/plain.csv" "$work/out" <<'PY' || fail "not what a spreadsheet reads"
import csv, io, sys
plain, excel = (open(f, "rb").read() for f in sys.argv[1:])
assert excel.startswith(b"\xef\xbb\xbf") and b"\n" not in excel.replace(b"\r\n", b"")
assert excel.decode("utf-8-sig").replace("\r\n", "\n") == plain.decode()
rows = list(csv.reader(io.StringIO(excel.decode("utf-8-sig"))))
assert len({len(r) for r in rows}) == 1 and len(rows) > 3
PY

note "bars in the terminal, and as SVG"
expect 0 gpurun bill --plot
has "per day"
has "per job"
has "█"
expect 0 as_client LC_ALL=C "$BUILD/bin/gpurun" bill --plot
has "###"
hasnt "█"
expect 0 gpurun bill --plot -o "$work/plot.svg"
/usr/bin/python3 - "$work/plot.svg" "$total" <<'PY' || fail "no SVG of it"
import sys, xml.etree.ElementTree as E
ns = "{http://www.w3.org/2000/svg}"
root = E.parse(sys.argv[1]).getroot()
bars = [r for r in root.iter(ns + "rect") if r.get("height") != "100%"]
money = [t.text for t in root.iter(ns + "text") if (t.text or "").startswith("¥")]
assert len(bars) == len(money) and len(bars) >= 4, (bars, money)
fen = [round(float(m[1:]) * 100) for m in money]
assert sum(fen) == 2 * int(sys.argv[2]), fen
assert all(int(b.get("width")) > 0 for b in bars)
PY

note "what a statement says"
expect 100 gpurun config bill-vat 101
expect 0 gpurun config bill-tax-number 91310000MA1FL00000
expect 0 gpurun bill
has "for tax number 91310000MA1FL00000"
expect 0 gpurun config bill-title '上海某某科技有限公司'
expect 0 gpurun config bill-vat 13
expect 0 gpurun bill --month "$month"
has '上海某某科技有限公司'
has '91310000MA1FL00000'
has '13 %'
has 'not a fapiao'
expect 0 gpurun --json bill
[ "$(json 'd["title"], d["vat_bps"], d["net_fen"] == (d["total_fen"] * 10000 * 2 + 11300) // (2 * 11300)')" = "('上海某某科技有限公司', 1300, True)" ] ||
    fail "$(cat "$work/out")"

note "options that do not go together"
expect 100 gpurun bill --by year
expect 100 gpurun bill --excel
expect 100 gpurun bill -o x.svg
expect 100 gpurun bill --plot --csv
for form in --csv "--month $month" "--by day"; do
    expect 100 gpurun bill --verify plain $form
done
run gpurun bill --plot -o "$work/nodir/x.svg"
[ "$rc" = 100 ] || [ "$rc" = 101 ] || fail "status $rc"

note "the command that the man page shows recomputes every figure"
expect 0 gpurun bill --verify --all
[ "$(grep -c ': right, ' "$work/out")" = 3 ] || fail "not all three"

note "what is in no sum yet is told with it: a job that runs, or that nobody followed to its end"
expect 0 gpurun --json run -d --name away -- true
away=$(json 'd["id"]')
await 60 "its end" job_is away ended
for view in '' '--by day' '--plot'; do
    expect 0 gpurun bill $view
    has "not in this sum: 1 job that runs, or whose receipt was not fetched yet; \`gpurun bill $away\` fetches it"
done
expect 0 gpurun bill --csv
has "not in this sum: 1 job" "$work/err"
expect 0 gpurun --json bill
is 'd["waiting"], d["total_fen"]' "(['$away'], $total)"
expect 0 gpurun bill --month 1999-01
hasnt "not in this sum"
expect 0 gpurun --json bill away
fen=$(json 'd["charge_fen"]')
total=$((total + fen))
expect 0 gpurun --json bill
is 'd["waiting"], d["total_fen"]' "([], $total)"
