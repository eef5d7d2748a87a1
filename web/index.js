// What this package adds to ComfyUI's page.

import { app, ask, tell } from "./comfy.js";
import { letInputsBeAdded } from "./run_deployment.js";

app.registerExtension({
  name: "outpost.nodes",
  /** @param {any} nodeType @param {{name: string}} nodeData */
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (nodeData.name === "OutpostRunDeployment") letInputsBeAdded(nodeType, { ask, tell });
  },
});
