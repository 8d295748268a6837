from pathlib import Path

from service.settings_doc import document, rows

SETTINGS = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_is_what_the_code_says() -> None:
    assert SETTINGS.read_text() == document(), "run `make docs`"


def test_every_setting_is_described() -> None:
    assert all(row.description for row in rows())
