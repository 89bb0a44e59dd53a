#!/bin/bash
# Data sets: put once, seen read-only by any number of jobs, neither shipped with them nor in their
# snapshots, kept until they are removed; where a host lacks one it travels, and plan says so; or a host
# fetches one itself.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/jobs.sh"

mkdir -p "$work/p/sub" "$work/set/deep/er"
cd "$work/p"
head -c 300000 /dev/urandom >"$work/set/big.bin"
seq 1000 >"$work/set/deep/er/numbers"
ln -s deep/er/numbers "$work/set/link"
chmod 755 "$work/set/deep"
cat >job.sh <<'EOT'
sha256sum <"${1:-digits}/big.bin"
cat "${1:-digits}/link" | wc -l
touch "${1:-digits}/new" 2>&1 && echo WROTE
echo x >"${1:-digits}/big.bin" && echo WROTE
rm -f "${1:-digits}/deep/er/numbers" && echo WROTE
chmod u+w "${1:-digits}/deep" 2>/dev/null && touch "${1:-digits}/deep/x" && echo WROTE
echo kept >result
true
EOT
sum=$(sha256sum <"$work/set/big.bin")

use libssh

note "bad input"
expect 100 gpurun data put 'a b' "$work/set"
expect 100 gpurun data put -- -x "$work/set"
expect 100 gpurun data put digits "$work/nothing"
expect 100 gpurun data put digits "$work/set/big.bin"
has "no directory" "$work/err"
expect 100 gpurun data put digits "$work/set" --host nosuch
expect 100 gpurun data rm digits
has "no data set 'digits'" "$work/err"
expect 100 gpurun --host $H --data digits job.sh
has "no host has a data set 'digits'" "$work/err"
has "gpurun data put digits" "$work/err"
expect 100 gpurun --host $H --data digits:../out job.sh
has "leaves the job's directory" "$work/err"
expect 100 gpurun --host $H --data digits:. job.sh
has "'.' is the job's directory itself" "$work/err"
expect 100 gpurun --host $H --data digits:/abs job.sh
has "place in the job's directory" "$work/err"
expect 100 gpurun --host $H --data digits:a --data other:a/b job.sh
has "lie in each other" "$work/err"
expect 100 gpurun run --array 1-2 --data digits job.sh
[ -z "$(gpurun ps -a -q | grep job)" ] || fail "a refused run left a job"

note "put, and again: the same set; other content under its name is refused"
expect 0 gpurun data put digits "$work/set" --json
id=$(json 'd["id"]')
[ "$(json '(d["name"], d["host"], d["files"])')" = "('digits', '$H', 2)" ] || fail "put: $(cat "$work/out")"
expect 0 gpurun data put digits "$work/set"
[ "$(cat "$work/out")" = "$id" ] || fail "the same set has another id"
mkdir "$work/other"
echo other >"$work/other/file"
expect 100 gpurun data put digits "$work/other"
has "with other content" "$work/err"
expect 0 gpurun data ls --json
[ "$(json '[(x["name"], x["host"], x["id"]) for x in d["data"]]')" = "[('digits', '$H', '$id')]" ] ||
    fail "ls: $(cat "$work/out")"
expect 0 gpurun data ls
has digits
expect 0 gpurun snap ls
hasnt "$id"

note "a job sees it, cannot change it, and its snapshot does not hold it"
expect 0 gpurun -q --data digits --host $H --name one job.sh
has "$sum"
has 1000
hasnt WROTE
expect 0 gpurun snap files one
has result
hasnt digits
hasnt big.bin
expect 0 gpurun snap show --json one
has "digits="

note "at another place, from a folder within, twice at once; the files are there once"
client_bg "$work/bg.out" "$work/bg.err" run --host $H --data digits:in/here -- \
    sh -c 'test -s in/here/big.bin && until [ -e "$1" ]; do sleep 0.1; done' sh "$work/twice"
(cd sub && expect 0 gpurun -q run --host $H --data digits:d -- sh -c 'sha256sum <d/big.bin; pwd')
touch "$work/twice"
has "$sum"
wait $bg || fail "the other job: $(cat "$work/bg.err")"
n=$(find "$work/$H/home" -name big.bin | wc -l)
[ "$n" = 1 ] || fail "the files are there $n times"

note "another renter of the same host sees neither the set nor its files"
files=$(dirname "$(find "$work/$H/home" -name big.bin)")
other() { gpurun --home "$client/other" "$@"; }
expect 0 other -q host add $H "127.0.0.1:${port[$H]}"
expect 0 other data ls --json
[ "$(json 'd["data"]')" = "[]" ] || fail "ls of another renter: $(cat "$work/out")"
expect 100 other --host $H --data digits job.sh
has "no host has a data set 'digits'" "$work/err"
expect 1 other -q run --host $H -- sh -c "cat $files/link && echo READ; ls $files; exit 1"
hasnt READ
hasnt big.bin

