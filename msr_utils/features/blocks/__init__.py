"""Feature blocks: one module a family, each with its `BLOCKS`.

To add a family, write a module with ``BLOCKS = (Block(...), ...)`` and add it to `FAMILIES` in
`msr_utils.features.blocks.registry`.
"""
