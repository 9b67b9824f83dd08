"""What a computation reaches: followed by name, wherever the code lies; on small packages."""

from __future__ import annotations

import pytest
from small_package import package, reach

from msr_utils.provenance.source_tree import (
    MAIN,
    WHOLE,
    IdentityError,
)

__all__ = ["reach"]  # fixtures


def test_layout_comments_docstrings_annotations_and_import_lines_leave_no_trace(reach):
    plain = reach(
        a="import numpy as np\ndef f(x, n=2):\n    y = np.fft.rfft(x)\n    return y * n\n"
    )
    written = reach(
        a='''
        """A module."""
        from __future__ import annotations
        # A comment.
        from typing import TYPE_CHECKING
        from numpy import fft  # another way to the same function
        if TYPE_CHECKING:
            from msr_utils.nowhere import Something
        def f(x: Something, n: int = 2) -> Something:
            """It does something."""
            y: Something = (
                fft.rfft(x)
            )
            return y * n
        '''
    )
    assert plain == written
    assert reach(a="import numpy as np\ndef f(x, n=2):\n    y = np.fft.irfft(x)\n    return y * n\n") != plain  # fmt: skip
    # The same words for another package's function.
    assert reach(a="import scipy as np\ndef f(x, n=2):\n    y = np.fft.rfft(x)\n    return y * n\n") != plain  # fmt: skip


def test_names_are_followed_through_aliases_reexports_and_imports_in_functions(reach):
    same = [
        {"a": "from msr_utils.b import g\ndef f(): return g()"},
        {"a": "from msr_utils.b import g as h\ndef f(): return h()"},
        {"a": "from msr_utils import b\ndef f(): return b.g()"},
        {"a": "import msr_utils.b\ndef f(): return msr_utils.b.g()"},
        {"a": "import msr_utils.b as c\ndef f(): return c.g()"},
        {"a": "from . import b\ndef f(): return b.g()"},
        {"a": "from .b import g\ndef f(): return g()"},
        {"a": "def f():\n    from msr_utils.b import g\n    return g()"},
        {"a": "from msr_utils.b import *\ndef f(): return g()"},
        {"a": "from msr_utils.c import g\ndef f(): return g()", "c": "from msr_utils.b import g"},
        {"a": "import msr_utils\ndef f(): return msr_utils.g()",
         "__init__": "from msr_utils.b import g"},
        {"a": "def f(): return g()\ndef g(): return LEVEL\nLEVEL = 3"},
    ]  # fmt: skip
    b = "LEVEL = 3\n'''What it is.'''\ndef g(): return LEVEL\ndef unused(): return 1"
    found = [reach(**{"b": b, **files}) for files in same]
    assert {names == {"f", "g", "LEVEL"} for _, names in found} == {True}
    assert len({hash_ for hash_, _ in found}) == 1
    louder = b.replace("3", "4")
    assert reach(b=louder, **same[0]) != found[0]
    assert reach(b=b.replace("return 1", "return 2"), **same[0]) == found[0]


def test_a_moved_module_is_the_same(reach):
    b = "from msr_utils.c import LEVEL\ndef g(): return LEVEL"
    here = reach(a="from msr_utils.b import g\ndef f(): return g()", b=b, c="LEVEL = 3")
    there = reach(
        a="from msr_utils.deep.down.b import g\ndef f(): return g()",
        **{"deep/down/b": b.replace("msr_utils.c", "msr_utils.deep.levels")},
        **{"deep/levels": "LEVEL = 3"},
    )
    assert here == there


def test_names_of_functions_classes_and_comprehensions_are_their_own(reach):
    source = """
        from msr_utils import other as metrics
        LEVEL = 3
        def f(metrics, *rest, key=None, **more):
            LEVEL = metrics.nothing_of_the_module
            local = [other for other in rest for LEVEL in other]
            def inner(level, other=LEVEL):
                nonlocal local
                return other, level, local
            try:
                pass
            except ValueError as error:
                raise error
            with open(key) as file:
                (walrus := file)
            match rest:
                case [first, *others]:
                    return first, others, walrus
            return inner, more, lambda x, y=1: x + y
        """
    assert reach(a=source, other="")[1] == {"f"}
    reads = reach(a="LEVEL = 3\ndef f():\n    global LEVEL\n    LEVEL = 4\n    return LEVEL")
    assert reads[1] == {"f", "LEVEL"}
    method = reach(a="x = 1\nclass f:\n    x = 2\n    y = x\n    def m(self): return x\n")
    assert method[1] == {"f", "x"}  # a method does not see what the class body binds


