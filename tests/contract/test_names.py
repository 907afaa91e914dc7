"""Names are plain: the glossary lists the words that exist, no class name is used twice, and values are called by nouns."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from bot.domain.events import EVENTS

ROOT = Path(__file__).parents[2]
PACKAGES = ("bot", "checks", "clients", "sandbox")
GLOSSARY = ROOT / "docs" / "glossary.md"

# Verb forms that say nothing about a value when they stand alone. Adjectives with a settled meaning, such as `expected`,
# `cancelled` and `done`, are not among them.
_VERB_FORMS = """
applied asked asks begun begins beside bound broken built chosen comes counted ended ends found gave given gives goes gone heard
held holding holds kept known lacking leaves left listed lost made makes meant named needed offered opened owed owing passed
presented pressed reached recorded refused resolved runs said saved says seen sent settled shown shows signed standing stands
started stays stored taken takes told tried tries typed used waited waiting waits wanted watched went written
"""
# Their share in percent of all names that are bound. The limits are what is true today: they only ever get smaller.
_LIMITS = {"bot": 0.2, "checks": 0.6, "clients": 0.7, "sandbox": 0.1, "tests": 0.1}


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _modules(*packages: str) -> Iterator[Path]:
    for package in packages:
        yield from sorted((ROOT / package).rglob("*.py"))


def _split(name: str) -> Iterator[str]:
    """The words of a name in camel case, snake case or with dots."""
    for part in re.split(r"[_.]", name):
        yield from (word.lower() for word in re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+", part))


def _classes() -> dict[str, list[str]]:
    """Each top-level class or type alias with the modules that define it."""
    modules = defaultdict(list)
    for file in _modules(*PACKAGES):
        for node in _tree(file).body:
            if isinstance(node, ast.ClassDef):
                modules[node.name].append(str(file.relative_to(ROOT)))
            elif isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias":
                modules[ast.unparse(node.target)].append(str(file.relative_to(ROOT)))
    return modules


def _names() -> Iterator[str]:
    """The names of all classes, modules, tables and events."""
    yield from _classes()
    yield from (file.stem for file in _modules(*PACKAGES))
    for migration in sorted((ROOT / "bot" / "store" / "migrations").glob("*.sql")):
        text = migration.read_text(encoding="utf-8")
        yield from re.findall(r"CREATE TABLE (\w+)", text)
    yield from EVENTS


def _singular(word: str) -> set[str]:
    """The word itself, and what it is the plural or third person of."""
    forms = {word, word.removesuffix("s"), word.removesuffix("es")}
    return forms | ({f"{word[:-3]}y"} if word.endswith("ies") else set())


def _terms() -> list[str]:
    text = GLOSSARY.read_text(encoding="utf-8").partition("## Terms")[2].partition("\n## ")[0]
    return [
        term.strip().lower()
        for term in re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)
        if term.strip("- ") != "" and term != "term"
    ]


def _general_words() -> list[str]:
    text = GLOSSARY.read_text(encoding="utf-8").partition("## General words")[2].partition("\n## ")[0]
    return re.findall(r"\b[a-z]+\b", text.partition("\n\n")[2].partition("\n\n")[2])


def test_no_class_name_is_used_twice():
    """Each class and type alias of the four packages has a name of its own."""
    assert {name: modules for name, modules in _classes().items() if len(modules) > 1} == {}


def test_each_word_in_a_name_is_in_the_glossary():
    """Classes, modules, tables and events are named with the terms of the glossary and with general words, and no others."""
    words = {word for term in _terms() for word in re.findall(r"[a-z]+", term)} | set(_general_words())
    unknown = {word: name for name in _names() for word in _split(name) if not _singular(word) & words}
    assert unknown == {}


def test_each_word_of_the_glossary_has_one_place_and_is_used():
    """No term is explained twice or is also a general word, and none is listed that no name uses."""
    terms, general = _terms(), _general_words()
    in_use = {form for name in _names() for word in _split(name) for form in _singular(word)}
    assert sorted(terms) == sorted(set(terms))
    assert sorted(general) == sorted(set(general))
    assert set(terms) & set(general) == set()
    assert [word for word in general if word not in in_use] == []


def _bound_names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name


@pytest.mark.parametrize("package", _LIMITS)
def test_values_are_named_by_nouns(package):
    """Hardly any variable, parameter or function is called by a bare verb form such as `found` or `said`."""
    verb_forms = set(_VERB_FORMS.split())
    names = [(name, file) for file in _modules(package) for name in _bound_names(_tree(file))]
    bare = sorted(f"{file.relative_to(ROOT)}: {name}" for name, file in names if name.strip("_").lower() in verb_forms)
    assert 100 * len(bare) / len(names) <= _LIMITS[package], bare
