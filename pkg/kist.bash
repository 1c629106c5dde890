# made by tools/manpage: completion of kist for bash
_kist() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command= i
    case $before in --key-file|--file|--new-key|--new-key-file|-f) COMPREPLY=($(compgen -f -- "$word")); return ;;
        --store|-s) COMPREPLY=($(compgen -d -- "$word")); return ;; esac
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in --store|--bucket|--key-file|--passphrase-fd|--lock-timeout|--sync|--file|--ttl|--if-revision|--type|--limit|--at-least|--since|--new-key|--new-key-file|--new-passphrase-fd|--suite|--label|-s|-b) ((i++)) ;; -*) ;; *) command=${COMP_WORDS[i]}; break ;; esac
    done
    local options="--store --bucket --key-file --passphrase-fd --lock-timeout --sync --salvage --help --version"
    case $command in
        "") [[ $word == -* ]] || options="init get put del list incr edit txn export import bucket stat verify compact backup restore slots passwd rotate" ;;
        init) options+=" --new-key --suite" ;;
        get) options+=" --json" ;;
        put) options+=" --file --ttl --if-absent --if-present --if-revision --type" ;;
        del) options+=" --if-revision" ;;
        list) options+=" --values --json --null --limit --reverse" ;;
        incr) options+=" --ttl --if-revision" ;;
        edit) options+=" --ttl --type" ;;
        import) options+=" --file" ;;
        bucket) options+=" --ttl --json" ;;
        stat) options+=" --json" ;;
        verify) options+=" --at-least --json" ;;
        backup) options+=" --since" ;;
        slots) options+=" --new-key --new-key-file --new-passphrase-fd --label --json" ;;
        passwd) options+=" --new-key --new-key-file --new-passphrase-fd" ;;
        rotate) options+=" --resume" ;;
    esac
    if [[ -z $command || $word == -* ]]; then COMPREPLY=($(compgen -W "$options" -- "$word"))
    elif [[ $command == @(backup|restore|import) ]]; then COMPREPLY=($(compgen -f -- "$word")); fi
}
complete -F _kist kist
