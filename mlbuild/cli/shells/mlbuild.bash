# Completion of mlbuild for bash; `mlbuild help completion` says how to install it.
_mlbuild() {
    local word
    COMPREPLY=()
    while IFS= read -r word; do
        COMPREPLY+=("$word")
    done < <("${COMP_WORDS[0]}" completion --line="${COMP_LINE:0:COMP_POINT}" \
        --breaks="$COMP_WORDBREAKS" 2>/dev/null </dev/null)
    if [[ ${COMPREPLY[0]-} == "<files>" ]]; then
        COMPREPLY=()
        compopt -o default 2>/dev/null
    elif [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/:=\(] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -F _mlbuild mlbuild
