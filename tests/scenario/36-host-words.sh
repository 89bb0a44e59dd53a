#!/bin/bash
# What a host says, in the user's language: its errors, why a job ended, why there is no snapshot,
# how it protects itself, why it is not parked. What is kept there, JSON and codes stay English.
# needs: pipe
. "$(dirname "$0")/lib.sh"

in_locale() { # LANG WORD...
    env -i PATH="$PATH" HOME="$client" GPURUN_HOME="$client/gpurun" TZ=UTC LANG="$1" "$BUILD/bin/gpurun" "${@:2}"
}
zh() { in_locale zh_CN.UTF-8 "$@"; }
en() { in_locale C.UTF-8 "$@"; }
# The same in both languages: the code, and these words.
both() { # CODE ENGLISH CHINESE WORD...
    local code=$1 english=$2 chinese=$3
    shift 3
    expect "$code" en "$@"
    cat "$work/out" "$work/err" >"$work/said"
    has "$english" "$work/said"
    expect "$code" zh "$@"
    cat "$work/out" "$work/err" >"$work/said"
    has "$chinese" "$work/said"
    hasnt "$english" "$work/said"
}

note "an error of the host: what it was about, and why"
expect 0 zh -d --name there -- sleep 600
state_of() { en --json ps -a | grep -q "\"state\":\"$1\""; }
await 60 "the job runs" state_of running
expect 0 en --json host show local
[ "$(json 'd["cores"] - d["cores_free"]')" = 1 ] || fail "cores: $(cat "$work/out")"
expect 0 en host show local
has ", of which jobs have asked for 1"
both 127 "cannot run './no-such'" "无法运行“./no-such”" exec there -- ./no-such
has "没有那个文件或目录" "$work/said"
run en --json exec there -- ./no-such
cp "$work/err" "$work/json.en"
expect "$rc" zh --json exec there -- ./no-such
[ "$(/usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["error"]["exit"])' <"$work/err")" = 127 ] || fail "JSON: $(cat "$work/err")"
cmp "$work/json.en" "$work/err" || fail "JSON changes with the locale"
has "No such file or directory" "$work/err"
expect 126 en exec there -- /tmp
has "cannot run '/tmp'" "$work/err"

note "what it could say is not what a terminal obeys, and no format of ours"
run zh exec there -- "$(printf './%%s%%n%%2$s\033[31m\037\036\035x')"
[ "$rc" = 127 ] || fail "status $rc"
has '%s%n%2$s\x1b[31m\x1f\x1e\x1dx' "$work/err"
expect 137 zh stop --now there

note "why a job did not start, or ended"
both 102 "cannot run './no-such'" "无法运行“./no-such”" run -- ./no-such
both 102 "set-up failed with exit code 7: exit 7" "环境安装失败，退出码 7：exit 7" run --setup 'exit 7' -- true
both 1 "no Python module nowhere" "没有 Python 模块 nowhere" run --name module -- python3 -c 'import nowhere'
both 0 "no Python module nowhere" "没有 Python 模块 nowhere" snap show module
run zh --json ps -a
has "no Python module nowhere"
both 104 "idle for as long as --idle allows" "空闲时间达到 --idle 的限度" run --idle 1s -- sleep 600

note "why there is no snapshot"
expect 0 zh -d --name bare -- sleep 600
await 60 "the job runs" state_of running
run zh stop --now --no-snapshot bare
has "没有快照：没有要求快照" "$work/err"
both 100 "no snapshot was wanted" "没有要求快照" snap show bare

note "how it protects itself"
expect 0 en --json host show local
why=$(json 'd["protection_why"] or ""')
expect 0 zh host show local
[ -z "$why" ] || hasnt "$why"

note "why it is not parked"
expect 0 zh host park local 'echo no; exit 3' --park-after 1s
failed() { zh host park local | grep -F '退出状态 3: no'; }
await 60 "the park command fails, in Chinese" failed
expect 0 en host park local
has "exit status 3: no"
expect 0 zh host park local none

note "what is kept on the host is English"
! grep -rlP '\p{Han}' "$client/gpurun" --include=state --include='*.manifest' --include='park*' || fail "the host keeps Chinese"
