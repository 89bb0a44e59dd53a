#!/bin/bash
# A project's default options in `.gpurun`: found up to the git root, overridden by the command
# line, shown by plan; what a cloned file must not say is refused, never passed over.
# needs: pipe
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/jobs.sh"

mkdir -p "$work/p/sub" "$work/p/.git"
cd "$work/p/sub"
echo 'echo "$A $B"' >job.sh

note "lines of options, remarks and quotes; the command line wins; plan shows them"
cat >../.gpurun <<'EOT'
# how this project runs
--cpu 2 --max-time 2h   # for all
--env "A=from the file" --env B=2
EOT
expect 0 gpurun plan --json job.sh
[ "$(json '(d["count"], d["max_time_s"])')" = "(2, 7200)" ] || fail "the defaults: $(cat "$work/out")"
[ "$(json '"--cpu 2" in d["project"]')" = True ] || fail "plan does not name the file"
expect 0 gpurun plan job.sh
has "$work/p/.gpurun"
expect 0 gpurun plan --json --device cpu:any:1 --max-time 3h job.sh
[ "$(json '(d["count"], d["max_time_s"])')" = "(1, 10800)" ] || fail "the command line: $(cat "$work/out")"
expect 0 gpurun --env B=3 job.sh
[ "$(cat "$work/out")" = "from the file 3" ] || fail "the variables: $(cat "$work/out")"
has "options of $work/p/.gpurun" "$work/err"
expect 0 gpurun run --json --array 1-2 job.sh
[ "$(json '[j["job"]["count"] for j in d["jobs"]]')" = "[2, 2]" ] || fail "an array has the defaults, too"

note "the nearest file counts; none above the git root, none elsewhere"
echo '--cpu 1' >.gpurun
expect 0 gpurun plan --json job.sh
[ "$(json '(d["count"], d["max_time_s"])')" = "(1, 86400)" ] || fail "the nearest file"
rm .gpurun
mkdir .git
expect 0 gpurun plan --json job.sh
[ "$(json 'd["project"]')" = None ] || fail "a file above the git root"
rmdir .git ../.git
expect 0 gpurun plan --json job.sh
[ "$(json 'd["project"]')" = None ] || fail "a file above, without git"
mkdir .gpurun
expect 0 gpurun plan --json job.sh
rmdir .gpurun

note "what it may not say"
refused() { # LINE WORDS
    echo "$1" >.gpurun
    expect 100 gpurun plan job.sh
    has "$2" "$work/err"
    has ".gpurun" "$work/err"
}
for o in "secret HOME" "with job.sh" "dir /" "env-file x" "notify id" "notify-host id" "name x" "with-git" \
    "detach" "from s0" "port 80" "batch x" "array 1-2"; do
    refused "--$o" "may not say --${o%% *}"
done
refused "--max-time 25h" "may not raise --max-time"
refused "--nosuch" "unknown option"
refused "job.sh" "is no option"
refused '--env "A=1' "a quote"
expect 0 gpurun --json config max-time 48h
[ "$(json 'd["value"]')" = 48h ] || fail "what was set: $(cat "$work/out")"
echo '--max-time 25h' >.gpurun
expect 0 gpurun plan --json job.sh
[ "$(json 'd["max_time_s"]')" = 90000 ] || fail "up to the setting"

note "as Windows writes it; a set-up"
printf '\xef\xbb\xbf--cpu 2\r\n--setup true\r\n' >.gpurun
expect 0 gpurun plan --json job.sh
[ "$(json '(d["count"], d["setup"])')" = "(2, 'true')" ] || fail "a file of Windows: $(cat "$work/out")"
printf '\xef\xbb\xbfA=one\r\nB=two\r\n' >win.env
printf '\xef\xbb\xbf--env-file win.env job.sh\r\n' >win.batch
printf -- '--cpu 2\0\n--setup true\n' >.gpurun
expect 100 gpurun plan job.sh
has ".gpurun: it holds a zero byte" "$work/err"
rm .gpurun
printf 'A=one\0\nB=two\n' >cut.env
expect 100 gpurun plan --env-file cut.env job.sh
has "cut.env: it holds a zero byte" "$work/err"
echo 'export A=one' >cut.env
expect 100 gpurun plan --env-file cut.env job.sh
has "K without blanks" "$work/err"
expect 0 gpurun run -q --env-file win.env job.sh
has "one two"
expect 0 gpurun run -q --batch win.batch --name win
expect 0 gpurun -q logs win-1
has "one two"

note "its --max-cost lowers the cap, and never raises it; the command's own word counts"
expect 0 owner price set cpu=36 disk=0
cap() { # WORD...
    expect 0 gpurun plan --json "$@" job.sh
    json 'd["cap_fen"]'
}
own=$(cap --max-time 1h)
echo '--max-cost 20' >.gpurun
[ "$(cap --max-time 1h)" = 2000 ] || fail "it lowers nothing: $(cat "$work/out")"
[ "$(cap --max-time 1h --max-cost 30)" = 3000 ] || fail "the command's own: $(cat "$work/out")"
echo '--max-cost 100000' >.gpurun
[ "$(cap --max-time 1h)" = "$own" ] || fail "it raises the cap: $(cat "$work/out")"
printf -- '--max-time 1h --name own -- true\n--max-time 1h --max-cost 30 --name low -- true\n' >two.batch
expect 0 gpurun plan --json --batch two.batch
[ "$(json '[j["cap_fen"] for j in d["jobs"]]')" = "[$own, 3000]" ] || fail "of a batch: $(cat "$work/out")"
refused "--max-cost much" "max-cost"

note "what the file chose, above ask-above, is somebody's word: -y, a cap, or an answer"
expect 0 gpurun config max-time 24h
echo '--cpu 2' >.gpurun
run_it() { gpurun "$@" job.sh; }
expect 100 run_it
has "ask-above" "$work/err"
expect 100 gpurun run --array 1-2 job.sh
has "ask-above" "$work/err"
expect 0 gpurun plan --array 1-2 job.sh
has "the project file chose it"
expect 0 gpurun plan --json --array 1-2 --max-cost 60 job.sh
[ "$(json 'd["asks"], d["needs_word"]')" = "(True, False)" ] || fail "plan --json: $(cat "$work/out")"
expect 0 gpurun plan -y --max-cost 60 job.sh
hasnt "ask-above"
expect 0 gpurun plan --max-cost 60 job.sh
has "on a terminal a run asks first"
[ "$(ps_json | grep -c '¥')" = 0 ]
expect 0 gpurun plan job.sh
has "the project file chose it"
expect 0 gpurun plan --json job.sh
[ "$(json 'd["needs_word"]')" = True ] || fail "plan --json: $(cat "$work/out")"
expect 101 as_client "$(tool pty_run)" "Run it? [Y/n]" n -- "$BUILD/bin/gpurun" job.sh
for words in -y "--max-cost 60" "--cpu 2" "--max-time 10m"; do
    # shellcheck disable=SC2086
    expect 0 run_it $words
done
expect 0 gpurun plan --json --max-cost 60 job.sh
[ "$(json 'd["needs_word"]')" = False ] || fail "with a cap: $(cat "$work/out")"