def test_decorators_defaults_bases_and_class_bodies_count(reach):
    source = """
        from functools import cache
        from msr_utils.b import Base, default, wrap
        @cache
        @wrap
        def f(x=default()):
            return Thing
        class Thing(Base, metaclass=type):
            size: int = 3
            def area(self): return helper()
        def helper(): return 1
        """
    b = "def wrap(g): return g\ndef default(): return 1\nclass Base: pass"
    first = reach(a=source, b=b)
    assert first[1] == {"f", "wrap", "default", "Thing", "Base", "helper"}
    for old, new in (
        ("size: int = 3", "size: int = 4"),
        ("@cache\n", "\n"),
        ("return 1", "return 2"),
    ):
        assert reach(a=source.replace(old, new), b=b) != first
    assert reach(a=source, b=b.replace("return g", "return lambda: g()")) != first


def test_a_dataclass_has_fields_by_its_annotations_and_their_types_do_not_count(reach):
    source = "from dataclasses import dataclass\n@dataclass\nclass f:\n    {}\n"
    fields = ["a: int = 1", "a: float | None = 1", "a = 1", "a: ClassVar[int] = 1"]
    hashes = [reach(a="from typing import ClassVar\n" + source.format(f))[0] for f in fields]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3
    # A base may read them, as that of a validated model does.
    based = [reach(a=source.replace("f:", "f(dict):").format(f))[0] for f in fields[:2]]
    assert based[0] != based[1]


def test_two_definitions_of_one_name_are_told_apart(reach):
    modules = {"b": "def g(): return 1", "c": "def g(): return 2"}
    both = "from msr_utils import b, c\ndef f(): return b.g() - c.g()"
    one = reach(a=both, **modules)
    assert one != reach(a=both, b=modules["c"], c=modules["b"])
    assert one != reach(a=both.replace("b.g() - c.g()", "c.g() - b.g()"), **modules)


def test_circles_end(reach):
    found = reach(
        a="from msr_utils.b import g\ndef f(n): return n and g(n - 1)",
        b="def g(n):\n    from msr_utils.a import f\n    return f(n)",
    )
    assert found[1] == {"f", "g"}


def test_what_a_module_does_when_it_is_imported_belongs_to_it(reach):
    a = "from msr_utils.b import g\ndef f(): return g()"
    b = "import os\nos.environ.setdefault('KERAS_BACKEND', '{}')\ndef g(): return 1"
    first = reach(a=a, b=b.format("tensorflow"))
    assert first[0] != reach(a=a, b=b.format("jax"))[0]
    # Also where a name is only found through it, and of the package around it.
    through = reach(a=a, b=b.format("tensorflow").replace("def g(): return 1", "from msr_utils.c import g"),
                    c="def g(): return 1")  # fmt: skip
    assert through == first
    around = {"a": a.replace("msr_utils.b", "msr_utils.deep.b"), "deep/b": "def g(): return 1"}
    assert reach(**around) != reach(**around, **{"deep/__init__": "import os\nos.nice(1)"})
    # An assignment to an item belongs to the table that it changes.
    table = "TABLE = {}\nTABLE['x'] = 1\nOTHER = {}\nOTHER['x'] = 1\ndef f(): return TABLE"
    assert reach(a=table)[1] == {"f", "TABLE"}
    assert reach(a=table.replace("TABLE['x'] = 1", "TABLE['x'] = 2")) != reach(a=table)
    assert reach(a=table.replace("OTHER['x'] = 1", "OTHER['x'] = 2")) == reach(a=table)


