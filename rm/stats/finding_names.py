"""The flat names of findings. Only this module makes a name from a kind and its labels.

Inside the library, findings are looked up by kind and labels. Names are for use outside it: policies, `audit.json`,
MLflow's metrics and the page. They must not change, since policies use them.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter

_FORMS: dict[str, tuple[str, ...]] = {
    "length_correlation": ("length_{statistic}", "length_{over}_{statistic}"),
    "overpaid": ("overpaid_{family}",),
    "joint_overpaid": ("joint_overpaid_{over}",),
    "visible": ("visible_{family}",),
    "baseline_accuracy": ("accuracy_{baseline}_only",),
    "accuracy_over_baseline": ("accuracy_over_{baseline}_floor",),
    "accuracy_without": ("accuracy_without_{part}",),
    "gain_without": ("gain_without_{part}",),
    "coefficient": ("{of}_coefficient_{feature}",),
    "best_of_n": ("{among}_{value}_best_of_{n}",),
    "best_of_n_gain": ("{among}_{value}_best_of_{n}_gain",),
    "outside_win_rate": ("{of}_outside_win_rate", "{of}_outside_win_rate_best_of_{n}"),
    "longest_pick_share": ("longest_pick_share", "longest_pick_share_best_of_{n}"),
    "longest_pick_chance": ("longest_pick_chance", "longest_pick_chance_best_of_{n}"),
    "pick_length_ratio": ("pick_length_ratio", "pick_length_ratio_best_of_{n}"),
    "pick_drift": ("pick_drift_{feature}", "pick_drift_{feature}_best_of_{n}"),
    "over_champion": ("over_champion_{of}",),
    "probe_win_rate": ("probe_{probe}", "probe_{probe}_{dose}"),
    "probe_over_placebo": ("probe_{probe}_over_placebo", "probe_{probe}_{dose}_over_placebo"),
    "probe_effect": ("probe_{probe}_effect", "probe_{probe}_{dose}_effect"),
    "probe_dose_response": ("probe_{probe}_dose_response",),
    "invariance_difference": ("invariance_{way}_difference",),
    "invariance_flips": ("invariance_{way}_flips",),
    "twin_change": ("twin_change", "twin_change_{kind}"),
    "twin_lower_share": ("twin_lower_share", "twin_lower_share_{kind}"),
    "twin_flips": ("twin_flips", "twin_flips_{kind}"),
    "twin_lost": ("twin_lost", "twin_lost_{kind}"),
    "twin_gained": ("twin_gained", "twin_gained_{kind}"),
    "twin_accuracy_change": ("twin_accuracy_change", "twin_accuracy_change_{kind}"),
    "twin_confidence_change": ("twin_confidence_change", "twin_confidence_change_{kind}"),
    "benchmark": ("{benchmark}/{part}",),
    # Not in the report's list of findings but in its tables, whose rows show the rest.
    "subset_accuracy": ("{division:.0}{subset}",),  # .0: left out, since the table is of one division
    "flaw_accuracy": ("{flaw}",),
    "bucket_reward": ("reward_{low}",),
    "bucket_accuracy": ("accuracy_{low}",),
    "decile_accuracy": ("accuracy_decile_{decile}",),
    "decile_champion_accuracy": ("champion_accuracy_decile_{decile}",),
    "bin_accuracy": ("accuracy_{bin}",),
    "bin_confidence": ("confidence_{bin}",),
    "bin_reward": ("reward_{bin}",),
    "pattern_share": ("{among} {source} {pattern}",),
    "pattern_excess": ("excess {source} {pattern}",),
}
"""Forms of the name by kind; the form with exactly the finding's labels is used. A kind that is not listed has no
labels, and its name is the kind."""

_FORM_OF = {
    (kind, frozenset(field for _, field, _, _ in Formatter().parse(form) if field)): form
    for kind, forms in _FORMS.items()
    for form in forms
}
_ENDINGS = ("effect", "over_placebo", "dose_response")
"""What may follow a probe's dose in a name."""


def flat_name(kind: str, labels: Mapping[str, str]) -> str:
    """The name of a finding.

    Parameters
    ----------
    kind : str
    labels : mapping of label to value

    Raises
    ------
    ValueError
        If the kind has no name with these labels.

    Notes
    -----
    Blanks in a feature, a family and a part are written as ``_``. A dose that is a word is written as it is,
    ``probe_keywords_delve``, or between colons if it could be misread, ``probe_keywords_:effect:``: if it is, or ends
    like, the name of one of a probe's numbers, or has a slash, or begins with a colon. So no two findings of an audit
    have the same name.
    """
    if not labels and kind not in _FORMS:
        return kind
    form = _FORM_OF.get((kind, frozenset(labels)))
    if form is None:
        raise ValueError(f"a finding of kind {kind!r} with labels {sorted(labels)} has no name")
    return form.format_map({label: _written(label, value) for label, value in labels.items()})


def _written(label: str, value: str) -> str:
    if label in ("feature", "family", "part"):
        return value.replace(" ", "_")
    return f":{value}:" if label == "dose" and _is_misread(value) else value


def _is_misread(word: str) -> bool:
    ends_like_a_number = f"_{word}".endswith(tuple(f"_{ending}" for ending in _ENDINGS))
    return ends_like_a_number or word.startswith(":") or "/" in word  # a slash: MLflow has NAME/ci_low beside NAME
