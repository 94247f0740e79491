"""The clients that are compared, one file each: a process that is given a job, does it, and says what it cost.

A client is told its job as JSON in its last argument (see ``bench.clients.job``) and prints one line of JSON: how many
invocations it did (``ops``), and how many seconds these took by the clock (``wall``) and of its processor (``cpu``).
"""
