"""A program that is no web application: counts the words of files in many threads at once.

    python examples/embedded/report.py README.md docs/*.md

The counts live in a node that the program starts for itself and that ends with it, so no thread
needs a lock; what takes long is computed once, however many ask for it.
"""

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hornbeam_erlang as hornbeam


def weight(word: str) -> int:
    """Stands for a model that takes its time."""
    return sum(ord(letter) for letter in word)


def count(path: str) -> int:
    """Counts the words of one file. Returns: how many there were."""
    words = re.findall(r"[a-z]+", Path(path).read_text().lower())
    for start in range(0, len(words), 500):
        with hornbeam.pipeline() as pipeline:  # one round trip for all of them
            for word in words[start : start + 500]:
                pipeline.incr(f"word:{word}")
    hornbeam.publish("progress", {"file": path, "words": len(words)})
    return len(words)


def main(paths: list[str]) -> None:
    with hornbeam.start(), hornbeam.subscription("progress") as progress:
        with ThreadPoolExecutor(8) as pool:
            total = sum(pool.map(count, paths))
        for _ in paths:
            done = progress.receive()
            assert done is not None
            print(f"{done.message['words']:7} {done.message['file']}")
        keys = hornbeam.state_keys("word:")
        counts = hornbeam.state_get_multi(keys)
        for key in sorted(keys, key=lambda key: (-counts[key], key))[:3]:
            word = key.removeprefix("word:")
            heavy = hornbeam.cached(key, lambda word=word: weight(word))
            print(f"{counts[key]:7} times {word}, weight {heavy}")
        print(f"{total:7} words")


if __name__ == "__main__":
    main(sys.argv[1:] or [__file__])
