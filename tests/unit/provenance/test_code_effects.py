"""What counts of code: messages, effects, blocks, changes of other modules, comprehensions."""

from __future__ import annotations

import pytest
from small_package import package, reach

from msr_utils.provenance.source_tree import (
    MAIN,
)

__all__ = ["reach"]  # fixtures


def test_messages_count_where_the_service_answers_with_them(tmp_path):
    def identity(number, message):
        root = tmp_path / str(number)
        code = package(root, a=f"def f(): raise ValueError('{message}')")
        (root / "serve").mkdir()
        (root / "serve" / "__init__.py").write_text("from msr_utils.a import f\ndef ask(): f()")
        roots = [("msr_utils.a", "f")], [("serve", "ask")]
        return [code.reach(one).hash for one in roots]

    first, second = identity(1, "it is bad"), identity(2, "it is wrong")
    assert first[0] == second[0]
    assert first[1] != second[1]


def test_the_order_of_effects_and_registrations_counts(reach):
    a = "BLOCKS = []\nBLOCKS.append(1)\nBLOCKS.append(2)\ndef f(): return BLOCKS"
    swapped = "BLOCKS = []\nBLOCKS.append(2)\nBLOCKS.append(1)\ndef f(): return BLOCKS"
    assert reach(a=a) != reach(a=swapped)
    b = "ALL = []\ndef take(g):\n    ALL.append(g)\n    return g\n"
    one, two = "@take\ndef one(): return 1\n", "@take\ndef two(): return 2\n"
    f = "def f(): return ALL"
    assert reach(a=b + one + two + f) != reach(a=b + two + one + f)
    main = "def f(): pass\nif __name__ == '__main__':\n    {}\n    {}\n"
    run = ("msr_utils.a", MAIN)
    assert reach(run, a=main.format("f()", "g = f()")) != reach(
        run, a=main.format("g = f()", "f()")
    )


@pytest.mark.parametrize(
    "block",
    [
        "for i in (1, 2):\n    T[i] = KEY",
        "if True:\n    x = 1\n    T[x] = KEY",
        "try:\n    x = 1\n    T[x] = KEY\nexcept ValueError:\n    pass",
        "with open('x') as file:\n    T[file] = KEY",
    ],
)
def test_a_block_that_binds_a_name_and_fills_a_table_belongs_to_the_table(reach, block):
    source = f"T = {{}}\n{block}\ndef f(): return T"
    assert reach(a=source.replace("KEY", "6")) != reach(a=source.replace("KEY", "7"))


def test_only_a_plain_type_checking_block_never_runs(reach):
    start = "from typing import TYPE_CHECKING\nimport typing\n"
    block = "if {}:\n    LEVEL = {}\nelse:\n    LEVEL = 3\ndef f(): return LEVEL"
    for test, same in (
        ("TYPE_CHECKING", True), ("typing.TYPE_CHECKING", True), ("not TYPE_CHECKING", False),
        ("f and TYPE_CHECKING", False),
    ):  # fmt: skip
        one, two = (reach(a=start + block.format(test, level)) for level in (1, 2))
        assert (one == two) is same, test
    inside = "def f():\n    if not TYPE_CHECKING:\n        return {}\n"
    assert reach(a=start + inside.format(1)) != reach(a=start + inside.format(2))


def test_subclasses_that_a_base_is_told_of_are_reached(reach):
    modules = {
        "base": """
            ALL = {}
            class Base:
                def __init_subclass__(cls): ALL[cls.__name__] = cls
            from msr_utils import parts
            """,
        "parts": "from msr_utils.base import Base\nclass Middle(Base): pass\n"
        "class Part(Middle):\n    size = 1\n",
        "a": "from msr_utils.base import ALL\ndef f(): return ALL",
    }
    first = reach(**modules)
    assert {"Middle", "Part"} < first[1]
    other = modules | {"parts": modules["parts"].replace("size = 1", "size = 2")}
    assert reach(**other) != first
    # Classes that no base takes are reached where they are named.
    assert "Part" not in reach(**modules | {"base": "ALL = {}\nclass Base: pass\n"})[1]


def test_the_type_by_which_singledispatch_chooses_counts(reach):
    source = """
        from functools import singledispatch
        @singledispatch
        def f(x): return 0
        @f.register
        def _(x: {}): return 1
        """
    assert reach(a=source.format("int")) != reach(a=source.format("str"))


