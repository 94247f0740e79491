"""AWS's own client for Python: C++ and libcurl under a Python face. It cannot stream."""

from __future__ import annotations

import os

from bench.clients.job import Job, Step, given, run


def main() -> None:
    """Do the job with its client class; its bootstrap adds JSON, logging and a context to each invocation."""
    told = given()
    os.environ["AWS_LAMBDA_RUNTIME_API"] = told.address  # read by the C++ half when it is imported
    from awslambdaric.lambda_runtime_client import LambdaRuntimeClient

    client = LambdaRuntimeClient(told.address)

    def make(job: Job) -> Step:
        def echo() -> None:
            request = client.wait_next_invocation()
            client.post_invocation_result(request.invoke_id, job.turn(request.event_body))

        return echo

    run(told, make)


if __name__ == "__main__":
    main()
