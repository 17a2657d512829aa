import type { Cli } from "../cli.ts";
import { CliError } from "../errors.ts";

/** Each script asks `sprite __complete WORD...` and shows its lines, so it never goes stale. */
const scripts: Readonly<Record<string, string>> = {
  bash: `# sprite completion for bash. Use it with:  source <(sprite completion bash)
_sprite() {
  local IFS=$'\\n'
  COMPREPLY=($(sprite __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f1))
}
complete -o default -F _sprite sprite
`,
  zsh: `#compdef sprite
# sprite completion for zsh. Use it with:  source <(sprite completion zsh)
_sprite() {
  local -a lines
  lines=("\${(@f)$(sprite __complete "\${(@)words[2,CURRENT]}" 2>/dev/null | tr '\\t' ':')}")
  [[ -n \${lines[1]} ]] && _describe sprite lines || _files
}
compdef _sprite sprite
`,
  fish: `# sprite completion for fish. Use it with:  sprite completion fish | source
function __sprite_complete
  set -l words (commandline -opc) (commandline -ct)
  sprite __complete $words[2..-1] 2>/dev/null
end
complete -c sprite -f -a '(__sprite_complete)'
`,
};

export async function completion(cli: Cli, args: readonly string[]): Promise<number> {
  const shell = args[0] ?? "";
  const script = Object.hasOwn(scripts, shell) ? scripts[shell] : undefined;
  if (script === undefined) {
    throw new CliError(`no completion for ${JSON.stringify(shell)}`, {
      code: "usage",
      hint: `It can be ${Object.keys(scripts).join(", ")}.`,
    });
  }
  cli.print(script);
  return 0;
}
