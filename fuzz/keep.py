"""Keep, of what was found for a target, what takes a branch that nothing kept so far takes; the smallest first.

Usage: ``python -m fuzz.keep fuzz/fuzz_prelude.py DIRECTORY``, with a directory of ``fuzz.drive``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from coverage import Coverage

from fuzz.drive import CORPUS, corpus, load, seeds

#: What is larger is hard to read, and hardly needed.
_LARGEST = 512


def main() -> None:
    """Add to the corpus of the target that the command line names."""
    path, directory = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    one_input = load(path).one_input
    kept = corpus(path)

    def branches(data: bytes) -> set[tuple[str, int, int]]:
        measured = Coverage(data_file=None, branch=True, source=["lambda_wire"], config_file=False)
        with measured.collect():
            one_input(data)
        told = measured.get_data()
        return {(file, *arc) for file in told.measured_files() for arc in told.arcs(file) or ()}

    begun = seeds(path)
    for seed in begun:
        one_input(seed)  # what is done once only, and would count for the first of them
    taken = set[tuple[str, int, int]]().union(*map(branches, begun))
    found = sorted((it.read_bytes() for it in directory.iterdir()), key=lambda data: (len(data), data))
    for data in found:
        if len(data) <= _LARGEST and not (new := branches(data)) <= taken:
            taken |= new
            kept.append(data)
    if kept:
        CORPUS.mkdir(exist_ok=True)
        (CORPUS / f"{path.stem}.txt").write_text("".join(f"{data!r}\n" for data in kept), "ascii")
    sys.stdout.write(f"{path.stem}: {len(found)} found, {len(kept)} kept\n")


if __name__ == "__main__":
    main()
