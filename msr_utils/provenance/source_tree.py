"""The sources of our packages as definitions: parsed, never imported.

A *definition* is what one name of a module stands for: a function, a class, or the assignments
of a constant. What a module does beside defining names (setting an environment variable,
registering a block) are its *effects*; they run when the module is imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from msr_utils.paths import PROJECT_ROOT

PACKAGES = ("msr_utils", "serve")
"""Packages whose code counts; all others count by their versions."""

WHOLE, IMPORTED, MAIN, EFFECTS, BODY, LAMBDA = (
    "*", "<import>", "__main__", "<effects>", "<main>", "<lambda>",
)  # fmt: skip
"""Parts of a module beside its names: all of it; what its import does; what ``python -m`` runs; its
own effects, in order; the body that only ``python -m`` runs; one lambda, followed by its line."""


class IdentityError(ValueError):
    """Code that names what cannot be found, or that mixes numbers with drawing."""


@dataclass(frozen=True)
class Binding:
    """What a name stands for where it was imported, or `None` of `module` for a local name.

    Parameters
    ----------
    module : str
        Dotted name of a module, of our packages or of others.
    name : str
        What is taken from it; empty: the module itself.
    """

    module: str
    name: str = ""

    @property
    def is_ours(self) -> bool:
        """True if it lies in `PACKAGES`."""
        return self.module.partition(".")[0] in PACKAGES

    @property
    def path(self) -> str:
        """Dotted path, however it was imported."""
        return f"{self.module}.{self.name}" if self.name else self.module


LOCAL = Binding("")
"""A name of a function, a class body or a notebook."""


@dataclass
class Module:
    """One source file, taken apart.

    Parameters
    ----------
    name : str
        Dotted.
    is_package : bool
        True for an ``__init__.py``.
    definitions : dict of str to list of ast.stmt
        Name to the statements that make it.
    imports : dict of str to Binding
    stars : list of str
        Modules from which all names are taken.
    effects : list of ast.stmt
    registered : list of str
        Definitions that a decorator or a base class may take when the module is imported.
    main : list of ast.stmt
        The body of ``if __name__ == "__main__"``.
    used, exported : set of str
        Names that its code uses, and those in ``__all__``.
    lambdas : dict of int to list of ast.Lambda
        By their line.
    loaded : list of str
        Modules of ours that are imported when it is.
    dotted : list of str
        Those of them that a statement such as ``import msr_utils.io`` names, which binds only the
        first word.
    """

    name: str
    is_package: bool
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, Binding] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    effects: list[ast.stmt] = field(default_factory=list)
    registered: list[str] = field(default_factory=list)
    main: list[ast.stmt] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    exported: set[str] = field(default_factory=set)
    lambdas: dict[int, list[ast.Lambda]] = field(default_factory=dict)
    loaded: list[str] = field(default_factory=list)
    dotted: list[str] = field(default_factory=list)

    @property
    def package(self) -> str:
        """The package that relative imports start from."""
        return self.name if self.is_package else self.name.rpartition(".")[0]


def imported(node: ast.stmt, package: str) -> Iterator[tuple[str, Binding]]:
    """Names that an import statement binds; a star is named ``*``."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.asname:
                yield alias.asname, Binding(alias.name)
            else:
                first = alias.name.partition(".")[0]
                yield first, Binding(first)
    elif isinstance(node, ast.ImportFrom):
        module = node.module or ""
        if node.level:
            above = package.split(".")
            above = above[: len(above) - node.level + 1]
            module = ".".join([*above, *([module] if module else [])])
        for alias in node.names:
            yield alias.asname or alias.name, Binding(module, alias.name)


