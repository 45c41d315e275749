"""How a plugin says no."""

from __future__ import annotations


class Refused(Exception):
    """What the user asked for cannot be done; the message, one or two sentences with the remedy, is shown as it is.

    The run ends with exit code 3. Any other exception of a plugin counts as its own fault: the message names plugin
    and hook, and the run ends with exit code 7.
    """
