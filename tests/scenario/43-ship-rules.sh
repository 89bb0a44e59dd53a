#!/bin/bash
# What is shipped: git's own rules, judged by git itself; .gpurunignore on top; secrets,
# environments and caches left out unless named; homes refused.
# needs: pipe
# limit: 180
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
use pipe

quiet_git() {
    env -i PATH="$PATH" HOME="$work/none" GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null git "$@"
}

# Files and links the job finds, NUL between them.
cat >"$work/ls.py" <<'PY'
import os, sys
out = []
for d, dirs, files in os.walk(b"."):
    for name in files + [x for x in dirs if os.path.islink(os.path.join(d, x))]:
        out.append(os.path.join(d, name)[2:])
sys.stdout.buffer.write(b"\0".join(sorted(out)))
PY
shipped() { # OPTION...
    expect 0 gpurun -q --dir . "$@" -- /usr/bin/python3 "$work/ls.py"
    tr '\0' '\n' <"$work/out" | LC_ALL=C sort >"$work/shipped"
}
# Built-in rules leave out .git and nothing else here.
by_git() {
    quiet_git ls-files -z -o -c --exclude-standard | tr '\0' '\n' | LC_ALL=C sort -u >"$work/by_git"
}
agree() { # WHAT
    shipped
    by_git
    diff "$work/by_git" "$work/shipped" >"$work/diff" || fail "$1: not as git: $(head -n 40 "$work/diff")"
}

note "a corpus of patterns"
# All combinations of these names, and in each round one set of patterns in several places.
cat >"$work/corpus.py" <<'PY'
import itertools, os, random, sys
seed = int(sys.argv[1])
r = random.Random(seed)
names = ["a", "b", "ab", "a.o", "b.log", "build", "out", "Foo", "x y", "#hash", "!bang", "[set]",
         "a\\b", "tail ", "*star", "q?", ".hid", "ünï", "-dash", "deep.tar.gz"]
patterns = ["*.o", "*.log", "/a", "a/", "/build/", "build", "**/out", "out/**", "a/**/b", "*", "!*/",
            "!a", "!*.o", "/*", "!/ab", "?", "[ab]", "[!ab]*", "[a-z].o", "\\#hash", "#hash", "\\!bang",
            "!bang", "\\[set\\]", "[[]set]", "tail\\ ", "tail ", "x y", "a\\\\b", "\\*star", "q\\?", ".*",
            "!.hid", "**", "**/", "/**/a", "a/b", "a/*", "!a/b", "*/b", "Foo", "foo", "ün*", "-*", "--",
            "*.tar.*", "[[:upper:]]*", "[[:alpha:]]", "[]-a]", "a**b", "ab/**/", "", "   ", "/", "\\",
            "b.log ", "*.o/", "out/", "!out/", "build/**", "!build/keep", "[z-a]", "[", "a[", "\ta",
            "dir/../a", "./a", "a//b", "**/**/b", "/**", "!**/b.log"]
def tree(top, depth):
    os.makedirs(top, exist_ok=True)
    for n in r.sample(names, 9):
        p = os.path.join(top, n)
        if depth > 0 and r.random() < 0.35:
            tree(p, depth - 1)
        elif not os.path.lexists(p):
            if r.random() < 0.1:
                os.symlink("a", p)
            else:
                open(p, "w").close()
tree(".", 3)
dirs = ["."] + [os.path.join(d, x) for d, ds, _ in os.walk(".") for x in ds if ".git" not in d.split("/")
                and x != ".git" and not os.path.islink(os.path.join(d, x))]
for d in ["."] + r.sample(dirs, min(5, len(dirs))):
    lines = r.sample(patterns, r.randint(1, 8))
    end = "" if r.random() < 0.2 else "\n"
    eol = "\r\n" if r.random() < 0.1 else "\n"
    bom = "\ufeff" if r.random() < 0.1 else ""
    with open(os.path.join(d, ".gitignore"), "w", newline="") as f:
        f.write(bom + eol.join(lines) + end)
