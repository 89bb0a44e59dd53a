# bash completion for gpurun(1), gpurun-agent(8) and gpurun-book(8). All it offers comes from their own command tables.
_gpurun()
{
    local left=$COMP_LINE words=() word line files='' i
    local program=${COMP_WORDS[0]/#\~\//$HOME/}

    # bash parts words at "=" and ":", too: put together what has no blank between.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${left#"${left%%[![:blank:]]*}"}
        if [ "$i" -gt 0 ] && [ -n "$COMP_LINE" ] && [ "$word" = "$left" ]; then
            words[${#words[@]}-1]+=${COMP_WORDS[i]}
        else
            words+=("${COMP_WORDS[i]}")
        fi
        left=${word#"${COMP_WORDS[i]}"}
    done
    word=${words[${#words[@]}-1]}

    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
        :nospace) compopt -o nospace 2>/dev/null ;;
        :*) files=${line#:} ;;
        *) COMPREPLY+=("${line%%$'\t'*}") ;;
        esac
    done < <("$program" __complete -- "${words[@]:1}" 2>/dev/null)

    # What stands behind the last parting sign is what bash replaces.
    case $word in
    -*=*) word=${word#*=} ;;
    *:*)
        if [[ $COMP_WORDBREAKS == *:* ]]; then
            COMPREPLY=("${COMPREPLY[@]#"${word%:*}:"}")
        fi
        ;;
    esac
    if [ -n "$files" ]; then
        [ "$files" = dirs ] && i=-d || i=-f
        # Told that these are file names bash would quote the other words, too.
        [ ${#COMPREPLY[@]} -gt 0 ] || { compopt -o filenames 2>/dev/null && files=; }
        while IFS= read -r line; do
            [ -z "$files" ] || { [ -d "$line" ] && line+=/; line=$(printf '%q' "$line"); }
            COMPREPLY+=("$line")
        done < <(compgen "$i" -- "$word")
    fi
}
complete -F _gpurun gpurun gpurun-agent gpurun-book
