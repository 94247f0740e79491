"""What holds for every test."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

#: How many examples a property is tried with where it does not say. Another Python than the oldest needs fewer: what it
#: does otherwise, it does with nearly all.
EXAMPLES = int(os.environ.get("LAMBDA_WIRE_EXAMPLES", "100"))

# Timing is never asserted in tests: machines are shared, and an example may take as long as it takes.
settings.register_profile(
    "lambda_wire", deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("lambda_wire")

# For mutants (see mutation.py): a few examples, the same each time, in one process after another that began as one.
settings.register_profile(
    "mutation",
    deadline=None,
    max_examples=10,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
)
