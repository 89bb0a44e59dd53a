#!/bin/bash
# Help, completion and the man page say the same, and all of them what the table says.
# needs: pipe
. "$(dirname "$0")/lib.sh"

note "the overview and each command's help"
expect 0 gpurun help
has 'gpurun [OPTIONS] SCRIPT [ARG...]'
expect 0 gpurun --help
cp "$work/out" "$work/overview"
expect 0 gpurun
cmp "$work/out" "$work/overview" || fail "gpurun and gpurun --help differ"

complete() { gpurun __complete -- "$@" | cut -f1; }

commands=$(complete '' | grep -v '^:files$')
for c in $commands; do
    has "$c" "$work/overview"
    expect 0 gpurun "$c" --help
    has "gpurun $c"
    expect 0 gpurun help "$c"
done
case " $(echo $commands) " in *' __complete '*) fail "__complete is no word for people" ;; esac

note "the man page names every command and option, and none that is not"
"$(tool table_gpurun)" | "$TOP/tests/lint/man" gpurun "$TOP/man/gpurun.1" || fail "gpurun(1) is not what the table says"

note "completion offers what fits"
[ "$(complete st)" = "$(printf 'stop\n:files')" ] || fail "st completes to $(complete st)"
complete run --max | grep -qx -- --max-cost || fail "run --max does not offer --max-cost"
complete host '' | grep -qx add || fail "host does not offer add"
complete run --host '' | grep -qx local || fail "--host does not offer local"
complete config '' | grep -qx ask-above || fail "config does not offer ask-above"
bash -n "$TOP/completions/gpurun.bash"

note "bash really completes"
PATH=$BUILD/bin:$PATH HOME=$client GPURUN_HOME=$client/gpurun bash --norc -c '
    . "$1"
    COMP_WORDS=(gpurun host d) COMP_CWORD=2
    _gpurun
    [ "${COMPREPLY[*]}" = doctor ] || { echo "got: ${COMPREPLY[*]}"; exit 1; }
' - "$TOP/completions/gpurun.bash" || fail "bash completion"

note "version"
expect 0 gpurun version
has 'gpurun 0.'
expect 0 gpurun --version
expect 0 gpurun --json version
has '"protocol_max":'

note "looking changes nothing"
[ ! -e "$client/gpurun" ] || fail "help or completion made $client/gpurun: $(find "$client/gpurun")"
