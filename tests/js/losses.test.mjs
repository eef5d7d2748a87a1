import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { lossesOf } = await load("web/model/losses.js");

const SAYS = "Only the executable graph was kept, and ComfyUI's page could not take over all of it. Lost: ";
const node = (class_type, inputs, title) => ({ class_type, inputs, ...(title && { _meta: { title } }) });
const nothing = () => undefined;
const kept = () => ({
  1: node("EmptyImage", { width: 64 }),
  2: node("ExternalNumber", { input_id: "blur", min_value: 0 }),
  3: node("ImageBlur", { image: ["1", 0], blur_radius: ["2", 0] }),
});

test("nothing is said of a graph that is whole, or that the page has added to", () => {
  const opened = kept();
  opened[1] = node("EmptyImage", { width: 64, height: 512, color: 0 }, "Empty Image");
  assert.equal(lossesOf(kept(), kept(), nothing), null);
  assert.equal(lossesOf(kept(), opened, nothing), null);
  assert.equal(lossesOf({}, {}, nothing), null);
});

test("links and values that are gone are named by their inputs and by what the page calls the nodes", () => {
  const opened = kept();
  opened[2] = node("ExternalNumber", { input_id: "blur" }, "External Number");
  opened[3] = node("ImageBlur", { image: ["1", 0], blur_radius: 1 }, "Blur Image");
  const blurred = (id, input) => (id === "3" && input === "blur_radius" ? 1 : undefined);
  const said = lossesOf(kept(), opened, blurred);
  assert.equal(said, `${SAYS}min_value of External Number, blur_radius of Blur Image.`);
});

test("nodes that are gone are named by what they were called, and with what was connected to them", () => {
  const { 2: _, ...opened } = kept();
  opened[3] = node("ImageBlur", { image: ["1", 0], blur_radius: 1 });
  const before = { ...kept(), 2: node("ExternalNumber", { input_id: "blur" }, "How soft") };
  assert.equal(lossesOf(before, opened, nothing), `${SAYS}How soft, blur_radius of ImageBlur.`);
});

test("a text is whole that the page executes as another, as one with choices in it", () => {
  const graph = { 1: node("CLIPTextEncode", { text: "a {red|blue} cat" }) };
  const executed = { 1: node("CLIPTextEncode", { text: "a red cat" }) };
  assert.equal(
    lossesOf(graph, executed, () => "a {red|blue} cat"),
    null,
  );
  assert.equal(
    lossesOf(graph, executed, () => "a red cat"),
    `${SAYS}text of CLIPTextEncode.`,
  );
});

test("of very many a few are named and the others counted", () => {
  const graph = (count) => ({
    1: node("A", Object.fromEntries(Array.from({ length: count }, (_, n) => [`in${n}`, n]))),
  });
  const named = [0, 1, 2, 3].map((n) => `in${n} of A`).join(", ");
  assert.equal(lossesOf(graph(4), graph(0), nothing), `${SAYS}${named}.`);
  assert.equal(lossesOf(graph(5), graph(0), nothing), `${SAYS}${named}, and 1 more.`);
  assert.equal(lossesOf(graph(500), graph(0), nothing), `${SAYS}${named}, and 496 more.`);
});
