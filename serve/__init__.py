"""The service: valence and arousal of an uploaded piece of music, over HTTP and as a page.

``python -m serve`` runs it; `serve.app.create_app` gives the application to any WSGI server.
"""
