#!/bin/bash
# The user's own language: help, remarks and errors in Chinese where the locale says so, though
# this machine has not installed it; JSON, CSV, exit codes and the job's bytes never change.
# needs: pipe
. "$(dirname "$0")/lib.sh"

in_locale() { # NAME=VALUE... -- WORD...: gpurun with that and no other locale
    local vars=()
    while [ "$1" != -- ]; do vars+=("$1"); shift; done
    shift
    env -i PATH="$PATH" HOME="$client" GPURUN_HOME="$client/gpurun" TZ=UTC "${vars[@]}" "$BUILD/bin/gpurun" "$@"
}
zh() { in_locale LANG=zh_CN.UTF-8 -- "$@"; }
en() { in_locale LANG=C.UTF-8 -- "$@"; }
chinese() { grep -qP '\p{Han}' "${1:-$work/out}" || fail "no Chinese in ${1:-stdout}"; }
english() { ! grep -qP '\p{Han}' "${1:-$work/out}" || fail "Chinese in ${1:-stdout}"; }

note "chosen by locale"
expect 0 zh help
chinese
has "命令："
for l in LC_ALL=zh_CN.utf8 LC_MESSAGES=zh_CN.UTF-8 "LANG=zh_CN.UTF-8 LANGUAGE="; do
    expect 0 in_locale LANG=en_US.UTF-8 $l -- help
    chinese
done
expect 0 in_locale LC_ALL=C.UTF-8 LANGUAGE=zh_CN -- help
chinese
for l in LANG=C LANG=C.UTF-8 LANG=zh_CN LANG=zh_CN.GBK LANG=de_DE.UTF-8 "LC_ALL=C LANG=zh_CN.UTF-8"; do
    # shellcheck disable=SC2086
    expect 0 in_locale $l -- help
    english
done

note "every command's help, every option"
"$(tool table_gpurun)" >"$work/table"
en help | awk '/^Commands:/ { on = 1; next } /^$/ { on = 0 } on && /^  [a-z]/ { print $1 }' >"$work/commands"
[ "$(wc -l <"$work/commands")" -gt 15 ] || fail "no commands found"
while read -r c; do
    expect 0 zh "$c" --help
    chinese
    # A label of an option, then its words, in the same line or the next ones.
    /usr/bin/python3 - "$work/out" "$c" <<'PY' || fail "not translated in: $c --help"
import re, sys
text = open(sys.argv[1], encoding="utf-8").read()
bad = [o for o in re.split(r"\n(?= {2,6}-)", text)[1:] if not re.search(r"[\u4e00-\u9fff]", o)]
for o in bad:
    print(o)
sys.exit(bool(bad))
PY
done <"$work/commands"

note "a job: its bytes, its code, and what it inherits"
for w in zh en; do
    expect 3 $w run --name "in-$w" -- sh -c 'printf "\377 raw\n"; echo "lang=$LANGUAGE"; exit 3'
    printf '\377 raw\nlang=\n' | cmp - "$work/out" || fail "the job's output differs under $w"
    cp "$work/err" "$work/remarks.$w"
done
chinese "$work/remarks.zh"
has "退出码 3" "$work/remarks.zh"
english "$work/remarks.en"
has "exited 3" "$work/remarks.en"

note "errors: another language, the same code"
while read -r words; do
    # shellcheck disable=SC2086
    run en $words
    code=$rc
    english "$work/err"
    # shellcheck disable=SC2086
    expect "$code" zh $words
    chinese "$work/err"
    # shellcheck disable=SC2086
    run en --json $words
    cp "$work/err" "$work/json.en"
    # shellcheck disable=SC2086
    expect "$code" zh --json $words
    cmp "$work/json.en" "$work/err" || fail "JSON changes with the locale: $words"
done <<'END'
stop nobody
logs nobody
run --cpu x -- true
run --gpu 4090 -- true
run --nosuch -- true
run no-such-script.py
host rm nobody
snap show nothing
snap keep nothing
bill --month May
config nosuch
wallet topup -1
cp a b
extend nobody
nosuch
END

note "what programs read"
for words in "--json ps -a" "--json config" "--json bill" "bill --csv" "bill --by day --csv" "--json snap ls" \
    "--json host ls" "--json wallet" "config max-time" "__complete -- gpurun st"; do
    # shellcheck disable=SC2086
    run en $words
    cp "$work/out" "$work/out.en"
    code=$rc
    # shellcheck disable=SC2086
    expect "$code" zh $words
    [ "$words" = "--json host ls" ] || cmp "$work/out.en" "$work/out" || fail "changes with the locale: $words"
    english
done

note "tables stand straight by the width of what is shown"
for words in "ps -a" bill config "snap ls" "host ls"; do
    # shellcheck disable=SC2086
    expect 0 zh $words
    chinese
    /usr/bin/python3 - "$work/out" <<'PY' || fail "columns of '$words' do not align"
import re, sys, unicodedata
def width(s):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in s)
lines = [l for l in open(sys.argv[1], encoding="utf-8").read().split("\n") if "  " in l]
# Where a first column ends, in cells of the terminal: the same for every row.
starts = {width(re.match(r"\S+(?: \S+)*? {2,}", l).group()) for l in lines}
print(starts)
sys.exit(len(starts) != 1 or len(lines) < 2)
PY
done

