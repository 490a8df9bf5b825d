"""Elements of HTML: what is text is escaped, once."""

import pytest

from frozenfinder.freezer.html import document, element, table

ODD = "<a href='x'> & \"b\""
ESCAPED = "&lt;a href=&#x27;x&#x27;&gt; &amp; &quot;b&quot;"


def test_text_is_escaped_in_an_element_and_an_element_is_not() -> None:
    assert element("p", ODD, element("b", ODD)) == f"<p>{ESCAPED}<b>{ESCAPED}</b></p>"


def test_text_that_an_element_was_made_part_of_is_text() -> None:
    assert element("p", f"see {element('b', 'x')}") == "<p>see &lt;b&gt;x&lt;/b&gt;</p>"


@pytest.mark.parametrize(
    ("name", "written"), [("title", "title"), ("class_", "class"), ("data_side", "data-side")]
)
def test_attributes_are_escaped_and_named_as_in_html(name: str, written: str) -> None:
    assert element("p", **{name: ODD}) == f'<p {written}="{ESCAPED}"></p>'


def test_a_table_has_its_numbers_to_the_right() -> None:
    assert table(("name", "size"), [(ODD, "1")], range(1, 2)) == (
        '<table><thead><tr><th>name</th><th class="number">size</th></tr></thead>'
        f'<tbody><tr><td>{ESCAPED}</td><td class="number">1</td></tr></tbody></table>'
    )


def test_the_title_of_a_document_is_escaped() -> None:
    page = document(ODD, element("h1", "head"))
    assert page.startswith("<!DOCTYPE html>\n")
    assert f"<title>{ESCAPED}</title>" in page
    assert "<body>\n<h1>head</h1>\n</body>" in page