PY
for seed in $(seq 1 "${IGNORE_ROUNDS:-12}"); do
    mkdir "$work/c$seed"
    cd "$work/c$seed"
    quiet_git init -q .
    : >.git/info/exclude
    [ $((seed % 4)) != 0 ] || printf 'ab\n*.tar.gz\n' >.git/info/exclude
    /usr/bin/python3 "$work/corpus.py" "$seed"
    agree "round $seed"
    # What git tracks is shipped whatever the rules say; every form of its index.
    find . -path ./.git -prune -o \( -type f -o -type l \) -print0 | shuf -z --random-source="$work/corpus.py" -n 20 |
        quiet_git add -f --pathspec-from-file=- --pathspec-file-nul
    quiet_git update-index --index-version $((2 + seed % 3))
    agree "round $seed with an index"
done

note "the user's own rules, for every repository and for nothing else"
mkdir -p "$client/.config/git" "$work/global/sub" "$work/no-repository"
printf '*.swp\n!kept.swp\nbuild/\n' >"$client/.config/git/ignore"
cd "$work/global"
quiet_git init -q .
mkdir build
touch a.swp kept.swp build/x b.c sub/c.swp sub/d
printf '!c.swp\n' >sub/.gitignore
shipped
env -i PATH="$PATH" HOME="$client" git ls-files -z -o -c --exclude-standard | tr '\0' '\n' | LC_ALL=C sort -u >"$work/by_git"
diff "$work/by_git" "$work/shipped" || fail "not as git"
[ "$(tr '\n' ' ' <"$work/shipped")" = "b.c kept.swp sub/.gitignore sub/c.swp sub/d " ] || fail "shipped: $(cat "$work/shipped")"
printf '[core]\n\texcludesFile = ~/mine\n' >"$client/.gitconfig"
echo b.c >"$client/mine"
shipped
! grep -qx b.c "$work/shipped" || fail "core.excludesFile is not asked"
grep -qx a.swp "$work/shipped" || fail "both of the user's files count"
cd "$work/no-repository"
touch b.c
shipped
grep -qx b.c "$work/shipped" || fail "the user's rules count where there is no repository"
rm -r "$client/.gitconfig" "$client/mine" "$client/.config"

note "what git tracks though it is ignored, in a sha256 repository, a worktree and a submodule"
tracked() {
    mkdir -p out/deep/er && touch .gitignore out/log out/deep/er/kept out/deep/lost plain.bin kept.bin
    printf 'out/\n*.bin\n' >.gitignore
    quiet_git add -f .gitignore out/deep/er/kept kept.bin
}
mkdir "$work/sha256"
cd "$work/sha256"
quiet_git init -q --object-format=sha256 .
tracked
agree "a sha256 repository"
[ "$(tr '\n' ' ' <"$work/shipped")" = ".gitignore kept.bin out/deep/er/kept " ] || fail "shipped: $(cat "$work/shipped")"
echo 'out/deep/er/kept' >.gpurunignore
shipped
[ "$(tr '\n' ' ' <"$work/shipped")" = ".gitignore .gpurunignore kept.bin " ] || fail "shipped: $(cat "$work/shipped")"
echo CANARY-5a1f >.env
quiet_git add -f .env
shipped
! grep -qx .env "$work/shipped" || fail "a tracked secret is shipped"
touch later
quiet_git add -N later # the index's version 3
agree_but() { # what our own rules leave out beside git's
    shipped
    by_git
    grep -vxE "$1" "$work/by_git" | diff - "$work/shipped" >"$work/diff" || fail "not as git: $(head -n 40 "$work/diff")"
}
agree_but '\.env|out/deep/er/kept'
mkdir "$work/main-tree"
cd "$work/main-tree"
quiet_git init -q .
tracked
quiet_git -c user.name=a -c user.email=a@b commit -qm one
quiet_git worktree add -q "$work/worktree"
echo '*.note' >>.git/info/exclude
cd "$work/worktree"
touch new.bin a.note
agree_but '\.git'
grep -qx kept.bin "$work/shipped" || fail "a worktree's index is not read"
! grep -qx a.note "$work/shipped" || fail "info/exclude is not read from a worktree"
mkdir "$work/outer"
cd "$work/outer"
quiet_git init -q .
quiet_git -c protocol.file.allow=always submodule --quiet add "$work/main-tree" sub
cd sub
touch new.bin
agree_but '\.git'
grep -qx kept.bin "$work/shipped" || fail "a submodule's index is not read"
cd "$work/sha256"
head -c 100 .git/index >"$work/torn"
cp "$work/torn" .git/index
shipped # an index that nobody can read is none
! grep -qx kept.bin "$work/shipped" || fail "a torn index was believed"

