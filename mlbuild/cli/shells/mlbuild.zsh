#compdef mlbuild
# Completion of mlbuild for zsh; `mlbuild help completion` says how to install it.
_mlbuild() {
    local word
    local -a open whole
    while IFS= read -r word; do
        case $word in
            "<files>") _files; return ;;
            *[/:=\(]) open+=("$word") ;;
            *) whole+=("$word") ;;
        esac
    done < <(${(Q)words[1]} completion --words -- "${(@Q)words[2,CURRENT]}" 2>/dev/null </dev/null)
    (( $#open )) && compadd -S '' -a open
    (( $#whole )) && compadd -a whole
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _mlbuild "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
    compdef _mlbuild mlbuild
fi
