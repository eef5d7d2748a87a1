"""The texts of the page: what scripts show is there, and what is there is shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
TEXTS = json.loads((WEB / "texts.json").read_text(encoding="utf-8"))
SCRIPTS = {path: path.read_text(encoding="utf-8") for path in WEB.rglob("*.js") if path.parent.name != "vendor"}
CODE = "\n".join(SCRIPTS.values())
# Parts of keys that a script reads from what the platform answers, such as the status of a run.
ANSWERS = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "api").rglob("*.py"))
WHOLE = set(re.findall(r'"([\w.-]+)"', CODE))
PATTERNS = {
    key: re.compile(re.sub(r"\$\{[^}]*\}", "([\\\\w.-]*)", key.replace(".", r"\.")))
    for key in re.findall(r"\bt\(\s*`([^`]+)`", CODE) + re.findall(r"`((?:\w+\.)+\$\{[^`]+)`", CODE)
    if re.match(r"\w+\.", key)
}


def test_every_text_that_a_script_shows_is_there() -> None:
    shown = set(re.findall(r'\bt\(\s*"([^"]+)"', CODE))
    assert len(shown) > 100
    assert shown - TEXTS.keys() == set()
    assert [key for key, pattern in PATTERNS.items() if not any(map(pattern.fullmatch, TEXTS))] == []


def test_every_text_that_is_there_is_shown() -> None:
    words = set(re.findall(r"[\w-]+", CODE + ANSWERS))

    def is_shown(key: str) -> bool:
        found = (pattern.fullmatch(key) for pattern in PATTERNS.values())
        return key in WHOLE or any(match and all(part in {"", *words} for part in match.groups()) for match in found)

    assert [key for key in TEXTS if not is_shown(key)] == []


def test_texts_for_one_and_many_are_complete_and_name_the_same_values() -> None:
    for key, text in TEXTS.items():
        if isinstance(text, str):
            continue
        assert text.keys() == {"one", "other"}, key
        one, other = (set(re.findall(r"\{(\w+)\}", text[form])) for form in ("one", "other"))
        assert one - {"count"} == other - {"count"}, key


def test_a_text_that_tells_a_count_has_a_form_for_one() -> None:
    assert [key for key, text in TEXTS.items() if isinstance(text, str) and "{count}" in text] == []


def test_a_script_that_is_loaded_shows_no_text_before_texts_are_read() -> None:
    at_once = r"^(?:export )?const \w+ =(?: [^=>\n]*)?\bt\("
    assert [str(path) for path, code in SCRIPTS.items() if re.search(at_once, code, re.MULTILINE)] == []
