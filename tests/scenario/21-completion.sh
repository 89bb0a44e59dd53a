#!/bin/bash
# What bash, zsh and fish offer: commands, options and values, typed in real shells.
# needs: pipe
. "$(dirname "$0")/lib.sh"

export PATH=$BUILD/bin:$PATH HOME=$client GPURUN_HOME=$client/gpurun
mkdir -p "$work/here/folder"
cd "$work/here"
touch train.py 'two words.py'

note "the words for the shells"
complete() { command gpurun __complete -- "$@" | cut -f1 | sort | paste -sd' '; }
offers() { # WORD... = EXPECTED
    local typed=()
    while [ "$1" != = ]; do
        typed+=("$1")
        shift
    done
    shift
    [ "$(complete "${typed[@]}")" = "$*" ] || fail "'${typed[*]}' offers '$(complete "${typed[@]}")' and not '$*'"
}
offers st = :files stop
offers -q wai = :files wait
offers --home x wai = :files wait
offers host r = rm
offers host -q r = rm
offers snap get --e = --exact
offers run --max-c = --max-cost
offers --max-c = --max-cost
offers --host '' = local
offers --host=lo = local
offers run --host=lo = local
offers run --name '' = ''
offers --dir '' = :dirs
offers snap get x -o '' = :dirs
offers run --out '' = :files
offers run --gpu '' = any
offers --secret GPURUN_HO = GPURUN_HOME
offers config as = ask-above
offers config ask-above '' = ''
offers logs @ = @last
offers logs x '' = ''
offers exec x '' = --
offers exec x -- '' = :files
offers cp @ = :files :nospace @last:
offers snap diff @ = @last
offers snap diff x @ = @last
offers snap diff x y '' = ''
offers snap take @ = :files @last
offers data put '' = ''
offers data put x '' = :files
offers data put x y '' = ''
offers --from @ = @last
offers ps '' = ''
offers wallet '' = log retry topup use
offers wallet use '' = ''
offers resume --fro = ''
offers resume --setu = --setup
note "behind a script only the placing options are ours, and soon none"
offers train.py --gp = --gpu :files
offers train.py --en = :files
offers train.py --gpu 4090 --ho = --host :files
offers train.py --gpu 4090 x --ho = :files
offers -- true --ho = :files

note "bash"
# As readline fills them in: words are parted at blanks, and at = and : as well.
cat >"$work/bash" <<'BASH'
. "$1"
COMP_LINE=$2 COMP_POINT=${#2}
read -ra COMP_WORDS < <(sed 's/[=:]/ & /g' <<<"$COMP_LINE")
case $COMP_LINE in *[\ =]) COMP_WORDS+=('') ;; esac
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_gpurun
[ ${#COMPREPLY[@]} = 0 ] || printf '%s\n' "${COMPREPLY[@]}" | sort
BASH
types() { # LINE EXPECTED...
    local line=$1 got
    shift
    got=$(bash --norc "$work/bash" "$TOP/completions/gpurun.bash" "$line" | paste -sd' ')
    [ "$got" = "$*" ] || fail "bash: '$line' becomes '$got' and not '$*'"
}
types 'gpurun wa' wait wallet
types 'gpurun host do' doctor
types 'gpurun run --max-' --max-cost --max-price --max-time
types 'gpurun --host ' local
types 'gpurun --host=' local
types 'gpurun --host=lo' local
types 'gpurun run --dir ' folder/
types 'gpurun run --dir=fo' folder/
types 'gpurun train.py --gpu=any --ho' --host
types 'gpurun run --port 80:8080 --na' --name
types 'gpurun train' train.py
types 'gpurun cp @la' @last:
types 'gpurun run two' 'two\ words.py'
types 'gpurun-agent re' renters reservation revoke
types 'gpurun-agent price ' ls rm set
types 'gpurun-agent allow tr' train.py
types 'gpurun-agent allow --na' --name
types 'gpurun-agent allow --name tr'
types 'gpurun-agent help earn' earnings
types 'gpurun-agent sup'

note "fish"
fishes() { # LINE EXPECTED...
    local line=$1 got
    shift
    got=$(fish --no-config -c "source '$TOP/completions/gpurun.fish'; complete -C '$line'" | cut -f1 | sort | paste -sd' ')
    [ "$got" = "$*" ] || fail "fish: '$line' becomes '$got' and not '$*'"
}
fishes 'gpurun host do' doctor
fishes 'gpurun wallet ' log retry topup use
fishes 'gpurun --host=lo' --host=local
fishes 'gpurun run --dir fo' folder/
fishes 'gpurun run --dir=fo' --dir=folder/
fishes 'gpurun run --env-file=tra' --env-file=train.py
fishes 'gpurun tra' train.py
fishes 'gpurun cp @la' @last:
fishes 'gpurun-agent ear' earnings

note "real bash and real zsh, with a tab"
zsh -n "$TOP/completions/_gpurun"
# Each line is typed into an interactive shell on a terminal of its own, then a tab, then
# a key that shows the line as it stands and clears it.
cat >"$work/typist" <<'ZSH'
zmodload zsh/zpty
case $1 in
bash)
    zpty z env PS1= INPUTRC=/dev/null bash --norc --noprofile -i
    zpty -w z ". '$2/gpurun.bash'; bind 'set enable-bracketed-paste off'"
    zpty -w z "show() { echo '<''<'\"\$READLINE_LINE\"'>''>'; READLINE_LINE=; }; bind -x '\"\\C-g\": show'"
    ;;
zsh)
    zpty z zsh -f -i
    zpty -w z "PS1=; fpath=('$2' \$fpath); autoload -Uz compinit; compinit -D -u"
    zpty -w z "show() { print -r -- '<''<'\$BUFFER'>''>'; BUFFER=; }; zle -N show; bindkey '^G' show"
    ;;
esac
zpty -w z "echo READY''NOW"
zpty -r -m z shown '*READYNOW*'
shift 2
for line in "$@"; do
    zpty -n -w z "$line"$'\t\a'
    zpty -r -m z shown '*<<*>>*'
    print -r -- "${${shown##*<<}%%>>*}|"
done
ZSH
for shell in bash zsh; do
    timeout 60 zsh -f "$work/typist" $shell "$TOP/completions" 'gpurun host do' 'gpurun run --max-co' 'gpurun --host=lo' \
        'gpurun run --dir fo' 'gpurun cp @la' 'gpurun two' 'gpurun-agent ear' >"$work/out" 2>"$work/err" </dev/null || fail "$shell: $?"
    printf '%s|\n' 'gpurun host doctor ' 'gpurun run --max-cost ' 'gpurun --host=local ' \
        'gpurun run --dir folder/' 'gpurun cp @last:' 'gpurun two\ words.py ' 'gpurun-agent earnings ' >"$work/want"
    diff "$work/want" "$work/out" >&2 || fail "$shell completes otherwise"
done

note "looking changes nothing"
[ ! -e "$client/gpurun" ] || fail "completion made $client/gpurun"
