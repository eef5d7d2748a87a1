"""JSON that somebody else has written: what is wrong with it is said in words."""

from __future__ import annotations

import pytest
from comfyui_outpost.api.shapes import parse_json


@pytest.mark.parametrize(
    "text",
    ['{"name": "mine", "workflow_api": }', '{"name": "mine", "workflow_api":', '{"workflow_api": \n, "name": "x"}'],
)
def test_a_value_that_is_missing_is_named_by_what_it_is_of(text: str):
    with pytest.raises(ValueError, match=r"^is not JSON: 'workflow_api' has no value, at character \d+$"):
        parse_json(text)
    with pytest.raises(ValueError, match="'workflow_api' has no value"):
        parse_json(text.encode())


@pytest.mark.parametrize(
    "text", ["{oops", '{"deployment_id": "', "[1, ]", '{"secret key of mine": }', '{"a": NaN}', ""]
)
def test_what_is_wrong_otherwise_is_said_as_before(text: str):
    with pytest.raises(ValueError, match=r"^is not JSON: ") as caught:
        parse_json(text)

    assert "has no value" not in str(caught.value)
    assert "secret" not in str(caught.value)
