"""Settings of the self-test."""

from __future__ import annotations

from rm.gate.policy import GatePolicy
from rm.probes.config import ProbeConfig
from rm.section import Section


class SelfTestConfig(Section):
    """What toy models are audited with, as the real one is."""

    gate: GatePolicy
    probes: ProbeConfig
