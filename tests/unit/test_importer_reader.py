"""Reading a template in Markdown keeps all that is in it: links, code, comments, sentences and which line is under which."""

from bot.importer.read import read_template
from bot.importer.template import Note, TemplateLine
from bot.importer.words import Words

TEMPLATE = """---
name: Release
labels: [release]
---
# Release <!-- of the library -->
Read [the runbook](docs/run.md) first.

## Publish
- Packages:
  1. [ ] Upload **both** to [PyPI](https://pypi.org/p "the index") with `twine`
     and wait for \\[it\\].

     ```sh
     twine upload dist/*
     ```
     <!-- ask Ann
          for the token -->
     - [ ] Tag <version>
  2. Write to <https://example.org/list>

<!-- done by hand --> - [ ] Announce
"""


def lines_of(text: str) -> dict[str, TemplateLine]:
    """All lines of a template by their text."""
    return {line.words.text: line for block in read_template(text).blocks for line in block.lines}


def test_no_part_of_a_template_is_lost() -> None:
    """Everything that belongs to a line or heading is kept with it, and each line knows its parent."""
    template = read_template(TEMPLATE)
    lines = lines_of(TEMPLATE)
    assert template.front_matter == {"name": "Release", "labels": ["release"]}
    assert [block.heading.text for block in template.blocks] == ["", "Release", "Publish"]
    assert list(lines) == [
        "Packages:",
        "Upload both to PyPI with twine",
        "Tag <version>",
        "Write to https://example.org/list",
        "Announce",
    ]
    upload = lines["Upload both to PyPI with twine"]
    assert upload.words.with_code == "Upload both to PyPI with `twine`"
    assert upload.words.links == (("PyPI", "https://pypi.org/p"),)
    assert (upload.number, upload.is_numbered, upload.parent) == (10, False, lines["Packages:"])
    assert [(note.kind, note.words.text.strip()) for note in upload.notes] == [
        ("text", "and wait for [it]."),
        ("code", "twine upload dist/*"),
        ("comment", "<!-- ask Ann\n     for the token -->"),
    ]
    assert lines["Tag <version>"].parent is upload
    assert lines["Write to https://example.org/list"].is_numbered
    assert lines["Write to https://example.org/list"].words.links == (
        ("https://example.org/list", "https://example.org/list"),
    )
    assert template.blocks[0].notes == [Note("comment", Words("<!-- of the library -->", "<!-- of the library -->"))]
    (runbook,) = template.blocks[1].notes
    assert runbook.words.links == (("the runbook", "docs/run.md"),)
    assert template.blocks[2].notes[0].words.text == "<!-- done by hand -->"


def test_a_row_keeps_all_its_cells() -> None:
    """A row keeps the cells of all columns by name, also those that the bot does not use."""
    text = "| # | Check | Expected | Owner |\n|--|--|--|--|\n| 1 | [ ] `a\\|b` | [green](x) | @ann |\n"
    (row,) = lines_of(text).values()
    assert row.words == Words("a|b", "`a|b`")
    assert {name: words.text for name, words in row.cells.items()} == {
        "#": "1",
        "Check": "a|b",
        "Expected": "green",
        "Owner": "@ann",
    }
    assert row.expected.links == (("green", "x"),)


def test_columns_may_have_no_name() -> None:
    """A table with an empty head is read, as is common where the first column holds the boxes."""
    assert list(lines_of("|  |  |\n|--|--|\n| [ ] | Backup |\n")) == ["Backup"]


def test_brackets_that_are_no_boxes_are_ignored() -> None:
    """Brackets in code, behind a backslash, in a link or in a word are no boxes; two on one line are two."""
    text = "- [ ] Mark `[ ]` and \\[ ] and [x](y) and a[ ]\n- [ ] one [ ] two\n\n      - [ ] code\n"
    template = read_template(text)
    assert [line.words.text for block in template.blocks for line in block.tasks] == [
        "Mark [ ] and [ ] and x and a[ ]", "one", "two",
    ]  # fmt: skip
    assert template.hidden_boxes == 1


def test_deep_and_long_templates_are_read() -> None:
    """Forty levels and ten thousand boxes are read whole."""
    deep = "\n".join(f"{'  ' * level}- [ ] {level}" for level in range(40))
    assert len(lines_of(deep)) == 40
    assert len(lines_of("\n".join(f"- [ ] line {number}" for number in range(10_000)))) == 10_000
