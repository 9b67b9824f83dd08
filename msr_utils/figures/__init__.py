"""The study's figures, one module a part of the study."""
