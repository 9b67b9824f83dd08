"""Changes of a folder corpus, and what is found in it."""

from __future__ import annotations

import pandas as pd

from msr_utils.corpora import load_corpus
from msr_utils.corpora.findings import Findings


def edit(path, change):
    table = pd.read_csv(path)
    change(table).to_csv(path, index=False)


def edit_text(path, old, new, count=1):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def collect(root):
    findings = Findings(collect=True)
    return load_corpus("folder", root, findings=findings), findings


def collect_rows(root):
    corpus, findings = collect(root)
    return corpus, [(f.level, f.file, f.subject, f.message) for f in findings]


def notes(findings):
    return [(f.file, f.subject, f.message) for f in findings if f.level == "note"]
