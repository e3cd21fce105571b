"""Collect garbage less often in the processes that tests start.

Importing torch and Ray makes many objects that stay. By default, looking at them takes a fifth of the import's time.
"""

import gc

gc.set_threshold(100_000)
