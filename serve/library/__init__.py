"""A music library over HTTP: queries run in processes of their own, see `serve.library.runner`."""