def test_what_registers_itself_is_reached(reach):
    registry = "BLOCKS = {}\ndef register(g):\n    BLOCKS[g.__name__] = g\n    return g\n"
    modules = {
        "registry": registry + "from msr_utils import tonal\n",
        "tonal": "from msr_utils.registry import register\n@register\ndef chroma(): return 12\n",
        "a": "from msr_utils.registry import BLOCKS\ndef f(): return BLOCKS\n",
    }
    first = reach(**modules)
    assert "chroma" in first[1]
    assert reach(**modules | {"tonal": modules["tonal"].replace("12", "24")}) != first


def test_a_module_as_a_value_is_reached_whole(reach):
    modules = {
        "a": "from msr_utils import b\ndef f(name): return getattr(b, name)()",
        "b": "def g(): return 1\ndef h(): return 2",
    }
    assert reach(**modules)[1] == {"f", "g", "h"}
    # Also what a package takes from its modules.
    package = {
        "a": modules["a"],
        "b/__init__": "from msr_utils.b.c import g",
        "b/c": "def g(): return 1",
    }
    assert reach(**package)[1] == {"f", "g"}


def test_what_another_process_runs_is_reached(reach):
    modules = {
        "a": "import sys\ndef f(): return [sys.executable, '-m', 'msr_utils.tool', '--quick']",
        "tool": "LEVEL = 1\ndef run(): return LEVEL\nif __name__ == '__main__':\n    run()\n",
    }
    first = reach(**modules)
    assert {"run", "LEVEL"} < first[1]
    assert reach(**modules | {"tool": modules["tool"].replace("LEVEL = 1", "LEVEL = 2")}) != first
    # Imported, a module does not do what it does when it is run.
    imports = modules | {"a": "from msr_utils.tool import LEVEL\ndef f(): return LEVEL"}
    assert reach(**imports)[1] == {"f", "LEVEL"}
    package = {"a": modules["a"].replace("msr_utils.tool", "msr_utils.deep"),
               "deep/__main__": modules["tool"]}  # fmt: skip
    assert "run" in reach(**package)[1]


@pytest.mark.parametrize(
    "a, words",
    [
        ("from msr_utils.b import nothing\ndef f(): return nothing()", "b has no 'nothing'"),
        ("from msr_utils import nowhere\ndef f(): return nowhere.g()", "has no 'nowhere'"),
        ("import msr_utils.b\ndef f(): return msr_utils.b.nothing", "b has no 'nothing'"),
        ("from msr_utils import b\ndef f():\n    b.LEVEL\n    return b.nothing", "no 'nothing'"),
        ("def f(): return never_defined", "nothing is called 'never_defined'"),
        (
            "import importlib\ndef f(n): return importlib.import_module(n)",
            "a name that is computed",
        ),
        (
            "from importlib import import_module as i\ndef f(n): return i(f'msr_utils.{n}')",
            "computed",
        ),
        ("import sys\ndef f(): return ['x', '-m', 'msr_utils.nowhere']", "not in"),
        ("def f(x): return eval(x)", "cannot be followed"),
        ("def f(x): exec(x)", "cannot be followed"),
        ("def f(x): return globals()[x]", "cannot be followed"),
        (
            "class T:\n    def _repr_html_(self): return 1\ndef f(x): return T()._repr_html_()",
            "show themselves in notebooks",
        ),
    ],
)
def test_what_cannot_be_followed_is_an_error(reach, a, words):
    with pytest.raises(IdentityError, match=words):
        reach(a=a, b="LEVEL = 1")


def test_a_module_that_is_loaded_by_its_name_is_reached_whole(reach):
    a = "import importlib\ndef f(): return importlib.import_module('msr_utils.b')"
    assert reach(a=a, b="def g(): return 1")[1] == {"f", "g"}
    lazy = """
        def __getattr__(name):
            from msr_utils.b import g
            return {"g": g}[name]
        """
    found = reach(
        a="from msr_utils import g\ndef f(): return g()", __init__=lazy, b="def g(): return 1"
    )
    assert found[1] == {"f", "__getattr__", "g"}


