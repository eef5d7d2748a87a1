"""Sockets that a node's class does not know, as ComfyUI's versions ask for them."""

from __future__ import annotations

import json
import operator

import pytest
from comfyui_outpost.api.errors import InvalidInput
from comfyui_outpost.nodes.open_sockets import MAX_OUTPUTS, AnyInputs, OpenTypes, deployment_values, open_lists
from comfyui_outpost.nodes.slots import names_in

TYPES = OpenTypes(("IMAGE", "MASK"))


def test_a_socket_of_a_deployment_fits_whatever_it_is_connected_to():
    for wanted in ("LATENT", "STRING", "*", ["a", "combo"]):
        assert operator.ne(TYPES[2], wanted) is False
        assert operator.ne(TYPES[MAX_OUTPUTS + 1], wanted) is False
    assert TYPES[0] != "LATENT"
    assert (TYPES[0], TYPES[1], str(TYPES[2])) == ("IMAGE", "MASK", "*")


def test_the_page_is_told_of_the_fixed_ones_only():
    assert json.dumps(TYPES) == '["IMAGE", "MASK"]'
    assert list(TYPES) == ["IMAGE", "MASK"]


def test_when_an_input_is_blocked_all_outputs_can_be():
    assert len([None] * len(TYPES)) == len(open_lists(True, False)) == 2 + MAX_OUTPUTS
    assert open_lists(True, False)[1:4] == (False, True, True)


def test_an_output_beyond_all_of_them_does_not_exist():
    with pytest.raises(IndexError):
        TYPES[MAX_OUTPUTS + 2]


def test_any_input_is_there_and_only_the_nodes_own_are_listed():
    inputs = AnyInputs({"outputs": ("STRING", {})})
    assert "anything" in inputs and list(inputs) == ["outputs"]
    assert (inputs["outputs"][0], inputs["anything"][0]) == ("STRING", "*")


def test_values_have_the_ids_of_the_deployments_inputs():
    given = {"image": 1, "image:alpha": 2, "input:outputs": 3, "6.text": 4, "input:input:x": 5}
    assert deployment_values(given) == {"image": 1, "image:alpha": 2, "outputs": 3, "6.text": 4, "input:x": 5}


def test_the_names_of_outputs_are_a_list_of_texts():
    assert names_in("") == names_in("[]") == []
    assert names_in('["inverted", "7", "ü"]') == ["inverted", "7", "ü"]


@pytest.mark.parametrize("text", ["inverted", "{}", "[1]", '["a"', "[" * 100_000, '"a"', json.dumps(["a"] * 101)])
def test_what_is_no_list_of_names_is_told(text: str):
    with pytest.raises(InvalidInput) as caught:
        names_in(text)
    assert caught.value.input_id == "outputs"
    assert len(str(caught.value)) < 500
