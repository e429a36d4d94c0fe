# SPDX-License-Identifier: Apache-2.0
"""A module whose own import fails."""

import does_not_exist_anywhere  # noqa: F401
