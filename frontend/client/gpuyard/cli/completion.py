"""`yard completion`: the script that makes a shell complete `yard`."""

from enum import StrEnum
from typing import Annotated

import typer


class Shell(StrEnum):
    """The shells that can be taught."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"
    powershell = "powershell"


HOW = {
    Shell.bash: '# Put this into ~/.bashrc: eval "$(yard completion bash)"',
    Shell.zsh: "# Save this as _yard in a folder of your $fpath, before compinit is called.",
    Shell.fish: "# Save this as ~/.config/fish/completions/yard.fish",
    Shell.powershell: "# Put this into $PROFILE: yard completion powershell | Out-String | Invoke-Expression",
}


def completion(shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh, fish or powershell.")]) -> None:
    """Print the script that makes a shell complete commands, flags, workloads, GPUs and providers.

    bash: eval "$(yard completion bash)"
    """
    from typer._completion_shared import get_completion_script

    script = get_completion_script(prog_name="yard", complete_var="_YARD_COMPLETE", shell=shell.value)
    head, _, rest = script.partition("\n")
    if head.startswith("#compdef"):  # zsh wants this line to be the first.
        typer.echo(f"{head}\n{HOW[shell]}\n{rest}")
    else:
        typer.echo(f"{HOW[shell]}\n{script}")
