"""The service: predicts valence and arousal of music over HTTP, with an API and a page.

``python -m serve`` runs it. `serve.app.create_app` makes the application for any WSGI server.
"""

import os

# This must happen before numpy is loaded. Each request runs in one thread. With more threads,
# BLAS would split its small products over all cores, and the parts would wait for each other.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ.setdefault(_name, "1")
