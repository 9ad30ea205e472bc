"""A decision as JUnit XML, which continuous integration shows as tests."""

from __future__ import annotations

from xml.etree import ElementTree

from rm.gate.decision import CheckResult, GateDecision
from rm.report.text import visible


def junit(decision: GateDecision) -> str:
    """One test case per check.

    Parameters
    ----------
    decision : GateDecision

    Returns
    -------
    str
        A hard check that failed is a failure. A check that is inconclusive, waived or trained on is skipped, with its
        reason. A soft check that failed, and one that warns, is neither: its reason is the case's output. JUnit has no
        undecided suite, so rely on the verdict (a property of the suite) or the command's exit code to stop an
        inconclusive model.
    """
    suite = ElementTree.Element("testsuite", name="rmflow gate", tests=str(len(decision.checks)), errors="0")
    properties = ElementTree.SubElement(suite, "properties")
    facts = {"verdict": decision.verdict, **decision.model_dump(exclude={"checks"})}
    for name, value in facts.items():
        ElementTree.SubElement(properties, "property", name=name, value=value)
    cases = [_case(check) for check in decision.checks]
    suite.extend(cases)
    for kind, attribute in (("failure", "failures"), ("skipped", "skipped")):
        suite.set(attribute, str(sum(case.find(kind) is not None for case in cases)))
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    xml: str = ElementTree.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{xml}\n'


def _case(check: CheckResult) -> ElementTree.Element:
    case = ElementTree.Element("testcase", classname=f"rmflow.gate.{check.severity}", name=visible(check.name))
    reason = visible(check.reason)
    if check.status in {"inconclusive", "waived", "trained_on"}:
        ElementTree.SubElement(case, "skipped", message=f"{check.status.replace('_', ' ')}: {reason}")
    elif check.status == "failed" and check.severity == "hard":
        ElementTree.SubElement(case, "failure", message=reason).text = visible(check.rationale)
    elif check.status in {"failed", "warned"}:
        ElementTree.SubElement(case, "system-out").text = f"warning: {reason}"
    return case
