"""What a machine lacks for a graph: named for each node, with what it has instead."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from comfyui_outpost.api.models import Lack
from comfyui_outpost.api.server import preflight
from comfyui_outpost.api.server.alike import Guide, Names
from comfyui_outpost.api.server.graph import classes_of, draft_graph
from comfyui_outpost.api.server.preflight import MAX_LACKS, as_failure, input_behind, lacks_of
from comfyui_outpost.tests.fakes.comfyui import STOCK, node_class
from comfyui_outpost.tests.machines.jobs import IMAGE_URL, INVERT, SAVE, SIGNATURE, Graph, external, node

INFO = STOCK | {
    "Sampler": node_class(output=True, sampler_name=[["euler", "euler_ancestral", "dpmpp_2m"]], steps=["INT", {}]),
    "Lora": node_class(output=True, lora_name=["COMBO", {"options": [f"styles/{n}.safetensors" for n in range(30)]}]),
    "Numbers": node_class(output=True, size=[[256, 512]], flag=[[True, False]]),
    "Several": node_class(output=True, sizes=["COMBO", {"multiselect": True, "options": ["s", "m", "l"]}]),
    "Grows": node_class(
        output=True,
        images=["COMFY_AUTOGROW_V3", {"template": {"input": {"required": {"image": ["IMAGE", {}]}}}}],
        style=["COMFY_DYNAMICCOMBO_V3", {"options": []}],
        slot=["COMFY_DYNAMICSLOT_V3", {}],
        any=["COMFY_MATCHTYPE_V3", {}],
    ),
}


class Counted(list[Any]):
    """Counts how often somebody looks through it."""

    times = 0

    def __iter__(self) -> Iterator[Any]:
        self.times += 1
        return super().__iter__()

    def __contains__(self, value: Any) -> bool:
        self.times += 1
        return super().__contains__(value)


def lacks(graph: Graph, inputs: Any = None, info: Any = INFO) -> list[Lack]:
    return lacks_of(graph, inputs, info, INFO.keys())


def save(source: str) -> Graph:
    return node("SaveImage", images=[source, 0], filename_prefix="x")


class TestNodeClasses:
    def test_a_class_that_is_lacking_is_named_with_those_that_are_written_alike(self):
        [lack] = lacks({"4": node("CheckpointLoaderSimpel"), "5": save("4")})
        assert (lack.node_id, lack.node_class, lack.kind) == ("4", "CheckpointLoaderSimpel", "node_class")
        assert lack.near == ["CheckpointLoaderSimple"]
        assert lack.message == (
            "node 4 needs the node class 'CheckpointLoaderSimpel', which is not on this machine. "
            "Written alike there: 'CheckpointLoaderSimple'"
        )
        assert (lack.input_name, lack.value) == (None, None)

    def test_without_anything_alike_it_is_said_what_to_do(self):
        [lack] = lacks({"4": node("FancyUpscaler")})
        assert lack.near == []
        assert lack.message.endswith("is not on this machine. Install what brings it, or use another machine")

    def test_every_class_that_is_lacking_is_named_and_not_only_the_first(self):
        found = lacks({"1": node("Foo"), "2": node("Bar", x=["1", 0]), "3": save("2")})
        assert [lack.node_id for lack in found] == ["1", "2"]

    def test_what_no_output_depends_on_is_of_no_importance(self):
        assert lacks({**SAVE, "9": node("CheckpointLoaderSimple", ckpt_name="gone.safetensors")}) == []

    def test_what_stands_in_for_an_external_node_is_named_with_that_node(self):
        graph = {"7": external("Video", "clip"), "8": save("7")}
        assert lacks(graph) == []
        [lack] = lacks(graph, info={name: info for name, info in INFO.items() if name != "LoadVideo"})
        assert (lack.node_id, lack.node_class) == ("7", "LoadVideo")

    def test_a_run_that_slipped_through_fails_with_the_same_words(self):
        found = lacks({"1": node("ImageInvrt"), "2": node("Bar", image=["1", 0]), "3": save("2")})
        failure = as_failure(found)
        assert (failure.node_id, failure.node_class) == ("1", "ImageInvrt")
        assert "Written alike there: 'ImageInvert'" in failure.message
        assert "'Bar'" in failure.message


class TestChoices:
    def test_a_model_that_is_lacking_is_named_with_those_that_are_written_alike(self):
        graph = {"4": node("CheckpointLoaderSimple", ckpt_name="Plane.safetensors"), "5": save("4")}
        [lack] = lacks(graph)
        assert (lack.kind, lack.input_name, lack.value) == ("choice", "ckpt_name", "Plane.safetensors")
        assert lack.near == ["plain.safetensors"]
        assert lack.message == (
            "node 4 (CheckpointLoaderSimple) needs ckpt_name 'Plane.safetensors', which is not on this machine. "
            "Written alike there: 'plain.safetensors'"
        )

    @pytest.mark.parametrize(
        ("there", "instead"),
        [
            ([], "It has none"),
            (["other.ckpt"], "It has: 'other.ckpt'"),
            (["a.ckpt", "b.ckpt", "c.ckpt"], "It has: 'a.ckpt', 'b.ckpt', 'c.ckpt'"),
            ([f"{n}.ckpt" for n in range(17)], "It has 17 others"),
        ],
    )
    def test_where_nothing_is_written_alike_a_few_are_named_and_many_are_counted(self, there: Any, instead: str):
        [lack] = lacks({"1": node("Loader", name="flux-dev")}, info={"Loader": node_class(output=True, name=[there])})
        assert lack.near == []
        assert lack.message == f"node 1 (Loader) needs name 'flux-dev', which is not on this machine. {instead}"

    @pytest.mark.parametrize("name", ["nowhere", "models\\29.ckpt", "models/29.ckpt"])
    def test_they_are_looked_through_once_however_many_nodes_ask(self, name: str):
        choices = Counted(f"models\\{number}.ckpt" for number in range(30))
        info = {"Loader": node_class(output=True, name=[choices])}
        graph = {str(number): node("Loader", name=name) for number in range(300)}
        found = lacks(graph, info=info)
        assert len(found) == (MAX_LACKS if name == "nowhere" else 0)
        assert choices.times < 10
        choices.times = 0
        assert draft_graph(graph, {}, info).unmatched == ({"Loader"} if found else set())
        assert choices.times < 10

    @pytest.mark.parametrize("name", ["xl\\base.safetensors", "xl/base.safetensors", "plain.safetensors"])
    def test_a_model_that_is_there_is_not_lacking_whatever_its_separators(self, name: str):
        assert lacks({"4": node("CheckpointLoaderSimple", ckpt_name=name), "5": save("4")}) == []

    def test_a_model_in_another_folder_is_near(self):
        names = Names(["a/other.safetensors", "xl\\base.safetensors"])
        assert names.near("base.safetensors") == ["xl\\base.safetensors"]

    def test_a_suffix_makes_no_two_names_alike(self):
        assert Names(["juggernaut.safetensors", "sd15.safetensors"]).near("flux.safetensors") == []

    def test_at_most_three_are_near(self):
        assert len(Names(f"model{n}" for n in range(10)).near("model")) == 3

    def test_for_the_first_few_names_only(self):
        guide, names = Guide(2), ["one", "two", "three"]
        assert [guide.near(asked, names) for asked in ("onee", "onee", "twoo", "thre")] == [
            ["one"],
            ["one"],
            ["two"],
            [],
        ]

    def test_a_sampler_is_a_choice_in_the_older_form_as_in_the_newer_one(self):
        [sampler, lora] = lacks({"1": node("Sampler", sampler_name="euller", steps=1), "2": node("Lora", lora_name="")})
        assert sampler.near[0] == "euler"
        assert lora.message.endswith("lora_name '', which is not on this machine. It has 30 others")

    def test_numbers_and_booleans_are_choices_too(self):
        assert lacks({"1": node("Numbers", size=512, flag=True)}) == []
        [lack] = lacks({"1": node("Numbers", size=300, flag=False)})
        assert (lack.input_name, lack.value) == ("size", "300")

    def test_of_several_choices_each_has_to_be_there(self):
        assert lacks({"1": node("Several", sizes={"__value__": ["s", "l"]})}) == []
        [lack] = lacks({"1": node("Several", sizes={"__value__": ["s", "xl", "l"]})})
        assert lack.value == "xl"

    @pytest.mark.parametrize("name", ["photo.png", "a [output]", ""])
    def test_a_file_that_can_be_uploaded_is_no_choice(self, name: str):
        assert lacks({"1": node("LoadImage", image=name), "2": save("1")}) == []

    def test_a_file_in_another_folder_is_never_among_the_choices(self):
        info = {"LoadLatent": node_class(output=True, latent=[["a.latent"]])}
        assert lacks({"1": node("LoadLatent", latent="ComfyUI_00001_.latent [output]")}, info=info) == []
        assert len(lacks({"1": node("LoadLatent", latent="b.latent")}, info=info)) == 1
        assert lacks({"1": node("LoadLatent", latent="b.latent [temp]")}, info={"LoadLatent": NO_LATENTS}) == []

    def test_what_chooses_among_no_files_takes_none_from_another_folder(self):
        [lack] = lacks({"1": node("Sampler", sampler_name="euler [output]", steps=1)})
        assert lack.value == "euler [output]"

    def test_what_is_no_text_or_number_is_left_to_the_node(self):
        info = {"Odd": node_class(output=True, shape=[[[1, 2], {"a": 1}]])}
        assert lacks({"1": node("Odd", shape={"__value__": [[1, 2]]})}, info=info) == []
        assert len(lacks({"1": node("Numbers", size=[[256]], flag=True)})) == 1


class TestRequiredInputs:
    def test_an_input_that_is_not_given_is_named(self):
        [lack] = lacks({"1": node("EmptyImage", width=8, height=8), "2": node("SaveImage", filename_prefix="x")})
        assert (lack.node_id, lack.kind, lack.input_name) == ("2", "required_input", "images")
        assert lack.message == "node 2 (SaveImage): the input 'images' is missing, and the node cannot do without it"

    def test_a_connection_to_a_node_that_is_not_there_is_one_that_is_lacking(self):
        [lack] = lacks({"2": save("1")})
        assert (lack.kind, lack.input_name) == ("required_input", "images")
        assert "comes from node 1, which is not there" in lack.message

    def test_inputs_that_grow_with_the_graph_may_be_absent_and_those_that_match_may_not(self):
        [lack] = lacks({"1": node("Grows")})
        assert lack.input_name == "any"
        assert (
            lacks({"1": node("Grows", any=1, **{"images.image0": ["2", 0]}), "2": node("ImageInvert", image=1)}) == []
        )

    def test_optional_and_hidden_ones_may_be_absent(self):
        info = {"X": {"input": {"optional": {"a": ["IMAGE"]}, "hidden": {"b": "PROMPT"}}, "output_node": True}}
        assert lacks({"1": node("X")}, info=info) == []


NO_LATENTS = node_class(output=True, latent=[[]])
CHOSEN = {
    "1": external("Checkpoint", "model"),
    "2": node("CheckpointLoaderSimple", ckpt_name=["1", 0]),
    "3": node("KSampler", seed=1, text=["4", 0]),
    "4": external("Text", "prompt", default_value="a cat"),
    "9": node("SaveImage", images=["2", 0], filename_prefix=["4", 0], more=["3", 0]),
}


class TestInputsOfARun:
    def test_before_there_is_a_run_what_only_a_run_tells_is_taken_to_be_there(self):
        assert lacks(CHOSEN) == []
        assert lacks(INVERT) == []
        for kind in ("Audio", "ImageBatch", "ImageAlpha", "Seed", "Enum", "Lora", "NumberInt", "File"):
            assert lacks({"1": external(kind, "x"), "2": node("PreviewAny", source=["1", 0])}) == [], kind

    def test_a_default_is_checked_before_there_is_a_run(self):
        graph = {**CHOSEN, "1": external("Checkpoint", "model", default_value="gone.ckpt")}
        assert [lack.value for lack in lacks(graph)] == ["gone.ckpt"]
        assert lacks(graph, {"model": "plain.safetensors"}) == []

    def test_a_default_that_the_platform_would_have_to_download_may_never_be_used(self):
        graph = {**CHOSEN, "1": external("Checkpoint", "model", default_value=IMAGE_URL)}
        assert lacks(graph) == []
        [lack] = lacks(graph, {})
        assert "downloads no models" in lack.message

    def test_the_value_of_a_run_is_checked_where_it_arrives(self):
        assert lacks(CHOSEN, {"model": "plain.safetensors"}) == []
        [lack] = lacks(CHOSEN, {"model": "plan.safetensors"})
        assert (lack.node_id, lack.node_class, lack.near) == ("2", "CheckpointLoaderSimple", ["plain.safetensors"])

    def test_a_value_that_is_missing_is_named_with_its_input(self):
        [lack] = lacks(INVERT, {})
        assert (lack.node_id, lack.kind) == ("1", "required_input")
        assert "The input 'image' is missing and has no default" in lack.message

    def test_a_lack_is_traced_to_the_input_that_it_comes_from(self):
        inputs = {"model": "gone", "prompt": "a dog"}
        [lack] = lacks(CHOSEN, inputs)
        assert input_behind(lack, CHOSEN, inputs) == "model"
        assert input_behind(lack, CHOSEN, {"prompt": "a dog"}) is None

    def test_a_lack_is_traced_through_defaults_and_to_widgets(self):
        graph = {
            "0": external("Text", "outer"),
            "1": external("Text", "inner", default_value=["0", 0]),
            "2": node("Sampler", sampler_name=["1", 0], steps=1),
            "3": node("Sampler", sampler_name="gone", steps=1),
        }
        first, second = lacks(graph, {"outer": "gone too"})
        assert input_behind(first, graph, {"outer": "gone too"}) == "outer"
        assert input_behind(second, graph, {"3.sampler_name": "gone"}) == "3.sampler_name"

    def test_no_address_and_no_long_text_is_repeated(self):
        graph = {"1": external("Text", "x"), "2": node("Sampler", sampler_name=["1", 0], steps=1)}
        for value in (IMAGE_URL, "long " * 10_000):
            [lack] = lacks(graph, {"x": value})
            assert SIGNATURE not in str(lack)
            assert len(str(lack)) < 1500


def test_of_very_many_only_the_first_are_told():
    graph = {str(n): node("Sampler", sampler_name=f"no {n}", steps=1) for n in range(500)}
    assert len(lacks(graph)) == MAX_LACKS
    assert len(lacks({str(n): node(f"Foo{n}") for n in range(500)})) == MAX_LACKS


def test_of_one_node_no_more_is_looked_for_than_is_told(monkeypatch: pytest.MonkeyPatch):
    made: list[Lack] = []

    def counted(**fields: Any) -> Lack:
        made.append(Lack(**fields))
        return made[-1]

    monkeypatch.setattr(preflight, "Lack", counted)
    found = lacks({"1": node("Several", sizes=[f"no {n}" for n in range(1000)])})
    assert [lack.value for lack in found] == [f"no {n}" for n in range(MAX_LACKS)]
    assert len(made) == MAX_LACKS


def test_a_value_that_is_chosen_twice_lacks_once():
    assert [lack.value for lack in lacks({"1": node("Several", sizes=["xl"] * 100 + ["xs"])})] == ["xl", "xs"]


def test_nothing_is_told_twice():
    [lack] = lacks({"1": node("Sampler", sampler_name="x", steps=1, more="x")})
    assert lack.input_name == "sampler_name"


ODD: list[Any] = [
    None,
    5,
    "x",
    [],
    {},
    [None, 0],
    ["1", 0],
    ["1", 99],
    ["1", -1],
    True,
    "\ud800",
    {"__value__": 3},
    1e400,
]


def test_no_graph_is_too_odd_to_be_checked():
    draw = random.Random(7)
    kinds = [
        "Image",
        "ImageBatch",
        "ImageAlpha",
        "Video",
        "Audio",
        "Seed",
        "Checkpoint",
        "File",
        "Text",
        "Enum",
        "Nope",
    ]
    names = [*INFO, *(f"ComfyUIDeployExternal{kind}" for kind in kinds), "ComfyDeployOutputImage", "Nope", None, 5]
    fields = [
        "input_id",
        "default_value",
        "images",
        "image",
        "ckpt_name",
        "sampler_name",
        "min_value",
        "sizes",
        "output_id",
    ]
    for _ in range(1000):
        graph: Any = {
            str(number): {"class_type": draw.choice(names), "inputs": {name: draw.choice(ODD) for name in fields}}
            for number in range(draw.randrange(6))
        }
        graph |= {"odd": draw.choice(ODD)}
        for inputs in (None, {}, {"x": draw.choice(ODD)}):
            assert isinstance(lacks_of(graph, inputs, INFO), list)
            assert classes_of(graph) is not None


def test_no_answer_of_a_comfyui_is_too_odd():
    for odd in (
        None,
        [],
        "x",
        {"input": None},
        {"input": []},
        {"input": {"required": []}},
        {"input": {"required": {"a": 5}}},
    ):
        info: Any = {"X": odd if isinstance(odd, dict) else {"input": odd}}
        assert isinstance(lacks_of({"1": node("X", a=1)}, None, info), list)


def test_a_chain_that_is_too_long_to_be_followed_is_left_to_the_run():
    graph = {str(n): external("Text", f"x{n}", default_value=[str(n + 1), 0]) for n in range(3000)}
    assert lacks({**graph, "last": node("PreviewAny", source=["0", 0])}) == []
