# Completion of mlbuild for fish; `mlbuild help completion` says how to install it.
function __mlbuild_candidates
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    set -l found (command $words[1] completion --words -- $words[2..-1] "$word" 2>/dev/null </dev/null)
    if test "$found[1]" = "<files>"
        __fish_complete_path "$word"
    else
        printf '%s\n' $found
    end
end
complete -c mlbuild -f -a '(__mlbuild_candidates)'
