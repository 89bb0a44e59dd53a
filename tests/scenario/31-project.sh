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
for o in "max-cost 1000" "secret HOME" "with job.sh" "dir /" "env-file x" "notify id" "notify-host id" "name x" "with-git" \
    "detach" "from s0" "port 80" "batch x" "array 1-2"; do
    refused "--$o" "may not say --${o%% *}"
done
refused "--max-time 25h" "may not raise --max-time"
refused "--nosuch" "unknown option"
refused "job.sh" "is no option"
refused '--env "A=1' "a quote"
expect 0 gpurun config max-time 48h
echo '--max-time 25h' >.gpurun
expect 0 gpurun plan --json job.sh
[ "$(json 'd["max_time_s"]')" = 90000 ] || fail "up to the setting"
