"""Which names of the notebook a cell reads, and which it assigns."""

import ast
import symtable
from collections.abc import Iterable
from dataclasses import dataclass, field

BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.TryStar, ast.With, ast.AsyncWith, ast.Match)
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass
class Names:
    """Names of a piece of source.

    now: read as it runs, not surely assigned before. later: read by functions and classes defined in it.
    assigned: its variables, in order; not what it imports and defines, no loop's own.
    modules: the roots of what it imports.
    """

    now: set[str] = field(default_factory=set)
    later: set[str] = field(default_factory=set)
    assigned: dict[str, None] = field(default_factory=dict)
    bound: set[str] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)
    imports_all: bool = False

    @property
    def needed(self) -> set[str]:
        """What has to be there: what is read first, and what its functions read and it does not bind itself."""
        return self.now | (self.later - self.bound)


def read(source: str) -> Names:
    """The names of a cell. Raises: SyntaxError."""
    tree = ast.parse(source)
    names = Names()
    _block(tree.body, set(), names)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.modules.add(node.module.partition(".")[0])
            names.imports_all = names.imports_all or any(alias.name == "*" for alias in node.names)
    return names


def _block(statements: Iterable[ast.stmt], sure: set[str], names: Names) -> set[str]:
    """Read statements in their order. sure: what is assigned for sure before; returns it for after."""
    for statement in statements:
        if isinstance(statement, DEFINITIONS):
            _definition(statement, sure, names)
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            bound = {(alias.asname or alias.name).partition(".")[0] for alias in statement.names}
            names.bound |= bound
            sure |= bound
        elif isinstance(statement, BRANCHES):
            _branches(statement, sure, names)
        else:
            names.now |= _read_by(statement) - sure
            _assign(_stored(statement), sure, names)
    return sure


def _definition(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, sure: set[str], names: Names) -> None:
    outer: list[ast.expr] = list(node.decorator_list)
    if isinstance(node, ast.ClassDef):
        outer += [*node.bases, *(keyword.value for keyword in node.keywords)]
    else:
        outer += [*node.args.defaults, *(default for default in node.args.kw_defaults if default)]
    for expression in outer:
        names.now |= _read_by(expression) - sure
    names.later |= _read_by(node) - {node.name}
    names.bound.add(node.name)
    sure.add(node.name)


def _branches(node: ast.stmt, sure: set[str], names: Names) -> None:
    """A statement with blocks inside: what only some ways through it assign is not sure afterwards."""
    if isinstance(node, ast.With | ast.AsyncWith):
        for item in node.items:
            names.now |= _read_by(item.context_expr) - sure
            if item.optional_vars:
                _bind(_targets(item.optional_vars), sure, names)
        _block(node.body, sure, names)
    elif isinstance(node, ast.If):
        names.now |= _read_by(node.test) - sure
        _assign(_stored(node.test), sure, names)
        ways = [_block(node.body, set(sure), names), _block(node.orelse, set(sure), names)]
        sure |= ways[0] & ways[1]
    elif isinstance(node, ast.For | ast.AsyncFor):
        names.now |= _read_by(node.iter) - sure
        inside = set(sure)
        _bind(_targets(node.target), inside, names)
        _block([*node.body, *node.orelse], inside, names)
    elif isinstance(node, ast.While):
        names.now |= _read_by(node.test) - sure
        _block([*node.body, *node.orelse], set(sure), names)
    elif isinstance(node, ast.Try | ast.TryStar):
        done = _block([*node.body, *node.orelse], set(sure), names)
        for handler in node.handlers:
            names.now |= (_read_by(handler.type) if handler.type else set()) - sure
            caught = set(sure) | ({handler.name} if handler.name else set())
            done &= _block(handler.body, caught, names)
        sure |= done
        _block(node.finalbody, sure, names)
    elif isinstance(node, ast.Match):
        names.now |= _read_by(node.subject) - sure
        for case in node.cases:
            captured = {
                pattern.name
                for pattern in ast.walk(case.pattern)
                if isinstance(pattern, ast.MatchAs | ast.MatchStar) and pattern.name
            }
            tested = {each.id for each in ast.walk(case.pattern) if isinstance(each, ast.Name)}
            names.now |= (tested | (_read_by(case.guard) if case.guard else set())) - sure - captured
            _bind(captured, inside := set(sure), names)
            _block(case.body, inside, names)


def _assign(stored: Iterable[str], sure: set[str], names: Names) -> None:
    stored = list(stored)
    names.assigned |= dict.fromkeys(stored)
    _bind(stored, sure, names)


def _bind(stored: Iterable[str], sure: set[str], names: Names) -> None:
    """What a `for`, a `with` or a `case` names is for the block below it: no result of the cell."""
    names.bound.update(stored)
    sure.update(stored)


def _stored(node: ast.AST) -> list[str]:
    """The variables that a simple statement assigns, at the top level of the cell."""
    if isinstance(node, ast.Assign):
        return [name for target in node.targets for name in _targets(target)] + _walrus(node.value)
    if isinstance(node, ast.AugAssign | ast.AnnAssign):
        has_value = isinstance(node, ast.AugAssign) or node.value is not None
        return _targets(node.target) if has_value else []
    return _walrus(node)


def _targets(node: ast.expr) -> list[str]:
    return [each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)]


def _walrus(node: ast.AST) -> list[str]:
    return [each.target.id for each in ast.walk(node) if isinstance(each, ast.NamedExpr)]


def _read_by(node: ast.AST) -> set[str]:
    """The names of the module that a statement, a definition or an expression reads, inner scopes included."""
    as_statement = node if isinstance(node, ast.stmt) else ast.Expr(value=node)  # type: ignore[arg-type]
    if isinstance(node, ast.Delete):
        return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    if isinstance(node, ast.AugAssign):
        return _read_by(node.value) | {each.id for each in ast.walk(node.target) if isinstance(each, ast.Name)}
    return _of_table(symtable.symtable(ast.unparse(as_statement), "<cell>", "exec"))


def _of_table(table: symtable.SymbolTable) -> set[str]:
    is_module = table.get_type() == "module"
    found = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_referenced() and (is_module or symbol.is_global())
    }
    for child in table.get_children():
        found |= _of_table(child)
    return found
