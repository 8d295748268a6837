"""Pins in their file, also when many change at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from service.models.pins import Pins


def test_no_pin_is_lost_when_many_are_saved_at_once(tmp_path: Path) -> None:
    pins = Pins(tmp_path)
    wanted = {f"m{number}": f"{number:012x}" for number in range(32)}
    with ThreadPoolExecutor(32) as threads:
        saved = []
        for name, version in wanted.items():
            pins.change(name, version)
            saved.append(threads.submit(pins.save))
        for one in saved:
            one.result()
    assert Pins(tmp_path).load() == wanted


def test_a_save_that_comes_late_writes_what_was_told_last(tmp_path: Path) -> None:
    pins = Pins(tmp_path)
    pins.change("m", "a" * 12)
    pins.change("m", "b" * 12)
    pins.save()
    assert Pins(tmp_path).load() == {"m": "b" * 12}
    pins.change("m", None)
    pins.save()
    assert Pins(tmp_path).load() == {}


def test_pins_of_other_models_stay(tmp_path: Path) -> None:
    earlier = Pins(tmp_path)
    earlier.change("other", "c" * 12)
    earlier.save()
    pins = Pins(tmp_path)
    pins.change("m", "d" * 12)
    pins.save()
    assert Pins(tmp_path).load() == {"other": "c" * 12, "m": "d" * 12}
