// The node that loads a file of the library: a button to pick it.

import { shown } from "../model/names.js";
import { t } from "../texts.js";
import { addButton, findWidget } from "./node_ports.js";
import { say } from "./run_report.js";

const PROPERTY = "outpost_asset";

/** @param {ComfyUI.NodeType} nodeType @param {ComfyUI.NodeData} _ @param {Page} page */
export function makeAssetNodes({ prototype }, _, page) {
  page.around(prototype, {
    onNodeCreated: {
      after() {
        addButton(
          this,
          t("node.choose_asset"),
          page.guard(() => choose(this, page)),
        );
      },
    },
    configure: {
      after() {
        name(this);
      },
    },
  });
}

/** @param {ComfyUI.Node} node @param {Page} page */
async function choose(node, page) {
  const asset = await page.pickAsset(page, t("asset.pick"));
  if (!asset) return;
  page.changing(node, () => chooseAsset(node, asset));
  page.redraw(node);
}

/** Let a node load an asset. @param {ComfyUI.Node} node @param {Asset} asset */
export function chooseAsset(node, asset) {
  const widget = /** @type {ComfyUI.Widget} */ (findWidget(node, "asset_id"));
  widget.value = asset.id;
  widget.callback?.(asset.id);
  node.properties[PROPERTY] = { id: asset.id, name: asset.name };
  name(node);
}

/** Say what the asset is called, as long as it is the one that was picked. @param {ComfyUI.Node} node */
function name(node) {
  const known = /** @type {{id: string, name: string} | undefined} */ (node.properties?.[PROPERTY]);
  const isKnown = known && known.id === findWidget(node, "asset_id")?.value;
  say(node, { status: isKnown ? { text: shown(known.name) } : null });
}
