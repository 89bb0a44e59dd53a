#!/bin/bash
# A tree of many small files end to end, kept here and run and resumed on a host, and a folder of many
# names: the same as they were, by rsync and mtree, with the time and memory that each step took.
# TINY_PERCENT, NAMES: how many (500 is a million files); CHUNKS: and before, that of an index and a
# store of so many (make soak: ten million, a million, a million); MEM_KIB: what a command may take at most.
# limit: 300
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
use pipe

took() { # WHAT WORD...: run it, and say how long it took and how much memory its largest process
    local what=$1
    shift
    if ! /usr/bin/time -f '%e %M' -o "$work/time" "$@" >"$work/out" 2>"$work/err"; then
        fail "$what: $(tail -n 3 "$work/err")"
    fi
    read -r s kib <"$work/time"
    printf -- '-- %-44s %8.1f s  %7d KiB\n' "$what" "$s" "$kib"
}
# However much there is, no command holds all of it.
g() {
    took "$1" env HOME="$client" GPURUN_HOME="$client/gpurun" LC_ALL=C.UTF-8 "$BUILD/bin/gpurun" -q "${@:2}"
    [ "$kib" -le "${MEM_KIB:-100000}" ] || fail "$1 took $kib KiB"
}

if [ -n "${CHUNKS:-}" ]; then
    note "$CHUNKS chunks: index, has, rebuild, gc's walk"
    mkdir "$work/index"
    took "bench_store index" "$(tool bench_store)" index "$work/index" "$CHUNKS"
    sed 's/^/   /' "$work/out"
    rm -rf "$work/index"
    note "a store of as many small chunks: gc, rebuild"
    mkdir "$work/store"
    took "bench_gc" "$(tool bench_gc)" "$work/store" "$CHUNKS"
    sed 's/^/   /' "$work/out"
    rm -rf "$work/store"
fi

listed() { mtree -c -k type,mode,uid,gid,size,time,link,nlink,sha256 -p "$1" | sed '/^#/d'; }
judge() { # TREE[, WHAT]: $work/back is the tree; it goes then
    rsync -anHAXc --delete --numeric-ids --itemize-changes "$work/${1%%,*}/" "$work/back/" >"$work/rsync"
    [ ! -s "$work/rsync" ] || fail "$1 came back changed: $(head -c 1000 "$work/rsync")"
    listed "$work/back" | cmp -s - "$work/want.mtree" || fail "$1: mtree sees a difference"
    [ -s "$work/want.mtree" ] || fail "mtree saw nothing"
    rm -rf "$work/back"
}

# round NAME: snapshot, again, gc, check, back; the same as it was.
round() {
    g "$1: snapshot" snap take "$work/$1" --name "$1"
    g "$1: unchanged" snap take "$work/$1" --name "$1-again"
    g "$1: gc" gc
    g "$1: fsck" fsck
    g "$1: listing" snap files "$1"
    g "$1: diff with itself" snap diff "$1" "$1-again"
    has '0 added, 0 removed, 0 changed'
    g "$1: restore" snap get "$1" -o "$work/back"
    g "$1: export" snap export "$1" -o "$work/$1.tar.zst"
    listed "$work/$1" >"$work/want.mtree"
    judge "$1"
    took "$1: import" env HOME="$client" GPURUN_HOME="$client/other" "$BUILD/bin/gpurun" -q snap import "$work/$1.tar.zst"
    took "$1: restore, exact" env HOME="$client" GPURUN_HOME="$client/other" "$BUILD/bin/gpurun" -q snap get "$1" --exact -o "$work/back"
    judge "$1, exported and imported"
    rm -rf "$client/other"
    note "$1: $(du -sm "$client"/gpurun/local/renters/*/store | cut -f1) MB kept, $(stat -c %s "$work/$1.tar.zst") bytes exported"
    rm -rf "${work:?}/$1" "$work/$1.tar.zst"
}
# on_host NAME: a job that has it, on a host behind sshd, adds to it and is resumed; what is left is the
# same besides.
on_host() {
    use libssh
    g "$1: run on a host" run -y --host "$H" --dir "$work/$1" --name "$1-job" -- sh -c 'echo first >added'
    g "$1: run, unchanged" run -y --host "$H" --dir "$work/$1" -- true
    g "$1: resumed" resume "$1-job" --name "$1-on" -- sh -c 'cat added; echo second >>added'
    has first
    g "$1: what the job left, from the host" snap get "$1-on" -o "$work/back"
    [ "$(cat "$work/back/added")" = first$'\n'second ] || fail "the job left $(cat "$work/back/added")"
    rm "$work/back/added"
    touch -r "$work/$1" "$work/back" # a name came and went
    listed "$work/$1" >"$work/want.mtree"
    judge "$1, run and resumed"
    use pipe
}
note "many files of 600 bytes"
"$(tool mktree)" tiny "$work/million" "${TINY_PERCENT:-5}"
on_host million
round million
note "a folder of many names"
mkdir "$work/names"
/usr/bin/python3 - "$work/names" "${NAMES:-5000}" <<'PY'
import os, sys
d = os.open(sys.argv[1], os.O_RDONLY)
for i in range(int(sys.argv[2])):
    os.close(os.open("name-%07d" % i, os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=d))
PY
round names