note "rules from above the folder that is shipped"
mkdir -p "$work/repo/sub/src"
cd "$work/repo"
quiet_git init -q .
printf '*.tmp\n/sub/src/only-here\n' >.gitignore
printf '!keep.tmp\n' >sub/.gitignore
touch sub/src/{a.tmp,keep.tmp,only-here,b}
cd sub/src
shipped
[ "$(tr '\n' ' ' <"$work/shipped")" = "b keep.tmp " ] || fail "shipped: $(cat "$work/shipped")"

note ".gpurunignore on top, either way"
mkdir -p "$work/own/data" "$work/own/keep"
cd "$work/own"
quiet_git init -q .
printf 'data/\n*.bin\n' >.gitignore
printf '!*.bin\n*.csv\nkeep/not\n' >.gpurunignore
touch a.bin b.csv c.py data/d keep/e keep/not
shipped
[ "$(tr '\n' ' ' <"$work/shipped")" = ".gitignore .gpurunignore a.bin c.py keep/e " ] ||
    fail "shipped: $(cat "$work/shipped")"

note "built in: repository, environments, caches, secrets; --with ships any of them"
mkdir "$work/builtin"
cd "$work/builtin"
quiet_git init -q .
mkdir -p pkg/__pycache__ .ipynb_checkpoints venv/lib conda/conda-meta .aws sub
touch pkg/__pycache__/x.pyc .ipynb_checkpoints/n.ipynb venv/pyvenv.cfg venv/lib/y conda/conda-meta/h
touch .aws/credentials .netrc id_rsa id_ed25519.pub server.pem tls.key sub/.env pkg/m.py
echo CANARY-5a1f >.env
echo CANARY-5a1f >sub/.env
shipped
[ "$(cat "$work/shipped")" = pkg/m.py ] || fail "shipped: $(cat "$work/shipped")"
expect 0 gpurun plan --dir . -- true
for what in .env .netrc id_rsa server.pem tls.key; do
    has "$what"
done
! grep -rqF CANARY-5a1f "$client/gpurun" || fail "a secret is in the client's home"
shipped --with sub/.env --with server.pem --with venv
[ "$(tr '\n' ' ' <"$work/shipped")" = "pkg/m.py server.pem sub/.env venv/lib/y venv/pyvenv.cfg " ] ||
    fail "shipped: $(cat "$work/shipped")"
shipped --with-git
grep -qx .git/HEAD "$work/shipped" || fail "--with-git did not ship .git"
! grep -q id_rsa "$work/shipped" || fail "--with-git shipped a secret"
expect 100 gpurun -q --with ../builtin/.env --with /etc/passwd -- true
expect 100 gpurun -q --with nosuch -- true
has nosuch "$work/err"

note "homes, / and trees with keys are refused, by 100, unless named"
refused() { # TEXT WORD...
    local text=$1
    shift
    expect 100 gpurun -q "$@"
    has "$text" "$work/err"
    [ ! -s "$work/out" ] || fail "something on stdout"
}
cd "$client"
touch train.py
refused "--dir" train.py
refused "--dir" -- true
cd /
refused "--dir" -- true
mkdir -p "$work/keys/sub/.ssh" "$work/gnupg/.gnupg"
echo "CANARY-77c2" >"$work/keys/sub/.ssh/id_rsa"
echo "CANARY-77c2" >"$work/keys/sub/.ssh/config"
cd "$work/keys"
touch train.py
refused ".ssh" train.py
cd "$work/gnupg"
refused ".gnupg" -- true
cd "$work/keys"
expect 0 gpurun -q --dir . -- find . -type f
[ "$(cat "$work/out")" = ./train.py ] || fail "named by --dir, it shipped $(cat "$work/out")"
! grep -rqF CANARY-77c2 "$client/gpurun" || fail "a secret is in a home"
mkdir -p "$work/linked"
ln -s "$client" "$work/linked/home"
cd "$work/linked/home"
refused "--dir" -- true
