"""A Python program that Erlang programs call as one of their own: a server of word counts.

    HORNBEAM_COOKIE=secret python examples/python_node/words.py words@localhost

    erl -sname shell@localhost -setcookie secret
    1> gen_server:call({words, words@localhost}, {count, <<"to be or not to be">>}).
    #{<<"be">> => 2,<<"not">> => 1,<<"or">> => 1,<<"to">> => 2}
    2> rpc:call(words@localhost, statistics, mean, [[1, 2, 6]]).
    3

It ends with Ctrl-C, or when the last node that has used it is gone.
"""

import statistics
import sys
from collections import Counter

from hornbeam_erlang.node import Node


def answer(request: tuple[str, str]) -> dict[str, int]:
    """`{count, Text}`. Anything else is an exception here, and an exit of the caller there."""
    what, text = request
    if what != "count":
        raise ValueError(f"the request is {{count, Text}}, not {{{what}, _}}")
    return dict(Counter(text.lower().split()))


def main(name: str) -> None:
    with Node(name) as node, node.process() as events:
        node.serve("words", answer)
        node.allow("statistics", "mean", statistics.mean)
        node.monitor_nodes(events)
        print(f"{node.name} is ready", flush=True)
        users: set[str] = set()
        while True:
            event, user = events.receive(timeout=None)
            (users.add if event == "nodeup" else users.discard)(user)
            if not users:
                return


if __name__ == "__main__":
    main(sys.argv[1])
