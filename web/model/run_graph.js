// Where the values of a run belong in the graph that it executes.

const PREFIX = "ComfyUIDeployExternal";
/** @type {Record<string, string>} the widgets for values, by the class of an input */
const WIDGETS = { Lora: "lora_url", FaceModel: "face_model_url" };
const IMAGE = { slot: "default_value", kind: "image", clear: { default_value_url: "" } };
/** @type {Record<string, FilePlace>} */
const FILES = {
  Image: IMAGE,
  ImageAlpha: IMAGE,
  ImageBatch: { ...IMAGE, clear: { images: "[]" } },
  Audio: { slot: "default_value", kind: "audio", clear: { audio_file: "" } },
  Video: { widget: "default_video", kind: "video", clear: { default_value_url: "" } },
  Vid: { widget: "default_value", kind: "video" },
};
/** @typedef {{slot?: string, widget?: string, kind?: string, clear?: Record<string, string>}} FilePlace
 *   `clear`: what else would count more than the file */

/** @type {Record<string, [type: string, widget: string]>} ComfyUI's nodes that load a file of a kind */
export const LOADERS = { image: ["LoadImage", "image"], video: ["LoadVideo", "file"], audio: ["LoadAudio", "audio"] };

/**
 * Where the value of an input belongs, among the nodes of a graph; null: nowhere.
 * @template Node
 * @param {RunInput} input
 * @param {{node: Node, id: string, type: string, inputId: unknown}[]} nodes
 * @returns {{node: Node} & FilePlace | null}
 */
export function placeFor({ input_id: inputId, files }, nodes) {
  const external = nodes.find((each) => each.type.startsWith(PREFIX) && String(each.inputId) === inputId);
  if (external) {
    const kind = external.type.slice(PREFIX.length);
    const place = files ? FILES[kind] : { widget: WIDGETS[kind] ?? "default_value" };
    return place ? { node: external.node, ...place } : null;
  }
  const [, nodeId, widget] = /^([^.]+)\.(.*)$/s.exec(inputId) ?? [];
  const open = nodes.find(({ id }) => id === nodeId);
  return open && !files ? { node: open.node, widget } : null;
}