note "what is in the way is named, and nothing is billed"
mkdir digits
echo mine >digits/file
expect 102 gpurun --host $H --data digits job.sh
has "is in the job's directory already" "$work/err"
rm -r digits

note "plan: there already, or how much would travel; placement goes to the data"
sshd second
authorize second
know second
expect 0 gpurun -q host add second "127.0.0.1:${port[second]}"
expect 0 gpurun plan --json --host $H --data digits job.sh
[ "$(json '[(x["name"], x["path"], x["travel_bytes"], x["travels_from"]) for x in d["data"]]')" = "[('digits', 'digits', 0, None)]" ] ||
    fail "plan: $(cat "$work/out")"
expect 0 gpurun plan --host second --data digits job.sh
has "would go from $H to second first"
expect 0 gpurun plan --json --data digits job.sh
[ "$(json 'd["host"]')" = "$H" ] || fail "placed away from the data: $(cat "$work/out")"
expect 100 gpurun data put third "$work/other"
has "several hosts" "$work/err"

note "it travels to where the job runs, once; two meanings of a name are for the user to tell apart"
expect 0 gpurun --host second --data digits --name two job.sh
has "$sum"
has "goes from $H to second first" "$work/err"
expect 0 gpurun --host second --data digits job.sh
hasnt "goes from" "$work/err"
expect 0 gpurun data ls --json
[ "$(json 'sorted(x["host"] for x in d["data"])')" = "['$H', 'second']" ] || fail "ls: $(cat "$work/out")"

note "jobs of a batch go to where their data is; where nobody that may run them has it, it goes first, once"
expect 0 gpurun data put extra "$work/other" --host $H
expect 0 gpurun plan --array 1-3 --host second --data extra -- true
has "goes from $H to second first"
expect 0 gpurun plan --json --array 1-3 --host second --data extra -- true
[ "$(json '[(x["name"], x["from"], x["to"]) for x in d["data_travels"]]')" = "[('extra', '$H', 'second')]" ] ||
    fail "plan: $(cat "$work/out")"
# shellcheck disable=SC2016
expect 0 gpurun run --array 1-3 --data extra -- sh -c 'test "$(cat extra/file)" = other'
hasnt "goes from" "$work/err"
cat >batch <<'EOT'
--data extra --host second -- sh -c 'test "$(cat extra/file)" = other'
--data extra:in/x --data digits -- sh -c 'test "$(cat in/x/file)" = other && test -s digits/big.bin'
EOT
expect 0 gpurun run --batch batch
[ "$(grep -c "data set extra (.*) goes from" "$work/err")" = 1 ] || fail "it went another number of times: $(cat "$work/err")"
expect 0 gpurun data ls --json
[ "$(json 'sorted(x["host"] for x in d["data"] if x["name"] == "extra")')" = "['$H', 'second']" ] || fail "ls: $(cat "$work/out")"
expect 100 gpurun run --array 1-2 --data nosuch -- true
has "no host has a data set 'nosuch'" "$work/err"
expect 0 gpurun data rm extra

note "pull: the host fetches it; its sum and what is in it; what fails makes none"
www=$work/www
mkdir "$www"
head -c 200000 /dev/urandom >"$www/one.bin"
tar -C "$work/set" -czf "$www/set.tgz" .
web=$(free_port)
# ?cut…: half of it comes, the first time it is asked for; of …other it is another file then.
cat >"$work/web.py" <<'PY'
import http.server, os, re, sys
root, port = sys.argv[1], int(sys.argv[2])
cut = set()