def bound_names(nodes: Iterable[ast.AST], package: str) -> dict[str, Binding]:
    """Names that statements bind in their own scope: assigned, imported, defined."""
    found: dict[str, Binding] = {}
    elsewhere: set[str] = set()
    waiting: list[ast.AST] = list(nodes)
    while waiting:
        node = waiting.pop()
        match node:
            case ast.Name(ctx=ast.Store() | ast.Del()):
                found.setdefault(node.id, LOCAL)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.setdefault(node.name, LOCAL)
                waiting += node.decorator_list
                continue  # its body is a scope of its own
            case ast.Lambda():
                continue
            case ast.Import() | ast.ImportFrom():
                found |= dict(imported(node, package))
            case (
                ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
                | ast.MatchMapping(rest=str(name))
            ):
                found.setdefault(name, LOCAL)
            case ast.Global() | ast.Nonlocal():
                elsewhere |= set(node.names)
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                # Its targets are its own; what := binds is ours.
                walrus = [n.target for n in ast.walk(node) if isinstance(n, ast.NamedExpr)]
                waiting += walrus
                continue
        waiting += ast.iter_child_nodes(node)
    return {name: binding for name, binding in found.items() if name not in elsewhere}


def is_docstring(node: ast.AST) -> bool:
    """True for a text that stands alone: a docstring, also one below a constant."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def is_type_checking(node: ast.AST) -> bool:
    """True for ``if TYPE_CHECKING``, whose body never runs; not for any other condition."""
    match node:
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.If(test=ast.Attribute(value=ast.Name(), attr="TYPE_CHECKING")):
            return True
    return False


def _is_main(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


class SourceTree:
    """The modules of `PACKAGES` under a folder, parsed when they are asked for.

    Parameters
    ----------
    root : Path
        The folder that holds the packages.

    Raises
    ------
    IdentityError
        From its methods, if a module or a name in one is not there.
    """

    def __init__(self, root: Path = PROJECT_ROOT) -> None:
        self.root = Path(root)
        self._modules: dict[str, Module] = {}

    def names(self) -> list[str]:
        """Dotted names of all modules, sorted."""
        files = (p for package in PACKAGES for p in (self.root / package).rglob("*.py"))
        dotted = (file.relative_to(self.root).with_suffix("").parts for file in files)
        return sorted(".".join(parts).removesuffix(".__init__") for parts in dotted)

    def file(self, name: str) -> Path | None:
        """Source file of a module; None if there is none."""
        base = self.root.joinpath(*name.split("."))
        return next(
            (p for p in (base / "__init__.py", base.with_suffix(".py")) if p.is_file()), None
        )

    def module(self, name: str) -> Module:
        """A module, taken apart."""
        if name not in self._modules:
            file = self.file(name)
            if file is None:
                raise IdentityError(f"module {name!r} is not in {self.root.name}/")
            tree = ast.parse(file.read_text("utf-8"), filename=str(file))
            module = _take_apart(tree, Module(name, file.name == "__init__.py"))
            module.loaded = sorted(set(self._loaded(module)))
            self._modules[name] = module
        return self._modules[name]

    def _loaded(self, module: Module) -> Iterator[str]:
        """Modules of ours that a module imports at its top level."""
        yield from module.dotted
        yield from module.stars
        for binding in module.imports.values():
            if binding.is_ours and self.file(binding.module):
                yield binding.module
                if binding.name and self.file(binding.path):
                    yield binding.path

    def resolve(self, module: str, name: str, passed: list[str] | None = None) -> Binding:
        """Where a name of a module is defined: a definition, a module, or another package's.

        Re-exports are followed; the modules on the way are added to `passed`.
        """
        own = self.module(module)
        if passed is not None:
            passed.append(module)
        if name in own.definitions:
            return Binding(module, name)
        if name in own.imports:
            return self.follow(own.imports[name], passed)
        if self.file(f"{module}.{name}"):
            return Binding(f"{module}.{name}")
        for star in own.stars:
            try:
                return self.resolve(star, name, passed)
            except IdentityError:
                continue
        if "__getattr__" in own.definitions:
            return Binding(module, "__getattr__")
        raise IdentityError(f"{module} has no {name!r}")

    def follow(self, binding: Binding, passed: list[str] | None = None) -> Binding:
        """Where an import leads, as `resolve`; other packages' are left as they are."""
        if not binding.is_ours:
            return binding
        if not binding.name:
            self.module(binding.module)
            return binding
        return self.resolve(binding.module, binding.name, passed)


