// Which External node stands for a widget.

import assert from "node:assert/strict";
import { test } from "node:test";
import { freeId, freePlace, rank, standFor } from "../../web/model/exposing.js";

const widget = (more) => ({
  node: {},
  title: "KSampler",
  isSelected: false,
  name: "steps",
  type: "INT",
  value: 20,
  ...more,
});
const standing = (more, taken = []) => standFor(widget(more), taken);

test("a node of the fitting kind has the value and the limits of the widget", () => {
  const label = { input_id: "steps", display_name: "KSampler · steps" };
  assert.deepEqual(standing({ min: 1, max: 10000 }), {
    class_type: "ComfyUIDeployExternalNumberSliderInt",
    values: { ...label, default_value: 20, min_value: 1, max_value: 10000 },
    isOther: false,
  });
  const kinds = [
    [{}, "NumberInt"],
    [{ min: 0, max: 2 ** 60 }, "NumberInt"],
    [{ type: "FLOAT", value: 0.5, min: 0, max: 1 }, "NumberSlider"],
    [{ type: "FLOAT", value: 0.5 }, "Number"],
    [{ type: "BOOLEAN", value: true }, "Boolean"],
    [{ type: "STRING", value: "a", isMultiline: true }, "Text"],
    [{ type: "STRING", value: "a" }, "TextSingleLine"],
    [{ type: "IMAGE", value: "a.png" }, "Image"],
    [{ type: "COMBO", name: "ckpt_name", value: "a.ckpt", options: ["a.ckpt"] }, "Checkpoint"],
    [{ type: "COMBO", name: "lora_name", value: "a", options: ["a"] }, "Lora"],
    [{ type: "COMBO", name: "sampler_name", value: "euler", options: ["euler", "ddim"] }, "Enum"],
    [{ name: "noise_seed", value: 7 }, "Seed"],
  ];
  for (const [more, kind] of kinds) assert.equal(standing(more).class_type, `ComfyUIDeployExternal${kind}`, kind);
});

test("the choices of a list are copied, unless there are too many of them", () => {
  const few = standing({ type: "COMBO", name: "mode", value: "b", options: ["a", "b"] });
  assert.deepEqual([few.values.default_value, few.values.options], ["b", '["a","b"]']);
  const many = standing({
    type: "COMBO",
    name: "mode",
    value: "1",
    options: Array.from({ length: 600 }, (_, i) => `${i}`),
  });
  assert.equal(many.values.options, "");
});

test("a seed that would be taken for a random one stays the number that it is", () => {
  assert.equal(standing({ name: "seed", value: 0 }).class_type, "ComfyUIDeployExternalNumberInt");
  assert.equal(standing({ name: "seed", value: 0 }).values.default_value, 0);
});

test("a seed that is too large for an input is told to be another one", () => {
  const { values, isOther } = standing({ name: "seed", value: 2 ** 50 });
  assert.equal(isOther, true);
  assert.ok(values.default_value >= 1 && values.default_value <= values.max_value);
});

test("what no node can stand for is not offered", () => {
  assert.equal(standing({ type: "COMBO", value: 1, options: [1, 2] }), null);
  assert.equal(standing({ type: "MODEL" }), null);
  assert.equal(standing({ value: 2 ** 40 }), null);
});

test("an id is one that no other input has, and no number", () => {
  assert.equal(freeId("text", ["text", "text_2"]), "text_3");
  assert.equal(freeId("my prompt!", []), "my_prompt");
  assert.equal(freeId("12", []), "input_12");
  assert.equal(freeId("größe", []), "größe");
  assert.equal(freeId("--", []), "input_");
});

test("prompts come first, and numbers only of what is selected", () => {
  const names = [
    rank(widget({ type: "STRING", isMultiline: true })),
    rank(widget({ type: "IMAGE" })),
    rank(widget({ name: "seed" })),
    rank(widget({ isSelected: true })),
    rank(widget({ type: "COMBO", name: "unet_name" })),
  ];
  assert.deepEqual(names, [0, 1, 2, 3, 4]);
  assert.equal(rank(widget({})), null);
  assert.equal(rank(widget({ type: "COMBO", name: "sampler_name" })), null);
});

test("a new node covers no other one", () => {
  assert.deepEqual(freePlace([0, 0, 100, 50], []), [0, 0]);
  assert.deepEqual(freePlace([0, 0, 100, 50], [[50, 20, 100, 100]]), [0, 160]);
  assert.deepEqual(
    freePlace(
      [0, 0, 100, 50],
      [
        [0, 0, 100, 100],
        [0, 140, 100, 100],
      ],
    ),
    [0, 280],
  );
  assert.deepEqual(freePlace([0, 0, 100, 50], [[200, 0, 100, 100]]), [0, 0]);
});
