"""Work on bytes in memory, no socket anywhere: one file a codec, each beside its peers.

Every file has ``STEPS``: the works it knows, and for each the columns, each a function from a size to a step. A step is
set up once and then repeated in a process of its own (``python -m bench.codecs JOB``). Works that are ``PREPARED`` have
instead of a step what makes the next one: each can be taken once.
"""
