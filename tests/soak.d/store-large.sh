#!/bin/bash
# Figures of a large store: an index of ten million chunks, a tree of a million files end to
# end, and a folder of a million names.
# limit: 7200
. "$(dirname "$0")/../scenario/lib.sh"
. "$(dirname "$0")/../scenario/hosts.sh"
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
g() { took "$1" env HOME="$client" GPURUN_HOME="$client/gpurun" LC_ALL=C.UTF-8 "$BUILD/bin/gpurun" -q "${@:2}"; }

note "ten million chunks: index, has, rebuild, gc's walk"
mkdir "$work/index"
took "bench_store index" "$(tool bench_store)" index "$work/index" "${CHUNKS:-10000000}"
sed 's/^/   /' "$work/out"
rm -rf "$work/index"
note "a store of as many small chunks: gc, rebuild"
mkdir "$work/store"
took "bench_gc" "$(tool bench_gc)" "$work/store" "${CHUNKS:-10000000}"
sed 's/^/   /' "$work/out"
rm -rf "$work/store"

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
note "a million files of 600 bytes"
"$(tool mktree)" tiny "$work/million" "${TINY_PERCENT:-500}"
round million
note "a folder of a million names"
mkdir "$work/names"
/usr/bin/python3 - "$work/names" "${NAMES:-1000000}" <<'PY'
import os, sys
d = os.open(sys.argv[1], os.O_RDONLY)
for i in range(int(sys.argv[2])):
    os.close(os.open("name-%07d" % i, os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=d))
PY
round names
