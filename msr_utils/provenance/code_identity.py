"""What a computation reaches, as one hash: its identity, wherever the code lies.

From its roots, names are followed through imports and re-exports to the definitions that they
stand for, and on from there. The hash is over the names and normal forms of all definitions
reached, without their modules: a moved module, an import line, a docstring, an annotation or a
new format changes nothing. What a module does when it is imported belongs to every definition
of it, and to every definition elsewhere that it names: an imported module may put a method into a
class of another. Nothing is left out by hand, and a name that leads nowhere is an error.

Texts of errors, warnings and logs do not count either, but for what the service is asked: its
answers are results, and they hold such texts. Elsewhere a result may keep the message of an error,
as that of a search's trial. Such a text may be older than the code; no number depends on it.

What is refused: a module that is loaded by a computed name, ``eval``, ``exec`` and ``globals``,
and code that calls how a class shows itself in notebooks.

What is not seen: data files beside the code; modules that are taken from ``sys.modules``; names of
a submodule that are asked for by a computed text, where only its package is named; annotations that
a decorator reads, but for those of ``singledispatch``. An assignment such as ``X = register(Y)``
counts only for code that names ``X``: if the call also changes a table, that change is not seen.
Neither is what a function changes elsewhere, where a module calls it when it is imported and
nothing that is reached names that module.
"""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from functools import cache, cached_property

from msr_utils.io import sha256_text
from msr_utils.provenance.code_reader import (
    Key,
    Reading,
    Registration,
    read,
    silent_imports,
)
from msr_utils.provenance.source_tree import (
    BODY,
    EFFECTS,
    IMPORTED,
    LAMBDA,
    MAIN,
    WHOLE,
    IdentityError,
    Module,
    SourceTree,
    project_tree,
)

DRAWING = ("msr_utils.figures", "msr_utils.style")
"""Packages that draw and compute nothing: what is only reached through them is presentation."""


SERVICE = "serve"
"""The package whose answers hold texts of errors."""


def draws(module: str) -> bool:
    """True for a module of `DRAWING`."""
    return any(module == one or module.startswith(f"{one}.") for one in DRAWING)


@dataclass
class Reached:
    """Definitions that code reaches.

    Parameters
    ----------
    readings : dict of Key to Reading
        Of every definition reached.
    drawn : set of Key
        Definitions of `DRAWING` that are reached by how classes show themselves in notebooks.
    parts : dict of Key to list of Key
        What the modules consist of that are named as a whole.
    """

    readings: dict[Key, Reading] = field(default_factory=dict)
    drawn: set[Key] = field(default_factory=set)
    parts: dict[Key, list[Key]] = field(default_factory=dict)

    @cached_property
    def hash(self) -> str:
        """SHA-256 over all definitions, without their places."""
        return sha256_text("\n".join(sorted(self.digests().values())))

    def digests(self) -> dict[Key, str]:
        """A hash of each definition and of all that it reaches."""
        return {key: self._refined[key] for key in self.readings}

    def digest(self, reading: Reading) -> str:
        """Hash of a statement and of all that it reaches."""
        return sha256_text("\n".join([self._text(reading), *self._named(reading, self._refined)]))

    @staticmethod
    def _named(reading: Reading, hashes: Mapping[Key, str]) -> list[str]:
        return [hashes[name] for name in reading.names if name in hashes]

    def _text(self, reading: Reading) -> str:
        """Its normal form; with the texts of errors where the service may answer with them."""
        return "\n".join([reading.text, *(reading.messages if self._answers else ())])

    @cached_property
    def _answers(self) -> bool:
        return any(module.partition(".")[0] == SERVICE for module, _ in self.readings)

    @cached_property
    def _refined(self) -> dict[Key, str]:
        """Hash of each definition and of all that it reaches, by colour refinement.

        It starts from names and texts. In each round the hash of a definition takes in the hashes
        of those that it names, so two definitions of one name and text are told apart by what they
        reach, however far away. It ends with the first round that tells no more apart.
        """
        own = {key: sha256_text(key[1]) for key in self.parts}
        for key, reading in self.readings.items():
            own[key] = sha256_text(f"{_called(key)}\n{self._text(reading)}")
        now, distinct = own, 0
        while len(set(now.values())) > distinct:
            distinct = len(set(now.values()))
            now = {key: sha256_text("\n".join([own[key], *self._around(key, now)])) for key in own}
        return now

    def _around(self, key: Key, hashes: Mapping[Key, str]) -> list[str]:
        """Hashes of what a definition names, in order; of the parts of a module, sorted."""
        if key in self.readings:
            return self._named(self.readings[key], hashes)
        return sorted(hashes[part] for part in self.parts[key] if part in hashes)

    @property
    def packages(self) -> set[str]:
        """Other packages that are named, by the names that are imported."""
        return set().union(*(reading.packages for reading in self.readings.values()))

    @property
    def names(self) -> set[str]:
        """Definitions as ``module.name``, for people."""
        return {f"{module}.{name}" for module, name in self.readings}


