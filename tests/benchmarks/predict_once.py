"""Print seconds and peak memory in MB of predicting one file: ``predict_once.py FILE BUNDLE``.

Run in a process of its own, because a peak never goes down again.
"""

from __future__ import annotations

import json
import sys
import time

from peak_memory import peak_mb

from msr_utils.inference.model import load

if __name__ == "__main__":
    model = load(sys.argv[2])
    start = time.process_time()
    model.predict(sys.argv[1])  # with a second thread, as users do: more memory, a little more work
    print(json.dumps({"seconds": time.process_time() - start, "peak_mb": peak_mb()}))
