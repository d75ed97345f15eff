"""What the page of a search's run in MLflow says, in Markdown."""

from pipeline.config.overrides import Scalar
from pipeline.tracking.pages import of_text
from pipeline.tuning.tables.trials import WEIGHTS_NAME, value_text, varying, weights_text
from pipeline.tuning.tables.verdict import verdict_lines
from pipeline.tuning.verdict import Confirmed, Search


def begun(recipe: str, command: str) -> str:
    """Until there is a verdict."""
    return of_text(f"A search for the temperature and the loss weights of the recipe `{recipe}`.", command)


def concluded(search: Search, recipe: str, command: str, full_run: str) -> str:
    """With every setting that was run again beside the paper's. `full_run`: the command that takes the winner."""
    sentence = verdict_lines(search, full_run)[0]
    spent = (
        f"{search.trials:,} trials ({search.completed:,} to their end, {search.failed:,} failed) over "
        f"{search.tokens_spent:,} tokens, then {search.confirm_tokens:,} to confirm; they are the runs below this one."
    )
    text = f"""A search for the temperature and the loss weights of the recipe `{recipe}`: {sentence}.

{_table(search)}

{spent}

## The full run

```sh
{full_run}
```"""
    return of_text(text, command)


def _table(search: Search) -> str:
    fields = varying([one.setting for one in search.confirmed])
    lines = [
        "| " + " | ".join(["", "T", WEIGHTS_NAME, *fields, search.objective, "seeds"]) + " |",
        "|---" * (5 + len(fields)) + "|",
    ]
    winner = search.verdict.winner.trial
    for one in search.confirmed:
        name = "the paper's setting" if one.trial == 0 else f"trial {one.trial}"
        cells = [f"**{name}**" if one.trial == winner else name, *_cells(one, fields)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cells(one: Confirmed, fields: list[str]) -> list[str]:
    temperature: Scalar = one.setting.get("temperature")
    further = [value_text(name, one.setting.get(name)) for name in fields]
    mean = f"{one.mean:.4f}" if one.values else "–"
    return [value_text("temperature", temperature), weights_text(one.setting), *further, mean, str(len(one.values))]
