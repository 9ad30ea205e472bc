"""Pages of one file. Annotators' text is hostile input: the templates escape everything, and a page may run nothing."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup

from rm.report import answers
from rm.report.text import count, interval, number, percent, plain, points, tiny, visible


def rendered(template: str, style: str, package: str = "rm.report", **values: Any) -> str:
    """A page that loads nothing from the network and runs nothing, which its security policy enforces.

    Parameters
    ----------
    template, style : str
        Names of the page's template and of its style sheet; the page gets the sheet as ``style``, and its digest for
        the policy as ``style_digest``.
    package : str
        Whose folder ``templates`` they lie in. They may include those of `rm.report`.
    **values
        What the template shows.
    """
    environment = _environment(package)
    sheet = environment.get_template(style).render()
    digest = base64.b64encode(hashlib.sha256(sheet.encode("utf-8")).digest()).decode("ascii")
    return environment.get_template(template).render(**values, style=Markup(sheet), style_digest=digest)


@cache
def _environment(package: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name) for name in dict.fromkeys((package, "rm.report"))]),
        autoescape=True,
        finalize=_with_visible_controls,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    writers = (number, interval, count, percent, points, plain, tiny)
    environment.filters |= {writer.__name__: writer for writer in writers}
    environment.filters["feature_name"] = answers.feature_name
    return environment


def _with_visible_controls(value: Any) -> Any:
    return visible(value) if isinstance(value, str) else value
