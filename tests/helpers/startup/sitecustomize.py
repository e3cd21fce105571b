"""Collect garbage rarely in the processes that tests start.

Importing torch and Ray makes half a million objects that stay. By default, looking at them takes 0.5 s.
"""

import gc

gc.set_threshold(1_000_000)
