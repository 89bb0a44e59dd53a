#!/bin/bash
# Caches of model hubs and package managers: one per renter on a host, outside snapshots, kept from
# job to job, trimmed; and what is said when a Python module is missing.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/jobs.sh"

mkdir -p "$work/p"
cd "$work/p"
names="HF_HOME MODELSCOPE_CACHE TORCH_HOME PIP_CACHE_DIR UV_CACHE_DIR"
cat >job.sh <<'EOT'
for n in HF_HOME MODELSCOPE_CACHE TORCH_HOME PIP_CACHE_DIR UV_CACHE_DIR; do
    eval d=\$$n
    [ -n "$d" ] || exit 9
    echo "$n=$d"
    [ ! -f "$d/hub/model/blob" ] || echo "had $n"
    mkdir -p "$d/hub/model" && echo data >"$d/hub/model/blob"
done
EOT

for t in pipe libssh; do
    use $t
    note "each has a place of its own beside the jobs, and finds it again ($t)"
    expect 0 gpurun -q --host $H --name first-$t job.sh
    hasnt had
    for n in $names; do
        grep -q "^$n=/.*/cache/[a-z]*\$" "$work/out" || fail "$n: $(cat "$work/out")"
    done
    home=$(sed -n 's/^HF_HOME=\(.*\)\/renters\/.*/\1/p' "$work/out")
    expect 0 gpurun -q --host $H job.sh
    for n in $names; do
        has "had $n"
    done
    expect 0 gpurun snap files first-$t
    hasnt blob
    hasnt cache

    note "what the user sets counts"
    expect 0 gpurun -q --host $H --env HF_HOME=here --env PIP_CACHE_DIR=there job.sh
    has "HF_HOME=here"
    has "PIP_CACHE_DIR=there"
    hasnt "had HF_HOME"
    has "had TORCH_HOME"

    note "another renter has another cache, and does not see this one"
    [ $H = local ] || expect 0 gpurun --home "$client/other" -q host add $H "127.0.0.1:${port[$H]}"
    expect 0 gpurun --home "$client/other" -q --host $H job.sh
    hasnt had

    note "what nobody used for long goes, the rest stays; under a job that lives, too, but for what it may be using"
    old=$(dirname "$(find "$home"/renters/*/cache/torch -name blob | head -n 1)")
    for d in "$home"/renters/*/cache/torch; do
        find "$d" -exec touch -h -d '40 days ago' {} +
    done
    client_bg "$work/bg.out" "$work/bg.err" run --host $H --name holds-$t -- sh -c 'read x' < <(await 60 "go" test -f "$work/go-$t"; echo)
    await 60 "the job to run" job_is holds-$t running
    cat "$old/blob" >/dev/null # as the job would
    expect 0 gpurun gc
    [ -e "$old" ] || fail "trimmed under a job that may be using it"
    for d in "$home"/renters/*/cache/torch; do
        find "$d" -exec touch -h -d '40 days ago' {} +
    done
    expect 0 gpurun gc
    expect 0 gpurun --home "$client/other" gc
    # where times of reading are not kept nobody knows what a job is using
    touch -d '40 days ago' "$work/read" && echo >>"$work/read" && touch -d '40 days ago' "$work/read" && cat "$work/read" >/dev/null
    if [ "$(stat -c %X "$work/read")" -gt "$(stat -c %Y "$work/read")" ]; then
        [ ! -e "$old" ] || fail "what was not used for 40 days is still there, for a job that did not use it"
    fi
    touch "$work/go-$t"
    wait $bg || fail "the job: $(cat "$work/bg.err")"
    expect 0 gpurun gc
    expect 0 gpurun --home "$client/other" gc
    [ ! -e "$old" ] || fail "what was not used for 40 days is still there"
    expect 0 gpurun -q --host $H job.sh
    hasnt "had TORCH_HOME"
    has "had UV_CACHE_DIR"
done

note "a missing module: the last line says what helps; a job's own exit code stays"
echo 'import nosuchthing.inside' >need.py
expect 1 gpurun --host $H need.py
tail -n 1 "$work/err" >"$work/last"
has "no module nosuchthing" "$work/last"
has "--conda" "$work/last"
has "--setup 'pip install nosuchthing'" "$work/last"
has "ModuleNotFoundError: No module named 'nosuchthing'" "$work/err"
expect 1 gpurun wait @last
tail -n 1 "$work/err" >"$work/last"
has "no module nosuchthing" "$work/last"
expect 1 gpurun --host $H -- python3 -m nosuchthing
tail -n 1 "$work/err" >"$work/last"
has "--setup 'pip install nosuchthing'" "$work/last"
printf 'import sys\nsys.stderr.write("\\x1b[1;35mModuleNotFoundError\\x1b[0m: \\x1b[35mNo module named %s\\x1b[0m\\n")\nsys.exit(1)\n' "'cv2'" >colour.py
expect 1 gpurun --host $H colour.py
tail -n 1 "$work/err" >"$work/last"
has "no module cv2" "$work/last"
has "--setup 'pip install opencv-python'" "$work/last"
cat >calm.py <<'EOT'
try:
    import nosuchthing
except ImportError as e:
    print("without it")
EOT
expect 0 gpurun --host $H calm.py
hasnt "no module" "$work/err"
cat >loud.py <<'EOT'
import sys
sys.stderr.write("ModuleNotFoundError: No module named 'a\x1b[31m; rm -rf /'\n")
sys.exit(3)
EOT
expect 3 gpurun --host $H loud.py
hasnt "no module" <(tail -n 1 "$work/err")
