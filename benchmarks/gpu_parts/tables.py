"""What was found as a page of tables."""

from gpu_parts.sizes import Figures


def page(found: Figures) -> str:
    """Markdown: a heading a part, its single figures in one table, each list of rows in a table of its own."""
    head = [f"{found.get('device')}, driver {found.get('driver')}, torch {found.get('torch')}", ""]
    parts = {name: part for name, part in found.items() if isinstance(part, dict)}
    return "\n".join([*head, *(line for name, part in parts.items() for line in section(name, part))]) + "\n"


def section(name: str, part: Figures) -> list[str]:
    """One part."""
    lines = [f"## {name}", "", f"{'ok' if part['ok'] else 'NOT OK'}, {part['seconds']:.0f} s", ""]
    if part.get("error"):
        lines += [f"Error: {part['error']}", ""]
    lines += [f"- fault: {fault}" for fault in part.get("faults", [])]
    tables = {key: value for key, value in part.items() if is_table(value)}
    single = {k: v for k, v in part.items() if k not in tables and k not in ("ok", "seconds", "error", "faults")}
    if single:
        lines += ["", "| | |", "|---|---:|", *(f"| {key} | {cell(value)} |" for key, value in single.items()), ""]
    for key, rows in tables.items():
        names = list(rows[0])
        lines += [f"{key}:", "", f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
        lines += [f"| {' | '.join(cell(row.get(name)) for name in names)} |" for row in rows]
        lines += [""]
    return lines


def is_table(value: object) -> bool:
    """Whether this is a list of rows."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def cell(value: object) -> str:
    """A figure as a person reads it."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{key} {cell(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(cell, value)) or "none"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value).replace("|", "\\|")
