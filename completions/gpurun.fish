# fish completion for gpurun(1), gpurun-agent(8) and gpurun-book(8). All it offers comes from their own command tables.
function __gpurun_offer
    set -l typed (commandline -opc) (commandline -ct)
    # The value behind --name= is what is offered; fish wants the whole word.
    set -l name (string match -r -- '^--[^=]*=' $typed[-1])
    set -l files
    for line in ($typed[1] __complete -- $typed[2..-1] 2>/dev/null)
        switch $line
            case ':nospace'
            case ':*'
                set files (string sub -s 2 -- $line)
            case '*'
                set -l word (string split -m 1 \t -- $line)
                set word[1] "$name$word[1]"
                string join \t -- $word
        end
    end
    set -l begun (string replace -r -- '^--[^=]*=' '' $typed[-1])
    set -l paths
    switch "$files"
        case files
            set paths (__fish_complete_path "$begun")
        case dirs
            set paths (__fish_complete_directories "$begun" '')
    end
    for path in $paths
        echo -- "$name$path"
    end
end
for program in gpurun gpurun-agent gpurun-book
    complete -c $program -f -k -a '(__gpurun_offer)'
end
