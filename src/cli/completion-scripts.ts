/** What `vitrine completion SHELL` prints: each asks `vitrine __complete` for what could stand there. */

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type ShellName = (typeof SHELLS)[number];

// What is offered is printed one on a line, with a tab and a description behind it; the last line begins with a colon and says
// what else the shell is to do. For bash, which takes a word apart at colons, only the rest of each word is printed.
const BASH = `# bash completion for vitrine:  source <(vitrine completion bash)
_vitrine() {
    local program=\${COMP_WORDS[0]/#\\~/$HOME} line directive
    local -a lines=()
    COMPREPLY=()
    while IFS= read -r line; do lines+=("$line"); done < <(
        "$program" __complete bash "\${COMP_WORDBREAKS}" "\${COMP_LINE:0:COMP_POINT}" 2>/dev/null </dev/null)
    ((\${#lines[@]})) || return 0
    directive=\${lines[\${#lines[@]}-1]}
    unset "lines[\${#lines[@]}-1]"
    COMPREPLY=("\${lines[@]}")
    case $directive in *nospace*) compopt -o nospace ;; esac
    case $directive in
        *files*) ((\${#lines[@]})) && compopt -o plusdirs || compopt -o default ;;
        *folders*) compopt -o plusdirs ;;
    esac
    return 0
}
complete -F _vitrine vitrine
`;

const ZSH = `#compdef vitrine
# zsh completion for vitrine:  source <(vitrine completion zsh), or as _vitrine in a folder of $fpath
_vitrine() {
    local line value description directive
    local -a lines plain spaceless
    lines=("\${(@f)$("\${(Q)words[1]/#\\~/$HOME}" __complete zsh -- "\${(@Q)words[2,CURRENT-1]}" "\${(Q)PREFIX}" 2>/dev/null </dev/null)}")
    directive=\${lines[-1]}
    for line in "\${(@)lines[1,-2]}"; do
        value=\${line%%$'\\t'*}
        description=\${line#*$'\\t'}
        plain+=("\${value//:/\\\\:}:\${description}")
    done
    local -a how
    [[ $directive == *nospace* ]] && how=(-S '')
    ((\${#plain})) && _describe -t vitrine 'vitrine' plain "\${how[@]}"
    [[ $directive == *files* ]] && _files
    [[ $directive == *folders* ]] && _files -/
    return 0
}
if [ "$funcstack[1]" = "_vitrine" ]; then
    _vitrine
else
    compdef _vitrine vitrine
fi
`;

const FISH = `# fish completion for vitrine:  vitrine completion fish | source
function __vitrine_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l lines ($words[1] __complete fish -- $words[2..-1] "$current" 2>/dev/null </dev/null)
    test (count $lines) -gt 0; or return
    set -l directive $lines[-1]
    set -e lines[-1]
    for line in $lines
        echo $line
    end
    switch $directive
        case '*files*'
            __fish_complete_path "$current"
        case '*folders*'
            __fish_complete_directories "$current"
    end
end
complete -c vitrine -f -a '(__vitrine_complete)'
`;

export const SCRIPTS: Readonly<Record<ShellName, string>> = { bash: BASH, zsh: ZSH, fish: FISH };
