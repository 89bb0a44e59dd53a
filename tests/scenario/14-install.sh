#!/bin/bash
# What `make install` puts down works wherever it stands, and `make uninstall` takes all of it away.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"

case $(basename "$BUILD") in
dev) flavour=() ;;
cov) flavour=(COV=1) ;;
cov-*) flavour=(COV=1 SAN="$(basename "$BUILD" | sed 's/^cov-//; s/-/,/g')") ;;
*) flavour=(SAN="$(basename "$BUILD" | tr - ,)") ;;
esac
root=$work/root
make_it() { make -s -C "$TOP" "${flavour[@]}" DESTDIR="$root" PREFIX=/opt/g "$@"; }
files() { (cd "$1" && find . ! -type d | sort); }
here() { as_client "$@"; } # with a HOME of its own

note "what is installed"
expect 0 make_it install
at=$root/opt/g
for f in bin/gpurun lib/gpurun/agent/"$arch"/gpurun-agent lib/gpurun/agent/"$arch"/gpurun-gpuprobe; do
    [ -x "$at/$f" ] || fail "no $f"
done
for f in man/man1/gpurun.1 man/man8/gpurun-agent.8 bash-completion/completions/gpurun bash-completion/completions/gpurun-agent bash-completion/completions/gpurun-book man/man8/gpurun-book.8 zsh/site-functions/_gpurun fish/vendor_completions.d/gpurun.fish fish/vendor_completions.d/gpurun-agent.fish fish/vendor_completions.d/gpurun-book.fish gpurun/examples/notify.sh locale/zh_CN/LC_MESSAGES/gpurun.mo; do
    [ -s "$at/share/$f" ] || fail "no share/$f"
done
[ ! -x "$BUILD/lib/gpurun/agent/aarch64/gpurun-agent" ] || [ -x "$at/lib/gpurun/agent/aarch64/gpurun-agent" ] ||
    fail "the agent for aarch64 is not installed"
[ -z "$(find "$at" -name '*.dyn')" ] || fail "the agent for tests is installed"
[ "$(readlink "$at/bin/gpurun-agent")" = "../lib/gpurun/agent/$arch/gpurun-agent" ] || fail "bin/gpurun-agent is not in the tree"
! grep -rqF -- "$root" "$at" || fail "a file knows where it was installed"
files "$at" >"$work/installed"

works() { # where: a job on `local`, one over SSH with the agent of this tree, the owner's side
    local bin=$1/bin agent
    agent=$(sha256sum <"$1/lib/gpurun/agent/$arch/gpurun-agent" | cut -d' ' -f1)
    rm -rf "$client/gpurun" "$work/h/home/.local"
    expect 7 here "$bin/gpurun" -q run -- sh -c 'echo from $1; exit 7' - "$1"
    has "from $1"
    expect 0 here "$bin/gpurun" -q host add h "127.0.0.1:${port[h]}"
    [ -x "$work/h/home/.local/share/gpurun-agent/bin/$agent/gpurun-agent" ] || fail "another agent was put there"
    expect 0 here LC_ALL=zh_CN.UTF-8 "$work/h/home/.local/share/gpurun-agent/bin/$agent/gpurun-agent" help
    grep -qP '\p{Han}' "$work/out" || fail "the agent that was put there knows no Chinese"
    expect 0 here "$bin/gpurun" -q run --host h -- echo there
    has there
    expect 0 here "$bin/gpurun-agent" version
    run here "$bin/gpurun-agent" devices
    hasnt "no gpurun-gpuprobe" "$work/err"
}
client_key
sshd h
authorize h
know h

note "where it was installed"
works "$at"
note "somewhere else"
mv "$at" "$work/moved"
works "$work/moved"
note "reached by a link"
mkdir "$work/linked"
ln -s "$work/moved/bin" "$work/linked/bin"
ln -s "$work/moved/lib" "$work/linked/lib"
ln -s "$work/moved/bin/gpurun" "$work/linked/g"
expect 0 here "$work/linked/g" -q run --host local -- true
expect 0 here "$work/linked/g" -q run --host h -- true
mv "$work/moved" "$at"

note "its completions can be loaded"
expect 0 bash -c ". '$at/share/bash-completion/completions/gpurun' && complete -p gpurun"
has gpurun

note "what is not ours stays, what is ours goes"
echo theirs >"$at/bin/other"
echo theirs >"$at/share/man/man1/other.1"
files "$at" >"$work/after"
printf '%s\n' ./bin/other ./share/man/man1/other.1 | sort -m - "$work/installed" | cmp - "$work/after" ||
    fail "running it has changed the installed tree"
expect 0 make_it uninstall
files "$at" >"$work/left"
printf '%s\n' ./bin/other ./share/man/man1/other.1 | cmp - "$work/left" || fail "left: $(cat "$work/left")"
[ ! -e "$at/lib/gpurun" ] && [ ! -e "$at/share/gpurun" ] || fail "our folders are left"