def _called(key: Key) -> str:
    """Name of a definition; of a lambda, which has none, its kind."""
    return LAMBDA if key[1].startswith(LAMBDA) else key[1]


class Code:
    """Follows names through a `SourceTree`.

    Parameters
    ----------
    tree : SourceTree
    """

    def __init__(self, tree: SourceTree) -> None:
        self.tree = tree
        self._readings: dict[Key, Reading] = {}
        self._effects: dict[str, list[Key]] = {}
        self._registering: dict[str, list[str]] = {}
        self._named_elsewhere: dict[str, list[Key]] = {}

    def reach(
        self, roots: Iterable[Key], drawing: bool = False, tables: Collection[str] = ()
    ) -> Reached:
        """All that definitions reach.

        Parameters
        ----------
        roots : iterable of Key
        drawing : bool
            True: code that draws may be reached; it is what the roots are for.
        tables : collection of str
            Tables, such as that of all feature blocks, whose entries are not followed: those that
            are used are among the roots. Each by the end of its dotted path, at least module and
            name.

        Raises
        ------
        IdentityError
            If a name leads nowhere, code that computes reaches code that draws, or a table is
            not reached.
        """
        found, unseen = Reached(), set(tables)
        waiting: list[tuple[Key, str]] = [(key, "") for key in roots]
        while waiting or (waiting := self._changes(found)):
            key, by = waiting.pop()
            if key in found.readings:
                continue
            if table := next((t for t in tables if f".{'.'.join(key)}".endswith(f".{t}")), ""):
                unseen.discard(table)
                continue
            if draws(key[0]) and not drawing:
                raise IdentityError(
                    f"{by or 'a root'} names {'.'.join(key)}, which draws: what computes may not; "
                    "draw from its results in a notebook"
                )
            parts = self._parts(key)
            if parts is not None:
                waiting += [(part, by) for part in parts if key not in found.parts]
                found.parts[key] = parts
                continue
            reading = found.readings[key] = self._read(key)
            found.drawn |= set(reading.shown)
            waiting += [(other, ".".join(key)) for other in self._next(key[0], reading)]
        if unseen:
            raise IdentityError(f"nothing reaches a table {', '.join(sorted(unseen))}: renamed?")
        return found

    def _next(self, module: str, reading: Reading) -> list[Key]:
        """What a definition names, and the effects of the modules that it is found through."""
        return [*reading.names, *self.effects({module, *reading.passed})]

    def _changes(self, found: Reached) -> list[tuple[Key, str]]:
        """Effects of imported modules that name what is reached, and so may change it."""
        return [
            ((module, EFFECTS), module)
            for module in self._imported({module for module, _ in found.readings})
            if (module, EFFECTS) not in found.readings
            and any(key in found.readings for key in self._named_by_effects(module))
        ]

    def _imported(self, modules: Iterable[str]) -> list[str]:
        """Modules of ours that importing these imports, and those that these import; sorted."""
        found: set[str] = set()
        waiting = list(modules)
        while waiting:
            name = waiting.pop()
            if name in found or not self.tree.file(name):  # a notebook, a folder without code
                continue
            found.add(name)
            waiting += [name.rpartition(".")[0], *self.tree.module(name).loaded]
        return sorted(found)

    def _named_by_effects(self, module: str) -> list[Key]:
        """Definitions of other modules that the effects of a module name."""
        if module not in self._named_elsewhere:
            effects = self.tree.module(module).effects
            names = read(self.tree, module, effects).names if effects else []
            # What is imported, then added to, is a definition of its own; see `_read`.
            names += [n for key in names if key[0] == module for n in self._first(key).names]
            self._named_elsewhere[module] = [key for key in names if key[0] != module]
        return self._named_elsewhere[module]

    def _first(self, key: Key) -> Reading:
        """What a name stood for that a module imports and then assigns; nothing for others."""
        own, found = self.tree.module(key[0]), Reading()
        if key[1] in own.imports and key[1] in own.definitions:
            binding = self.tree.follow(own.imports[key[1]], found.passed)
            if binding.is_ours:
                found.names.append((binding.module, binding.name or WHOLE))
            else:
                found.packages.add(binding.module.partition(".")[0])
        return found

    def effects(self, modules: Iterable[str]) -> list[Key]:
        """What importing modules does, with the packages that they lie in."""
        return [effect for name in sorted(set(modules)) for effect in self._all_effects(name)]

    def _all_effects(self, name: str) -> list[Key]:
        if name not in self._effects:
            parts = name.split(".")
            around = (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))
            self._effects[name] = [
                effect
                for module in around
                if self.tree.file(module)  # a notebook is no module
                for effect in self._own_effects(self.tree.module(module))
            ]
        return self._effects[name]

    def _own_effects(self, module: Module) -> list[Key]:
        registered = [(module.name, name) for name in self._registered(module)]
        # A module that is imported and never named is imported for what that does.
        unnamed = {
            name: binding
            for name, binding in module.imports.items()
            if name not in module.used | module.exported
        }
        silent = silent_imports(self.tree, unnamed, ())
        silent += [(name, IMPORTED) for name in module.dotted]
        acts = [(module.name, EFFECTS)] if module.effects or len(registered) > 1 else []
        return [*acts, *registered, *silent]

    def _registered(self, module: Module) -> list[str]:
        """Definitions that code of ours may register: see `_ours`."""
        if module.name not in self._registering:
            names = [name for name in module.registered if self._ours(module, name)]
            self._registering[module.name] = names
        return self._registering[module.name]

    def _ours(self, module: Module, name: str) -> bool:
        """True if a decorator, the metaclass or ``__init_subclass__`` of a base is ours."""

        return any(
            read(self.tree, module.name, getattr(node, "decorator_list", ())).names
            or (isinstance(node, ast.ClassDef) and self._is_taken(module.name, node))
            for node in module.definitions[name]
        )

    def _is_taken(self, module: str, node: ast.ClassDef) -> bool:
        """True if a class has a metaclass of ours, or a base that is told of its subclasses."""
        made_by = [keyword.value for keyword in node.keywords if keyword.arg == "metaclass"]
        if read(self.tree, module, made_by).names:
            return True
        return any(
            is_told_of_subclasses(base) or self._is_taken(key[0], base)
            for key in read(self.tree, module, node.bases).names
            for base in self.tree.module(key[0]).definitions.get(key[1], ())
            if isinstance(base, ast.ClassDef)
        )

    def _parts(self, key: Key) -> list[Key] | None:
        """What a module as a whole, as it is imported or run consists of; None for a definition."""
        module, name = self.tree.module(key[0]), key[1]
        if name not in (WHOLE, IMPORTED, MAIN):
            return None
        parts = self.effects([module.name])
        if name == IMPORTED:
            return parts
        if name == MAIN:
            return [*parts, *([(module.name, BODY)] if module.main else [])]
        names = [*module.definitions]
        if module.is_package:  # whose names are taken from its modules
            names += [name for name, binding in module.imports.items() if binding.is_ours]
        found = [self.tree.resolve(module.name, name) for name in names]
        return [*parts, *((binding.module, binding.name or IMPORTED) for binding in found)]

    def _read(self, key: Key) -> Reading:
        if key not in self._readings:
            reading = self._readings[key] = read(self.tree, key[0], self._nodes(*key))
            before = self._first(key)
            reading.names += before.names
            reading.passed += before.passed
            reading.packages |= before.packages
        return self._readings[key]

    def _nodes(self, module: str, name: str) -> Sequence[ast.AST]:
        own = self.tree.module(module)
        if name == BODY:
            return own.main
        if name == EFFECTS:
            # In the order of the file: what registers first stands first in a table.
            found: dict[int, ast.AST] = {node.lineno: node for node in own.effects}
            for taken in self._registered(own):
                found |= {node.lineno: Registration(taken) for node in own.definitions[taken]}
            return [found[line] for line in sorted(found)]
        if name.startswith(LAMBDA):
            return own.lambdas[int(name.removeprefix(LAMBDA))]
        if name not in own.definitions:
            raise IdentityError(f"{module} has no {name!r}")
        return own.definitions[name]