def test_a_try_around_an_import_counts_both_ways(reach):
    source = (
        "try:\n    from msr_utils.b import g\nexcept ImportError:\n    g = None\ndef f(): return g"
    )
    assert reach(a=source, b="def g(): return 1")[1] >= {"f", "g"}
    assert reach(a=source, b="def g(): return 1") != reach(a=source, b="def g(): return 2")


def test_what_computes_may_not_draw_but_may_show_itself(reach):
    drawing = "COLOUR = 'red'\ndef picture(x): return COLOUR, x\n"
    with pytest.raises(
        IdentityError, match=r"msr_utils.a.f names msr_utils.style.COLOUR, which draws"
    ):
        reach(
            a="from msr_utils.style import COLOUR\ndef f(): return COLOUR",
            style=drawing,
        )
    shows = """
        class f:
            def value(self): return 1
            def _repr_html_(self):
                from msr_utils.style import picture
                return picture(self)
        """
    first = reach(a=shows, style=drawing)
    assert first[1] == {"f"}
    assert reach(a=shows, style=drawing.replace("red", "blue")) == first
    assert reach(a=shows.replace("return 1", "return 2"), style=drawing) != first


def test_entries_of_a_table_count_where_they_are_used(tmp_path):
    source = "def small(): return 1\ndef large(): return 2\nALL = {'s': small, 'l': large}\ndef f(n): return ALL[n]"
    code = package(tmp_path, a=source)
    found = code.reach([("msr_utils.a", "f"), ("msr_utils.a", "small")], tables=["a.ALL"])
    assert {name for _, name in found.readings} == {"f", "small"}
    with pytest.raises(IdentityError, match="nothing reaches a table a.EVERY: renamed"):
        code.reach([("msr_utils.a", "f")], tables=["a.EVERY"])


def test_roots_that_are_not_there(tmp_path):
    code = package(tmp_path, a="def f(): pass")
    with pytest.raises(IdentityError, match="msr_utils.a has no 'g'"):
        code.reach([("msr_utils.a", "g")])
    with pytest.raises(IdentityError, match="module 'msr_utils.b' is not in"):
        code.reach([("msr_utils.b", WHOLE)])
    assert not code.reach([("msr_utils.a", MAIN)]).readings


@pytest.mark.parametrize(
    "before, after, same",
    [
        ("raise ValueError('a bad level')", "raise ValueError('a wrong level')", True),
        ("raise ValueError(f'{x}: bad level')", "raise ValueError(f'{x}: wrong level')", True),
        ("raise ValueError('a bad ' + x)", "raise ValueError('a wrong ' + x)", True),
        ("raise ValueError('a bad level', 'level')", "raise ValueError('a bad level', 'n')", False),
        ("raise ValueError('a bad level')", "raise TypeError('a bad level')", False),
        ("raise ValueError(f'{x}: bad level')", "raise ValueError(f'{g(x)}: bad level')", False),
        ("raise ValueError('one two') from x", "raise ValueError('one two')", False),
        ("warnings.warn('it is slow')", "warnings.warn('this is slow')", True),
        ("log.info('it is slow')", "log.info('this is slow')", True),
        ("return Defect('cut short', 'it ends')", "return Defect('cut short', 'it stops')", True),
        ("return Defect('cut short', 'it ends')", "return Defect('not whole', 'it ends')", False),
        ("return Defect('cut short', 'it ends')", "return Defect('cut short', f'it {x}')", False),
        ("return 'a bad level'", "return 'a wrong level'", False),
        ("return log.get('a bad level')", "return log.get('a wrong level')", False),
        ("return x.log('a bad level')", "return x.log('a wrong level')", False),
        ("return g('a bad level')", "return g('a wrong level')", False),
    ],
)
def test_a_message_for_people_is_no_computation(reach, before, after, same):
    source = """
        import logging, warnings
        log = logging.getLogger("x")
        class Defect: pass
        def g(x): return x
        def f(x):
            {}
        """
    assert (reach(a=source.format(before))[0] == reach(a=source.format(after))[0]) is same
