# bash completion for gpurun(1). All it offers comes from gpurun's own command table.
_gpurun()
{
    local word=${COMP_WORDS[COMP_CWORD]} line words=() files=
    local before=("${COMP_WORDS[@]:1:COMP_CWORD-1}")

    while IFS= read -r line; do
        if [ "$line" = :files ]; then
            files=1
        else
            words+=("${line%%$'\t'*}")
        fi
    done < <("${COMP_WORDS[0]}" __complete -- "${before[@]}" "$word" 2>/dev/null)
    COMPREPLY=("${words[@]}")
    if [ -n "$files" ]; then
        compopt -o filenames 2>/dev/null
        while IFS= read -r line; do
            COMPREPLY+=("$line")
        done < <(compgen -f -- "$word")
    fi
}
complete -F _gpurun gpurun
