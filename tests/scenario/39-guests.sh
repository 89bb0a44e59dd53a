#!/bin/bash
# A host whose agent belongs to an ordinary user: --data and --setup for that user, and for renters it
# lets in, who come through the same account. Walls stand twice there, each time around another's files.
# needs: root
# Not beneath a folder that only root may enter.
export TMPDIR=/tmp
. "$(dirname "$0")/lib.sh"

uid=4711
sshd inn --guest $uid -- "AuthorizedKeysFile $work/inn/home/.ssh/authorized_keys"
home=$work/inn/home
agent_home=$home/.local/share/gpurun-agent
# A copy: where it was built may be closed to that user.
mkdir -p "$work/agent"
cp "$BUILD/bin/gpurun-agent" "$work/agent/"
as_guest() { setpriv --reuid $uid --regid $uid --clear-groups env -i PATH="$PATH" HOME="$home" LC_ALL=C.UTF-8 TZ=UTC "$@"; }
host() { as_guest "$work/agent/gpurun-agent" "$@"; }
as_guest mkdir -p "$home/.ssh" "$home/.cache/huggingface"
as_guest sh -c "echo top-secret >$home/diary; echo hf_secret >$home/.cache/huggingface/token"

who() { # NAME: become it
    client=$work/$1
    [ -d "$client/.ssh" ] || { mkdir -p "$client/.ssh" "$work/p-$1"; chmod 700 "$client" "$client/.ssh"; client_key; know inn; }
    cd "$work/p-$1"
}
for r in ann bob; do
    who $r
    cp "$client/.ssh/id_ed25519.pub" "$work/key.pub"
    chmod 644 "$work/key.pub"
    expect 0 host allow "$work/key.pub" --name $r
done
who own
cat "$client/.ssh/id_ed25519.pub" >>"$home/.ssh/authorized_keys"

mkdir -p "$work/set/deep/er"
head -c 300000 /dev/urandom >"$work/set/big.bin"
seq 1000 >"$work/set/deep/er/numbers"
cat >"$work/job.sh" <<'EOT'
sha256sum <digits/big.bin
cat digits/deep/er/numbers | wc -l
cat "$GPURUN_SETUP_DIR/made"
for f in digits/big.bin digits/new digits/deep/er/new "$GPURUN_SETUP_DIR/made" "$GPURUN_SETUP_DIR/new" $1/key; do
    { chmod u+w "$f" "$(dirname "$f")"; echo x >"$f"; } 2>/dev/null && echo "WROTE $f"
done
rm -rf digits/deep 2>/dev/null && echo REMOVED
{ cat "$1/key" || ls "$1/renters/"*/jobs; } 2>/dev/null | grep . && echo "READ the agent's files"
echo t >"$TMPDIR/t" && echo c >"$HOME/.cache-file" && echo "its own places are there"
[ ! -e "$TMPDIR/setup" ] || echo LEFT
echo kept >result
EOT
cat >"$work/setup.sh" <<'EOT'
echo "user $(id -u)"
[ -e digits ] && echo SEES
echo x >"$TMPDIR/x" || exit 1
cat "$1/key" "$1/../../../diary" && exit 1
echo made >"$GPURUN_SETUP_DIR/made"
EOT
sum=$(sha256sum <"$work/set/big.bin")

for r in own ann; do
    note "$r: a data set and a set-up, by an agent without root"
    who $r
    cp "$work/job.sh" "$work/setup.sh" .
    expect 0 gpurun -q host add inn "guest@127.0.0.1:${port[inn]}"
    expect 0 gpurun data put digits "$work/set"
    for again in first second; do
        # The login user's own job may read what that user may, but for the agent's home.
        setup="sh setup.sh $agent_home"
        [ $r != own ] || setup="sh setup.sh $agent_home/renters"
        expect 0 gpurun --host inn --name "$r-$again" --data digits --setup "$setup" job.sh "$agent_home"
        has "$sum"
        has 1000
        has made
        has "its own places are there"
        for w in WROTE READ REMOVED LEFT; do
            hasnt $w
        done
        [ $again = second ] || has "user $uid" "$work/err"
        hasnt top-secret "$work/err"
    done
    hasnt "user $uid" "$work/err"
    expect 0 gpurun snap files "$r-second"
    has result
    hasnt big.bin
done
[ -z "$(find "$home" ! -user $uid)" ] || fail "not the agent's own: $(find "$home" ! -user $uid)"

note "the login user's models and token are that user's jobs' too, and no renter's"
who own
# shellcheck disable=SC2016
expect 0 gpurun -q --host inn -- sh -c 'echo "${HF_HOME:-none}"; cat ~/.cache/huggingface/token; echo "$TORCH_HOME"'
has none
has hf_secret
has "/cache/torch"
who ann
# shellcheck disable=SC2016
expect 0 gpurun -q --host inn -- sh -c 'echo "$HF_HOME"; cat '"$home"'/.cache/huggingface/token; true'
has "/cache/huggingface"
hasnt hf_secret

note "another renter sees neither set nor layer of ann's, by name or by path"
who bob
cp "$work/job.sh" .
expect 0 gpurun -q host add inn "guest@127.0.0.1:${port[inn]}"
expect 100 gpurun --host inn --data digits job.sh
has "no host has a data set 'digits'" "$work/err"
find "$agent_home" -name numbers -o -name made | while read -r f; do
    echo "cat $f && echo READ"
done >prowl.sh
[ "$(wc -l <prowl.sh)" = 4 ] || fail "files of two renters: $(cat prowl.sh)"
run gpurun -q --host inn -- sh prowl.sh
hasnt READ

note "removed by a user without root: nobody may write there, and yet it goes"
who ann
n=$(find "$agent_home" -name numbers | wc -l)
expect 0 gpurun data rm digits
[ "$(find "$agent_home" -name numbers | wc -l)" = $((n - 1)) ] || fail "the files are still there"

note "a renter's words lead to no file of the host's user: PATH, --venv, --conda"
who bob
as_guest sh -c "mkdir -p $home/papers/bin && echo my-thesis >$home/papers/text && ln -s /usr/bin/python3 $home/papers/bin/python"
expect 0 gpurun -q --host inn --env "PATH=$home/papers/bin:/usr/bin:/bin" -- sh -c "cat $home/papers/text; true"
hasnt my-thesis
gpurun -q --host inn --venv "$home/papers" -- sh -c "cat $home/papers/text; true" >"$work/out" 2>"$work/err" || :
hasnt my-thesis
expect 102 gpurun -q --host inn --env "CONDA_ENVS_PATH=$home" --conda nope -- true
hasnt papers "$work/err"
# shellcheck disable=SC2016
expect 0 gpurun -q --host inn -- sh -c 'mkfifo "$HOME/.condarc"'
expect 102 gpurun -q --host inn --conda nope -- true
has "no conda environment" "$work/err"