class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *a): super().__init__(*a, directory=root)
    def do_GET(self):
        path, _, query = self.path.partition("?")
        wanted = re.match(r"bytes=(\d+)-$", self.headers.get("Range", ""))
        if not query.startswith("cut"):
            return super().do_GET()
        file = root + path
        size = os.path.getsize(file)
        tag = '"%s"' % query
        if query.endswith("other") and query in cut: tag = '"another"'
        at = int(wanted[1]) if wanted and self.headers.get("If-Range", tag) == tag else 0
        print("got", query, at, "of", wanted and wanted[1], flush=True)
        self.send_response(206 if at else 200)
        self.send_header("Content-Length", str(size - at))
        self.send_header("ETag", tag)
        if at: self.send_header("Content-Range", "bytes %d-%d/%d" % (at, size - 1, size))
        self.end_headers()
        data = open(file, "rb").read()[at:]
        if query not in cut:
            cut.add(query)
            data = data[:len(data) // 2] if not query.endswith("other") else b"x" * (len(data) // 2)
        self.wfile.write(data)
        self.close_connection = True

http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
PY
spawn web /usr/bin/python3 "$work/web.py" "$www" "$web"
await 30 "the web server" listening 127.0.0.1 "$web"
cuts() { sed -n "s/^got cut-$1 //p" "$work/web.log" | tr '\n' ';'; }
url=http://127.0.0.1:$web
expect 100 gpurun data pull one "$www/one.bin" --host $H
has "is no URL" "$work/err"
expect 100 gpurun data pull one "$url/one.bin" --host $H --sha256 12
n=$(gpurun --json snap ls | grep -o '"id"' | wc -l)
expect 0 gpurun data pull one "$url/one.bin?cut-one" --host $H --sha256 "$(sha256sum <"$www/one.bin" | cut -d' ' -f1 | tr a-f A-F)" --json
[ "$(json '(d["name"], d["host"], d["files"], d["bytes"])')" = "('one', '$H', 1, 200000)" ] || fail "pull: $(cat "$work/out")"
[ "$(gpurun --json snap ls | grep -o '"id"' | wc -l)" = "$n" ] || fail "a snapshot is left: $(gpurun snap ls)"
expect 0 gpurun ps -a
has "gpurun data pull one $url/one.bin"
hasnt curl
expect 0 gpurun -q run --host $H --data one -- sha256sum one/one.bin
has "$(sha256sum <"$www/one.bin" | cut -d' ' -f1)"
[ "$(cuts one)" = "0 of None;100000 of 100000;" ] || fail "what was cut: $(cat "$work/web.log")"
expect 100 gpurun data pull one "$url/one.bin" --host $H
has "there is a data set 'one' on $H already" "$work/err"
expect 0 gpurun -q data pull tree "$url/set.tgz?cut-other" --host $H --unpack
expect 0 gpurun -q run --host $H --data tree -- sh -c 'sha256sum <tree/big.bin; ls tree'
has "$sum"
hasnt set.tgz
expect 102 gpurun data pull no "$url/nothing" --host $H
has 404 "$work/err"
has "no data set was made" "$work/err"
expect 102 gpurun data pull no "$url/one.bin" --host $H --sha256 "$(sha256sum <"$www/set.tgz" | cut -d' ' -f1)"
expect 0 gpurun data ls
hasnt "no "
mkdir "$work/few"
for tool in sh sha256sum rm; do
    ln -s "$(command -v $tool)" "$work/few/"
done
expect 0 gpurun -q host add few "127.0.0.1:${port[second]}" --env PATH="$work/few"
expect 102 gpurun data pull no "$url/one.bin" --host few
has "there is no curl, wget or python3 on this host" "$work/err"
ln -s /usr/bin/python3 "$work/few/"
expect 0 gpurun -q data pull one "$url/one.bin?cut-python" --host few --sha256 "$(sha256sum <"$www/one.bin" | cut -d' ' -f1)"
[ "$(cuts python)" = "0 of None;100000 of 100000;" ] || fail "what was cut: $(cat "$work/web.log")"
expect 102 gpurun data pull no "$url/nothing" --host few
has 404 "$work/err"
hasnt Traceback "$work/err"
expect 102 gpurun data pull no "$url/set.tgz" --host few --unpack
has "(exit code 127, see above); no data set was made" "$work/err"
expect 0 gpurun -q host rm few
expect 0 gpurun data rm one
expect 0 gpurun data rm tree

note "resume sees it, too; a job that runs keeps it when it is removed, gc takes it afterwards"
expect 0 gpurun -q resume two --host second
has "$sum"
client_bg "$work/bg.out" "$work/bg.err" run --host second --name long --data digits -- sh -c 'read x; sha256sum <digits/big.bin' < <(await 60 "go" test -f "$work/go"; echo)
await 60 "the job to run" job_is long running
expect 0 gpurun data rm digits --json
[ "$(json 'sorted(x["host"] for x in d["removed"])')" = "['$H', 'second']" ] || fail "rm: $(cat "$work/out")"
[ "$(find "$work/$H/home" -name big.bin | wc -l)" = 0 ] || fail "files are left on $H"
touch "$work/go"
wait $bg || fail "the job that ran on: $(cat "$work/bg.err")"
has "$sum" "$work/bg.out"
expect 100 gpurun --host $H --data digits job.sh
expect 0 gpurun gc
expect 0 gpurun gc
[ "$(find "$work/second/home" -name big.bin | wc -l)" = 0 ] || fail "files are left on second"
packs=$(find "$work/$H/home" -name '*.pack' -printf '%s\n' | awk '{n += $1} END {print n + 0}')
[ "$packs" -lt 300000 ] || fail "the room of the set is not free: $packs bytes of packs"
