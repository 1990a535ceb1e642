"""The steps of a pipeline in words and as a diagram, from the data alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .step import HOST, Step

#: Diagrams and tables name no more tensors of one source than this.
_NAMED = 4


def sources(step: Step) -> dict[str, list[str]]:
    """Return where the inputs of a step come from: source -> names of its tensors, in their order."""
    found: dict[str, list[str]] = {}
    for wiring in step.inputs.values():
        source, _, tensor = wiring.partition(".")
        found.setdefault(source, []).append(tensor)
    return found


def mermaid(steps: Iterable[Step]) -> str:
    """Draw the steps as a Mermaid flowchart: a node per step and host source, an arrow per source of a step.

    A step that is repeated has a double border. Colours tell what only one task needs.
    """
    steps = tuple(steps)
    used = {source for step in steps for source in sources(step)}
    lines = ["flowchart TD"]
    lines += [f"    {source}([{source}]):::host" for source in HOST if source in used]
    for step in steps:
        text = step.stage if step.repeat is None else f"{step.stage}<br/>by {step.repeat}"
        left, right = ("[", "]") if step.repeat is None else ("[[", "]]")
        colour = f":::{step.tasks[0]}" if len(step.tasks) == 1 else ""
        lines.append(f'    {step.stage}{left}"{text}"{right}{colour}')
    for step in steps:
        for source, tensors in sources(step).items():
            words = "<br/>".join(few(tensors))
            lines.append(f'    {source} -- "{words}" --> {step.stage}')
    lines += [f"    classDef {name} {style}" for name, style in _STYLES.items()]
    return "\n".join(lines) + "\n"


#: Fill and border that can be read on light and on dark pages.
_STYLES: Mapping[str, str] = {
    "host": "fill:#eceff4,stroke:#5b6475,color:#1d2433",
    "panoptic": "fill:#d7ecd9,stroke:#2e9e6b,color:#1d2433",
    "semantic": "fill:#dbe7fb,stroke:#3b6fcf,color:#1d2433",
    "instance": "fill:#fbe9d3,stroke:#cf7f1b,color:#1d2433",
}


def few(tensors: list[str]) -> list[str]:
    """Return at most four words for the names of tensors. The last may say how many more there are."""
    if len(tensors) <= _NAMED:
        return tensors
    return [*tensors[: _NAMED - 1], f"{len(tensors) - _NAMED + 1} more"]
