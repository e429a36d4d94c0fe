# SPDX-License-Identifier: Apache-2.0
"""A handler that a program attached from elsewhere provides."""

import os

from hornbeam_erlang import hook


class Labelled:
    def pid(self):
        return os.getpid()

    def numbers(self, count):
        yield from range(count)


hook("labelled", Labelled)
