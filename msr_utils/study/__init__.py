"""The study: its plan, its runner, and what a result depends on."""
