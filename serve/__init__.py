"""The service: valence and arousal of an uploaded piece of music, over HTTP and as a page.

``python -m serve`` runs it; `serve.app.create_app` gives the application to any WSGI server.
"""

import os

# Before numpy is loaded: a request is the work of one thread. BLAS would give each of its small
# products to all cores, which wait for each other as soon as there is other work.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ.setdefault(_name, "1")