def key_of(thing: object) -> Key:
    """Where a function, class or module of ours is defined.

    Raises
    ------
    IdentityError
        If it is none of these.
    """
    if isinstance(thing, types.ModuleType):
        return thing.__name__, WHOLE
    if not isinstance(thing, type):
        thing = inspect.unwrap(thing)  # type: ignore[arg-type]
    module, name = getattr(thing, "__module__", ""), getattr(thing, "__qualname__", "")
    if not module or not name:
        raise IdentityError(f"{thing!r} is no function, class or module")
    if name.endswith("<lambda>"):
        return module, f"{LAMBDA}{thing.__code__.co_firstlineno}"  # type: ignore[attr-defined]
    return module, name.partition(".")[0]


def is_told_of_subclasses(node: ast.ClassDef) -> bool:
    """True for a class with ``__init_subclass__``, which may fill a table."""
    return any(getattr(item, "name", "") == "__init_subclass__" for item in node.body)


@cache
def project_code() -> Code:
    """The code of this checkout."""
    return Code(project_tree())


@cache
def reached(roots: tuple[Callable | type, ...], tables: tuple[str, ...] = ()) -> Reached:
    """All that functions and classes of this checkout reach; see `Code.reach`."""
    return project_code().reach(map(key_of, roots), tables=tables)
