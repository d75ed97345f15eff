"""`distil completion`: what a shell needs to complete commands, recipes, options and fields.

Ours and not tyro's (`--tyro-print-completion`): that one knows neither recipes nor fields, starts Python at each press
of Tab, and offers words of the help where that has two lines.
"""

from pipeline import recipes
from pipeline.cli.commands.table import COMMANDS, CONFIGURED, options
from pipeline.config.overrides import flat

_SCRIPT = r"""# distil's words for bash, and for zsh by its bashcompinit.
[ -n "${ZSH_VERSION:-}" ] && autoload -Uz bashcompinit && bashcompinit
_distil() {
  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" own="" offered="" fields
  fields="FIELDS"
  case "${COMP_WORDS[1]}" in
OPTIONS
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then
    offered="COMMANDS --help --version"
  elif [ "${word#-}" != "$word" ]; then
    offered="$own --help"
  elif [ "$before" = --run ] || [ "$before" = --from-search ]; then
    offered="latest"
  else
    case "${COMP_WORDS[1]} $before" in
      TAKING) offered="RECIPES" ;;
      "sync sync" | "compare "*) offered="latest" ;;
    esac
  fi
  COMPREPLY=($(compgen -W "$offered" -- "$word"))
}
complete -o default -F _distil distil"""
"""In capitals what is filled in. Where it offers nothing the shell completes names of files."""


def script() -> str:
    """To be read by a shell: `source <(distil completion)`."""
    words = [
        f'    {name}) own="{" ".join(own)}{" $fields" if name in CONFIGURED else ""}" ;;'
        for name, own in _own().items()
    ]
    taking = " | ".join(f'"{name} {name}"' for name in CONFIGURED)  # a recipe stands right behind its command
    filled = {
        "FIELDS": " ".join(_fields()),
        "OPTIONS": "\n".join(words),
        "COMMANDS": " ".join(_own()),
        "TAKING": taking,
        "RECIPES": " ".join(recipes.NAMES),
    }
    text = _SCRIPT
    for name, value in filled.items():
        text = text.replace(name, value)
    return text


def _own() -> dict[str, list[str]]:
    """Each command's own options."""
    found = {command: [f"--{name}" for name in options(kind)] for command, kind in COMMANDS.items()}
    return {name: [*own, *(["--help-all"] if name in CONFIGURED else [])] for name, own in found.items()}


def _fields() -> list[str]:
    """Those of any recipe's config: a group such as `pretrain` is in some of them alone."""
    configs = map(recipes.recipe, recipes.NAMES)
    names = dict.fromkeys(name for config in configs for name in flat(config))
    return [_option(name) for name in names if name != "from_search"]  # an option of some commands


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
