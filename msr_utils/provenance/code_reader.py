"""Code in a normal form, with what of our packages it names.

Comments, docstrings, annotations, formatting and import lines leave no trace. Texts of errors,
warnings and logs are kept apart, so that a new word in one is no new computation. An imported name
counts as what it stands for, however it was imported: ``np.fft.rfft`` and ``fft.rfft`` after
``from numpy import fft`` are the same text, and a definition of ours is named without its module.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from msr_utils.provenance.source_tree import (
    IMPORTED,
    LOCAL,
    MAIN,
    PACKAGES,
    WHOLE,
    Binding,
    IdentityError,
    SourceTree,
    bound_names,
    imported,
    is_docstring,
    is_type_checking,
)

Key = tuple[str, str]
"""Module and definition, or a part of a module; see `msr_utils.provenance.source_tree`."""

KNOWN = frozenset(dir(builtins)) | {
    "__file__", "__name__", "__doc__", "__package__", "__spec__", "__path__", "__class__",
    "__annotations__", "__builtins__", "display", "get_ipython",
}  # fmt: skip
"""Names that need no definition; the last two in notebooks."""

IGNORED_FIELDS = ("ctx", "type_comment", "type_params", "kind", "returns", "annotation", "simple")
"""Fields of syntax trees that change nothing, or not in every version of Python."""

LOADERS = ("importlib.import_module", "__import__", "runpy.run_module", "runpy.run_path")
"""What loads a module by its name."""

UNTRACEABLE_CALLS = ("eval", "exec", "globals")
"""What reaches names that the text of the code does not show."""

NOTEBOOK_DISPLAY = "_repr_"
"""How the methods begin by which objects show themselves in notebooks."""

MESSAGE_CALLS = re.compile(
    r"warnings\.warn|(?:.*[.@])?(?:log|logger|logging)"
    r"\.(?:debug|info|warning|error|critical|exception|log)"
)
"""Calls whose arguments are texts for people, as those of a ``raise``."""

DEFECT = "@Defect"
"""Its kind, by which code decides, comes before the text."""

FIELD_KINDS = ("ClassVar", "InitVar", "KW_ONLY")
"""Annotations that change what a dataclass does."""


@dataclass
class Reading:
    """What a piece of code says.

    Parameters
    ----------
    text : str
        Its normal form.
    names : list of Key
        What of our packages it names, in order.
    passed : list of str
        Modules of ours that its names lead through: importing them runs their effects.
    packages : set of str
        Other packages that it names.
    shown : list of Key
        What its classes name in ``_repr_html_`` and the like, which only notebooks call.
    messages : list of str
        Texts of its errors, warnings and logs, which are no part of `text`.
    """

    text: str = ""
    names: list[Key] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    packages: set[str] = field(default_factory=set)
    shown: list[Key] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


def read(
    tree: SourceTree,
    module: str,
    nodes: Sequence[ast.AST],
    scope: Mapping[str, Binding] | None = None,
) -> Reading:
    """Read statements or an expression of a module.

    Parameters
    ----------
    tree : SourceTree
    module : str
        Whose globals the code sees; of a notebook, which is no module of ours, its name.
    nodes : sequence of ast.AST
    scope : dict of str to Binding, optional
        Names around the code, as those of a notebook.

    Raises
    ------
    IdentityError
        If a name cannot be found, a module is loaded by a name that is computed, or code that
        computes uses `UNTRACEABLE_CALLS` or a method that begins with `NOTEBOOK_DISPLAY`.
    """
    reader = _Reader(tree, module, scope, nodes)
    reader.found.text = "".join(reader.write(node) for node in nodes)
    return reader.found


class _Reader:
    def __init__(
        self,
        tree: SourceTree,
        module: str,
        scope: Mapping[str, Binding] | None,
        nodes: Sequence[ast.AST],
    ) -> None:
        self.found = Reading()
        self._tree = tree
        self._module = module
        self._package = tree.module(module).package if tree.file(module) else module
        # (kind, names): what a class body binds is not seen by its methods.
        self._scopes = [("function", scope)] if scope else []
        # How an object shows itself may call how its parts do.
        self._shows = any(getattr(node, "name", "").startswith(NOTEBOOK_DISPLAY) for node in nodes)

    def write(self, node: object) -> str:
        """Normal form of a node, a list of nodes or a plain value."""
        if isinstance(node, list):
            return "[" + ",".join(filter(None, map(self.write, node))) + "]"
        if not isinstance(node, ast.AST):
            return repr(node)
        if is_docstring(node) or isinstance(node, ast.Pass):
            return ""
        if is_type_checking(node):
            otherwise = getattr(node, "orelse", [])
            return self.write(otherwise) if otherwise else ""
        special = getattr(self, f"_{type(node).__name__}", None)
        return special(node) if special else self._plain(node)

    def _plain(self, node: ast.AST) -> str:
        fields = (
            (name, value)
            for name, value in ast.iter_fields(node)
            if name not in IGNORED_FIELDS and value is not None and value != []
        )
        return f"{type(node).__name__}({','.join(f'{n}={self.write(v)}' for n, v in fields)})"

    # ------------------------------------------------------------------------------------ names

    def _Name(self, node: ast.Name) -> str:
        return self._chain(node, []) if isinstance(node.ctx, ast.Load) else node.id

    def _AugAssign(self, node: ast.AugAssign) -> str:
        target = node.target  # which is read, too
        added_to = self._chain(target, []) if isinstance(target, ast.Name) else self.write(target)
        return f"AugAssign({added_to},{self.write(node.op)},{self.write(node.value)})"

    def _Attribute(self, node: ast.Attribute) -> str:
        if node.attr.startswith(NOTEBOOK_DISPLAY) and not self._shows:
            raise IdentityError(
                f"{self._module}, line {node.lineno}: computes with {node.attr}, by which objects "
                "show themselves in notebooks; call a method of another name"
            )
        attributes, base = [node.attr], node.value
        while isinstance(base, ast.Attribute):
            attributes.insert(0, base.attr)
            base = base.value
        if isinstance(base, ast.Name):
            return self._chain(base, attributes)
        return f"{self.write(node.value)}.{node.attr}"

    def _chain(self, base: ast.Name, attributes: list[str]) -> str:
        """Text of ``base.attribute.attribute``; what it leads to is noted."""
        binding = self._look_up(base.id)
        if binding == LOCAL:
            return ".".join([base.id, *attributes])
        rest = list(attributes)
        if binding.is_ours:
            binding = self._tree.follow(binding, self.found.passed)
            while binding.is_ours and not binding.name and rest:
                if rest[0] in KNOWN:  # such as module.__file__
                    break
                binding = self._tree.resolve(binding.module, rest.pop(0), self.found.passed)
        if not binding.is_ours:
            self.found.packages.add(binding.module.partition(".")[0])
            return ".".join([binding.path, *rest])
        self.found.names.append((binding.module, binding.name or WHOLE))
        # A module as a value may be asked for any of its names.
        return ".".join([f"@{binding.name or WHOLE}", *rest])

    def _look_up(self, name: str) -> Binding:
        for depth, (kind, names) in enumerate(reversed(self._scopes)):
            if name in names and (kind == "function" or depth == 0):
                return names[name]
        if self._tree.file(self._module):
            own = self._tree.module(self._module)
            if name in own.definitions or name in own.imports or own.stars:
                try:
                    return self._tree.resolve(self._module, name, self.found.passed)
                except IdentityError:
                    if name in own.imports:
                        raise
        if name in KNOWN:
            return LOCAL
        raise IdentityError(f"{self._module}: nothing is called {name!r}")

    def _import(self, node: ast.Import | ast.ImportFrom) -> str:
        """Nothing, but in a block of a module, such as a try, which may bind its names or not."""
        if self._scopes or not self._tree.file(self._module):
            return ""
        found = []
        for name, binding in imported(node, self._package):
            if binding.is_ours:
                binding = self._tree.follow(binding, self.found.passed)
                self.found.names.append((binding.module, binding.name or WHOLE))
                found.append(f"{name}=@{binding.name or WHOLE}")
            else:
                self.found.packages.add(binding.module.partition(".")[0])
                found.append(f"{name}={binding.path}")
        return f"Import({','.join(found)})"

    _Import = _ImportFrom = _import

    # ----------------------------------------------------------------------------------- scopes

    def _inside(self, kind: str, names: dict[str, Binding], nodes: Iterable[object]) -> str:
        self._scopes.append((kind, names))
        try:
            return ",".join(filter(None, map(self.write, nodes)))
        finally:
            self._scopes.pop()

    def _FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
        decorators = self.write(node.decorator_list)
        arguments = self._arguments(node.args)
        if any(_registers(decorator) for decorator in node.decorator_list):
            # singledispatch chooses by the annotation of the first argument.
            first = [*node.args.posonlyargs, *node.args.args][:1]
            arguments += "".join(self.write(a.annotation) for a in first if a.annotation)
        names = _argument_names(node.args) | bound_names(node.body, self._package)
        self.found.names += silent_imports(self._tree, names, node.body)
        body = self._inside("function", names, node.body)
        return f"{type(node).__name__}({node.name},{decorators},{arguments},{body})"

    _AsyncFunctionDef = _FunctionDef

    def _Lambda(self, node: ast.Lambda) -> str:
        arguments = self._arguments(node.args)
        body = self._inside("function", _argument_names(node.args), [node.body])
        return f"Lambda({arguments},{body})"

    def _arguments(self, node: ast.arguments) -> str:
        """Names and defaults; the latter belong to the scope around."""
        return self._plain(node)

    def _ClassDef(self, node: ast.ClassDef) -> str:
        around = [self.write(part) for part in (node.decorator_list, node.bases, node.keywords)]
        body: list[ast.AST] = []
        for item in node.body:
            if isinstance(item, ast.FunctionDef) and item.name.startswith(NOTEBOOK_DISPLAY):
                self._show(item)
            elif isinstance(item, ast.AnnAssign):
                body.append(AnnotatedField(item, keep=bool(node.bases)))
            else:
                body.append(item)
        inner = self._inside("class", bound_names(node.body, self._package), body)
        return f"ClassDef({node.name},{','.join(around)},{inner})"

    def _show(self, method: ast.FunctionDef) -> None:
        """Read how a class shows itself in notebooks, apart from what it computes."""
        own = read(
            self._tree, self._module, [method], self._scopes[-1][1] if self._scopes else None
        )
        self.found.shown += own.names

    def _AnnotatedField(self, node: AnnotatedField) -> str:
        item = node.item
        words = {n.id for n in ast.walk(item.annotation) if isinstance(n, ast.Name)}
        words |= {n.attr for n in ast.walk(item.annotation) if isinstance(n, ast.Attribute)}
        kind = sorted(words & set(FIELD_KINDS))
        # Where a base may read them, annotations are code.
        annotation = self.write(item.annotation) if node.keep else ",".join(kind)
        value = self.write(item.value) if item.value else ""
        return f"Field({self.write(item.target)},{annotation},{value})"

    def _AnnAssign(self, node: ast.AnnAssign) -> str:
        if node.value is None:
            return ""
        return f"Assign(targets=[{self.write(node.target)}],value={self.write(node.value)})"

    def _comprehended(
        self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
    ) -> str:
        """Its first iterable belongs to the scope around, as Python has it; all else is inside."""
        first, *later = node.generators
        names = bound_names([each.target for each in node.generators], self._package)
        values = [getattr(node, part) for part in ("key", "value", "elt") if hasattr(node, part)]
        over = self.write(first.iter)
        inside = self._inside(
            "function", names, [first.target, first.ifs, first.is_async, *later, *values]
        )
        return f"{type(node).__name__}({over},{inside})"

    _ListComp = _SetComp = _DictComp = _GeneratorExp = _comprehended

    # ------------------------------------------------------------------ modules named by a text

    def _Call(self, node: ast.Call) -> str:
        called = self.write(node.func)
        if called in LOADERS:
            first = node.args[0] if node.args else None
            if not (isinstance(first, ast.Constant) and isinstance(first.value, str)):
                raise IdentityError(
                    f"{self._module}, line {node.lineno}: loads a module by a name that is "
                    "computed; import it by a statement, so that what is reached can be told"
                )
            if first.value.partition(".")[0] in PACKAGES:
                self.found.names.append((self._tree.module(first.value).name, WHOLE))
        if called in UNTRACEABLE_CALLS and isinstance(node.func, ast.Name):
            raise IdentityError(
                f"{self._module}, line {node.lineno}: {called}() reaches names that cannot be "
                "followed; name what it needs"
            )
        values = len(node.args)
        if MESSAGE_CALLS.fullmatch(called):
            values = 0
        elif called == DEFECT:
            values = 1
        args = self.write(node.args[:values]) + self._messages(node.args[values:])
        return f"Call({called},{args},{self.write(node.keywords)})"

    # ------------------------------------------------------------------------ texts for people

    def _Raise(self, node: ast.Raise) -> str:
        """An error is its class and its values; the text of its message is kept apart."""
        raised = node.exc
        if not isinstance(raised, ast.Call):
            return self._plain(node)
        text = f"{self.write(raised.func)},{self._messages(raised.args)}"
        cause = self.write(node.cause) if node.cause else ""
        return f"Raise({text},{self.write(raised.keywords)},{cause})"

    def _messages(self, nodes: Sequence[ast.expr]) -> str:
        return f"[{','.join(map(self._message, nodes))}]" if nodes else ""

    def _message(self, node: ast.expr) -> str:
        """An argument without its sentence.

        A text without a space is no sentence: it may be a name, such as that of a field or the
        kind of a defect, by which code decides. Values inside f-strings stay. They are computed,
        so they reach code, and they may fail.
        """
        match node:
            case ast.Constant(value=str(text)) if " " in text:
                self.found.messages.append(text)
                return "Text()"
            case ast.JoinedStr(values=[*parts]):
                texts = [str(p.value) for p in parts if isinstance(p, ast.Constant)]
                if any(" " in text for text in texts):
                    self.found.messages.append("{}".join(texts))
                    values = [part for part in parts if not isinstance(part, ast.Constant)]
                    return f"Text({','.join(map(self.write, values))})"
            case ast.BinOp(op=ast.Add()):
                return f"Add({self._message(node.left)},{self._message(node.right)})"
            case ast.IfExp():
                chosen = f"{self._message(node.body)},{self._message(node.orelse)}"
                return f"IfExp({self.write(node.test)},{chosen})"
        return self.write(node)

    # -------------------------------------------------------------------- commands and registries

    def _Registration(self, node: Registration) -> str:
        return f"Registered({node.name})"

    def _sequence(self, node: ast.List | ast.Tuple) -> str:
        """A command such as ``[python, "-m", "serve"]`` reaches what it runs."""
        texts = [n.value if isinstance(n, ast.Constant) else None for n in node.elts]
        for flag, name in zip(texts, texts[1:], strict=False):
            if flag == "-m" and isinstance(name, str) and name.partition(".")[0] in PACKAGES:
                run = f"{name}.__main__" if self._tree.module(name).is_package else name
                self.found.names.append((self._tree.module(run).name, MAIN))
        return self._plain(node)

    _List = _Tuple = _sequence


def silent_imports(
    tree: SourceTree, names: Mapping[str, Binding], nodes: Iterable[ast.AST]
) -> list[Key]:
    """Modules of ours that code imports and never names: imported for what that does."""
    ours = {name: tree.follow(b) for name, b in names.items() if b.is_ours}
    modules = {name: b.module for name, b in ours.items() if not b.name}
    if not modules:
        return []
    used = {n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name)}
    return [(module, IMPORTED) for name, module in modules.items() if name not in used]


class AnnotatedField(ast.AST):
    """A field of a class: its annotation makes it one, and is not dropped."""

    def __init__(self, item: ast.AnnAssign, keep: bool) -> None:
        super().__init__()
        self.item, self.keep = item, keep


class Registration(ast.AST):
    """The moment at which a definition is registered, among the effects of its module."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


def _registers(decorator: ast.expr) -> bool:
    """True for ``@f.register``, also where it is called."""
    named = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(named, ast.Attribute) and named.attr == "register"


def _argument_names(node: ast.arguments) -> dict[str, Binding]:
    every = [*node.posonlyargs, *node.args, *node.kwonlyargs, node.vararg, node.kwarg]
    return {argument.arg: LOCAL for argument in every if argument is not None}
