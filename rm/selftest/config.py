"""Settings of the self-test."""

from __future__ import annotations

from rm.gate.policy import GatePolicy
from rm.probes.config import ProbeConfig
from rm.section import Section


class SelfTestConfig(Section):
    """Settings with which toy models are audited; the same as for the real model."""

    gate: GatePolicy
    probes: ProbeConfig
