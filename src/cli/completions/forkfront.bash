# Completion of forkfront for bash 4 and later. Each key asks the program itself.
_forkfront() {
    local i word words=() rest=${COMP_LINE:0:COMP_POINT}
    # What is behind -- is a command line of its own, and bash-completion can complete those.
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} == -- ]] && declare -F _command_offset >/dev/null; then
            _command_offset $((i + 1))
            return
        fi
    done
    # bash takes words apart at : and =. What nothing stands between is one word again.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((i == COMP_CWORD)); then
            word=${rest#"${rest%%[![:space:]]*}"}
        fi
        if ((i)) && [[ $rest != [[:space:]]* ]]; then
            words[${#words[@]} - 1]+=$word
        else
            words+=("$word")
        fi
        rest=${rest#*"$word"}
    done
    mapfile -t COMPREPLY < <(
        FORKFRONT_COMPLETE=bash _CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$((${#words[@]} - 1)) \
            "${COMP_WORDS[0]}" -- "${words[@]}" 2>/dev/null
    )
    # bash replaces only what is behind the last of these.
    local breaks=${COMP_WORDBREAKS//[^:=]/}
    if [[ $breaks ]]; then
        word=${words[${#words[@]} - 1]}
        COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*[$breaks]}"}"}")
    fi
    if [[ ${#COMPREPLY[@]} == 1 && ! ${COMPREPLY-} ]]; then
        COMPREPLY=()
    elif [[ ${COMPREPLY-} == *[/:=] ]]; then
        compopt -o nospace
    elif [[ -e ${COMPREPLY-} ]]; then
        compopt -o filenames
    fi
}
complete -o bashdefault -o nosort -F _forkfront forkfront 2>/dev/null ||
    complete -o bashdefault -F _forkfront forkfront