@cache
def project_tree() -> SourceTree:
    """The tree of this checkout, as it lies on the disk when it is first asked for."""
    return SourceTree()


def _take_apart(tree: ast.Module, module: Module) -> Module:
    for node in tree.body:
        _sort_in(node, module)
    module.used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    for inner in ast.walk(tree):
        if isinstance(inner, ast.Lambda):
            module.lambdas.setdefault(inner.lineno, []).append(inner)
    return module


def _sort_in(node: ast.stmt, module: Module) -> None:
    """File one statement of a module under definitions, imports or effects."""
    if is_docstring(node) or isinstance(node, ast.Pass):
        return
    if _is_main(node):
        module.main.append(node)
        return
    if isinstance(node, ast.If) and is_type_checking(node):
        for statement in node.body:
            module.imports = _imports_in(statement, module.package) | module.imports
        for statement in node.orelse:
            _sort_in(statement, module)
        return
    if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
        module.stars += [b.module for _, b in imported(node, module.package) if b.is_ours]
        return
    if isinstance(node, ast.Import | ast.ImportFrom):
        module.imports |= dict(imported(node, module.package))
        if isinstance(node, ast.Import):
            plain = [alias.name for alias in node.names if "." in alias.name and not alias.asname]
            module.dotted += [name for name in plain if Binding(name).is_ours]
        return
    imports = _imports_in(node, module.package)
    # A try that imports what may be missing makes its names, by each of its branches.
    names = [*bound_names([node], module.package)]
    module.imports |= imports
    if names == ["__all__"]:
        module.exported |= {str(n.value) for n in ast.walk(node) if isinstance(n, ast.Constant)}
        return
    for name in names:
        module.definitions.setdefault(name, []).append(node)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        if node.decorator_list or (
            isinstance(node, ast.ClassDef) and (node.bases or node.keywords)
        ):
            module.registered.append(node.name)  # whether by one of ours, the reader decides
        return
    altered = _altered(node)
    for name in (altered & set(module.definitions)) - set(names):
        module.definitions[name].append(node)
    # What is imported, or what a loop goes through, may be a thing of another module.
    elsewhere = altered & set(module.imports) | _altered(node, added=False) & set(names)
    if elsewhere or altered - set(module.definitions) or _acts(node) or not (names or altered):
        module.effects.append(node)


def _imports_in(node: ast.stmt, package: str) -> dict[str, Binding]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {}
    return {
        name: binding
        for statement in ast.walk(node)
        if isinstance(statement, ast.Import | ast.ImportFrom)
        for name, binding in imported(statement, package)
    }


def _altered(node: ast.stmt, added: bool = True) -> set[str]:
    """Names of which a statement sets an item or an attribute, or, if `added`, adds to.

    Also inside a block, such as a loop that fills a table.
    """
    found = set()
    for inner in ast.walk(node):
        match inner:
            case (
                ast.Subscript(ctx=ast.Store() | ast.Del())
                | ast.Attribute(ctx=ast.Store() | ast.Del())
            ):
                place: ast.AST = inner
                while isinstance(place, ast.Subscript | ast.Attribute):
                    place = place.value
            case ast.AugAssign() if added:
                place = inner.target
            case _:
                continue
        if isinstance(place, ast.Name):
            found.add(place.id)
    return found


def _acts(node: ast.stmt) -> bool:
    """True for a call that stands alone, also inside a block."""
    return any(isinstance(n, ast.Expr) and not is_docstring(n) for n in ast.walk(node)) or (
        isinstance(node, ast.Delete | ast.Assert)
    )