def test_definitions_far_away_are_told_apart(reach):
    chain = "LEVEL = {}\ndef deep(): return LEVEL\ndef middle(): return deep()\ndef g(): return middle()"
    modules = {"b": chain.format(1), "c": chain.format(2)}
    both = "from msr_utils import b, c\ndef f(): return b.g() - c.g()"
    swapped = {"b": modules["c"], "c": modules["b"]}
    assert reach(a=both, **modules) != reach(a=both, **swapped)
    # Also where the modules are named as values.
    whole = "from msr_utils import b, c\ndef f(n): return getattr(b, n)() - getattr(c, n)()"
    assert reach(a=whole, **modules) != reach(a=whole, **swapped)
    # In a circle that two functions go round.
    circle = "from msr_utils.{0} import g as h\ndef g(n): return n and {1} * h(n - 1)"
    one = {"b": circle.format("c", 1), "c": circle.format("b", 2)}
    two = {"b": circle.format("c", 2), "c": circle.format("b", 1)}
    start = "from msr_utils.b import g\ndef f(): return g(3)"
    assert reach(a=start, **one) != reach(a=start, **two)


@pytest.mark.parametrize(
    "change",
    [
        "Thing.level = KEY",
        "Thing.levels['x'] = KEY",
        "setattr(Thing, 'level', KEY)",
        "for one in (Thing,):\n    one.level = KEY",
        "from msr_utils import b\nb.Thing.level = KEY",
        "def other(self): return KEY\nThing.level = other",
        "LEVELS += [KEY]",
        "LEVELS.append(KEY)",
        "import os\nif os.environ:\n    Thing.level = KEY",
    ],
)
def test_a_module_that_changes_what_another_defines_counts_where_it_is_imported(reach, change):
    modules = {
        "b": "class Thing:\n    level = 1\n    levels = {}\nLEVELS = []\n",
        "c": f"from msr_utils.b import LEVELS, Thing\n{change}\ndef other(): return 1\n",
        "d": "from msr_utils.c import other\ndef h(): return other()\n",
        "a": "from msr_utils.b import LEVELS, Thing\nfrom msr_utils import d\n"
        "def f(): return Thing, LEVELS\ndef g(): return d.h()\n",
    }
    one, two = (modules | {"c": modules["c"].replace("KEY", key)} for key in "67")
    assert reach(**one) != reach(**two)
    # Where nothing imports it, it is not run.
    apart = {"a": modules["a"].replace("from msr_utils import d\n", "from msr_utils import b as d\n")
             .replace("d.h()", "d")}  # fmt: skip
    assert reach(**one | apart) == reach(**two | apart)


@pytest.mark.parametrize(
    "source",
    [
        "def f(): return [LEVEL for LEVEL in LEVEL]",
        "def f(): return {LEVEL: 1 for LEVEL in LEVEL}",
        "class f:\n    found = [LEVEL for LEVEL in LEVEL]",
        "class f:\n    found = [g(one) for one in [1]]\n    def g(self): return LEVEL",
    ],
)
def test_a_comprehension_takes_its_first_iterable_from_around(reach, source):
    source = f"LEVEL = [KEY]\ndef g(x): return x, LEVEL\n{source}"
    assert reach(a=source.replace("KEY", "6")) != reach(a=source.replace("KEY", "7"))


def test_a_comprehension_in_a_class_goes_over_what_the_class_binds(reach):
    source = "class f:\n    sizes = [1, 2]\n    doubled = [2 * size for size in sizes]"
    assert reach(a=source)[1] == {"f"}


def test_what_is_bound_in_several_ways_counts_with_all_of_them(reach):
    modules = {"b": "LEVELS = [1]", "c": "LEVELS = [2]"}
    chosen = """
        try:
            from msr_utils.b import LEVELS
        except ImportError:
            {}
        def f(): return LEVELS
        """
    for first, second in (
        ("from msr_utils.c import LEVELS", "LEVELS = [2]"),
        ("LEVELS = [2]", "LEVELS = [3]"),
        ("LEVELS = None", "from msr_utils import c as LEVELS"),
    ):
        assert reach(a=chosen.format(first), **modules)[1] >= {"f", "LEVELS"}
        assert reach(a=chosen.format(first), **modules) != reach(a=chosen.format(second), **modules)
    added = {"a": "from msr_utils.b import LEVELS\nLEVELS += [3]\ndef f(): return LEVELS"}
    assert reach(**added, **modules) != reach(**added, **modules | {"b": "LEVELS = [7]"})


def test_a_module_that_is_imported_by_its_dotted_name_is_run(reach):
    modules = {
        "a": "import msr_utils.deep.b\ndef f(): return 1",
        "deep/b": "import os\nos.environ['LEVEL'] = '6'",
    }
    first = reach(**modules)
    assert first != reach(**modules | {"deep/b": modules["deep/b"].replace("6", "7")})
