"""Warn about rules that no series reaches, and about keys of rules without an effect.

A later rule is covered if each of its cases implies the conditions of one earlier rule. A case has
one modality, plane, caller and text where the rule lists several.
"""

from collections.abc import Iterator, Sequence
from itertools import islice, product
from typing import get_args

import msgspec

from node.config.structs import Config, Plane, Rule, When
from node.config.units import Range, Texts, expression_in
from node.config.warnings.code import Code, Warned
from node.config.warnings.conditions import ANY_TEXT, holds_all

MOST_CASES = 1000  # of one rule; a rule with more is compared as a whole
INEFFECTIVE = (
    "size",
    "memory",
    "step_down_above",
    "comparable",
    "send_to",
)  # of a rule without a model


def warnings_of(config: Config) -> Iterator[Warned]:
    """Yield the warnings about the list of rules."""
    if all(rule.use == "none" for rule in config.rules):
        message = "no rule uses a model: nothing will be segmented"
        yield Warned(Code.NO_MODEL, ("rules",), message, "Add a rule with `use: TASK`.")
    for index, rule in enumerate(config.rules):
        if before := covering(rule.when, config.rules[:index]):
            yield _unreachable(index, rule, before)
        if rule.use == "none":
            for key in INEFFECTIVE:
                if getattr(rule, key):
                    message = f"{key} has no effect: rule {rule.name} uses no model"
                    advice = f"Remove {key}, or name the model in `use`."
                    yield Warned(Code.NO_EFFECT, ("rules", index, key), message, advice)
        for target in sorted({name for name in rule.send_to if rule.send_to.count(name) > 1}):
            message = f"target {target} is listed twice; it gets one copy"
            advice = "List each target once, or name the other target."
            yield Warned(Code.LISTED_TWICE, ("rules", index, "send_to"), message, advice)


def _unreachable(index: int, rule: Rule, before: Sequence[Rule]) -> Warned:
    names = ", ".join(one.name for one in before)
    earlier = f"rule {names} matches" if len(before) == 1 else f"the rules {names} match"
    message = f"no series reaches rule {rule.name}: {earlier} all of its series before"
    advice = f"Move rule {rule.name} up, or narrow the rules before it."
    return Warned(Code.UNREACHABLE_RULE, ("rules", index), message, advice)


def covering(when: When, earlier: Sequence[Rule]) -> list[Rule]:
    """Return the earlier rules that together match every series of `when`; none if they do not."""
    cases = list(islice(_cases(when), MOST_CASES + 1))
    rules_before: list[Rule] = []
    for case in cases if len(cases) <= MOST_CASES else [when]:
        covers = next((rule for rule in earlier if _implies(case, rule.when)), None)
        if covers is None:
            return []
        if covers not in rules_before:
            rules_before.append(covers)
    return sorted(rules_before, key=list(earlier).index)


def _cases(when: When) -> Iterator[When]:
    """Yield `when` with one value for each condition that lists several."""
    choices: dict[str, list[object]] = {}
    for key in when.__struct_fields__:
        value: object = getattr(when, key)
        if isinstance(value, Texts):
            choices[key] = [type(value)((text,)) for text in value.texts]
        elif isinstance(value, tuple):
            choices[key] = list(value)
    choices.setdefault("plane", list(get_args(Plane)) if when.plane is None else [when.plane])
    for values in product(*choices.values()):
        yield msgspec.structs.replace(when, **dict(zip(choices, values, strict=True)))


def _implies(case: When, earlier: When) -> bool:
    """Return whether every series that matches `case` matches `earlier` too."""
    for key in earlier.__struct_fields__:
        wide: object = getattr(earlier, key)
        narrow: list[object] = [getattr(case, key)]
        if key == "description":  # matches the series description or the protocol name
            narrow += [case.series_description, case.protocol_name]
        if isinstance(wide, Range) and holds_all(wide):
            continue
        if wide is not None and not any(_is_inside(one, wide) for one in narrow):
            return False
    return True


def _is_inside(narrow: object, wide: object) -> bool:
    if narrow is None:
        return False
    if isinstance(wide, Range) and isinstance(narrow, Range):
        return wide.low <= narrow.low and narrow.high <= wide.high
    if isinstance(wide, Texts) and isinstance(narrow, Texts):
        return all(any(_text_implies(t, w, wide) for w in wide.texts) for t in narrow.texts)
    return set(_values(narrow)) <= set(_values(wide))


def _values(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, tuple) else (str(value),)


def _text_implies(narrow: str, wide: str, kind: Texts) -> bool:
    """Return whether a value that matches the text `narrow` matches `wide` too."""
    expression = expression_in(wide)
    if expression is not None:
        return narrow == wide or expression in ANY_TEXT
    return expression_in(narrow) is None and kind.match(wide, narrow)
