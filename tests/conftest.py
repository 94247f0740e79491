"""What holds for every test."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Timing is never asserted in tests: machines are shared, and an example may take as long as it takes.
settings.register_profile("lambda_wire", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lambda_wire")
