// The page as the nodes of this package see it: ComfyUI's own, and what this package has on it once for all its nodes.

import { Routes } from "./routes.js";
import { Deployments } from "./views/deployment_list.js";

/** @param {Panel["comfy"]} comfy @param {Guard} guard */
export function makePage(comfy, guard) {
  const routes = new Routes(comfy.request);
  const around = (/** @type {ComfyUI.Node} */ prototype, /** @type {Hooks} */ hooks) =>
    comfy.around(prototype, guard, hooks);
  return { ...comfy, around, deployments: new Deployments(routes), guard, routes };
}