note "and in a terminal of fifty cells they are no wider"
narrow() { # LOCALE WORDS
    as_client env LANG="$1" TERM=xterm "$(tool pty_run)" -- sh -c "stty cols 50; exec $BUILD/bin/gpurun $2"
}
for words in "ps -a" "snap ls"; do
    for locale in C.UTF-8 zh_CN.UTF-8; do
        # shellcheck disable=SC2086
        in_locale LANG=$locale -- $words >"$work/wide"
        expect 0 narrow $locale "$words"
        /usr/bin/python3 - "$work/out" "$work/wide" <<'PY' || fail "'$words' is wider than its terminal, or says nothing: $(cat "$work/out")"
import sys, unicodedata
def width(s):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in s)
shown, wide = (open(p, encoding="utf-8").read().replace("\r", "").splitlines() for p in sys.argv[1:])
widest = max(map(width, shown))
print(widest, max(map(width, wide)))
sys.exit(not 20 < widest <= 50 < max(map(width, wide)) or len(shown) != len(wide))
PY
    done
done

if [ -x "$BUILD/bin/gpurun-static" ]; then
    note "the static client, with no locale of this machine"
    expect 0 env -i HOME="$client" LANG=zh_CN.UTF-8 LOCPATH="$work/none" "$BUILD/bin/gpurun-static" help
    chinese
fi

note "an owner's and an operator's program: help, tables, errors; what is kept and JSON are English"
own() { # PROGRAM LANG WORD...
    env -i PATH="$PATH" HOME="$client" GPURUN_AGENT_HOME="$client/gpurun/local" TZ=UTC LANG="$2" "$BUILD/bin/$1" "${@:3}"
}
for p in gpurun-agent gpurun-book; do
    expect 0 own $p C.UTF-8 help
    english
    awk '/^  [a-z]/ { print $1 }' "$work/out" >"$work/commands"
    [ "$(wc -l <"$work/commands")" -gt 15 ] || fail "no commands of $p found"
    while read -r c; do
        expect 0 own $p zh_CN.UTF-8 "$c" --help
        [ "$(grep -cP '\p{Han}' "$work/out")" = "$(grep -cE '^[^ ]|^  [ -]' "$work/out")" ] || fail "not all of it: $p $c --help: $(cat "$work/out")"
    done <"$work/commands"
    for words in nosuch "revoke nobody" "audit more"; do
        # shellcheck disable=SC2086
        run own $p C.UTF-8 $words
        code=$rc
        english "$work/err"
        # shellcheck disable=SC2086
        expect "$code" own $p zh_CN.UTF-8 $words
        chinese "$work/err"
    done
    for words in "revoke nobody --json" "audit --json" "__complete -- a" version; do
        # shellcheck disable=SC2086
        run own $p C.UTF-8 $words
        code=$rc
        cat "$work/out" "$work/err" | sed 's/"\(from\|to\|ns\|idle_ns\)":[^,}]*//g' >"$work/english"
        # shellcheck disable=SC2086
        expect "$code" own $p zh_CN.UTF-8 $words
        cat "$work/out" "$work/err" >"$work/both"
        english "$work/both"
        [ "$words" = "audit --json" ] || cmp "$work/english" "$work/both" || fail "changes with the locale: $p $words"
    done
done
for words in "price ls" status doctor devices "jobs -a" audit earnings quota fsck gc tick "book ls"; do
    # shellcheck disable=SC2086
    run own gpurun-agent zh_CN.UTF-8 $words
    [ "$rc" -le 1 ] || fail "status $rc: $words"
    [ "$words" = tick ] || chinese
done
mkdir -p "$client/gpurun/local/told"
no=$client/gpurun/local/told/l000000000001.0011223344556677.no
printf '%s\n' gpurun.refusal.v1 id=l000000000001 book=0011223344556677 what=decline code=invalid 'why=no such id' wall_ns=1 told=0 >"$no"
run own gpurun-agent zh_CN.UTF-8 tick
has "谢绝声明（属于 l000000000001）被永久拒收：没有这个标识" "$work/err"
grep -q '^told=1' "$no" || fail "not told: $(cat "$no")"
expect 0 own gpurun-book zh_CN.UTF-8 accounts
has "账户  名称"
# Three in a row: fewer are among random bytes, too.
! grep -rlaP --exclude-dir=work --exclude-dir=store '\p{Han}{3}' "$client/gpurun/local" "$client/.local" || fail "Chinese is kept"

note "lint sees a word that is not translated, wherever it stands"
mkdir -p "$work/src/tests"
(cd "$TOP" && cp -r Makefile base meter storage runner po "$work/src" && cp -r tests/lint "$work/src/tests")
lint() { make -s -C "$work/src" words; }
expect 0 lint
plant() { # FILE TEXT
    cp "$work/src/$1" "$work/before"
    printf '%s\n' "$2" >>"$work/src/$1"
    run lint
    [ "$rc" != 0 ] || fail "lint does not see $2 in $1"
    grep -q "planted words" "$work/err" || fail "lint does not name it: $(cat "$work/err")"
    cp "$work/before" "$work/src/$1"
}
plant runner/book/audit.c 'static const char *p = N_("planted words of a book");'
plant runner/book/audit.c 'static const char *p = "planted words of a book";'
plant runner/host/owner_store.c 'static const char *p = "planted words of an owner";'
plant base/command.c 'static const char *p = "planted words of both";'
