// What can be done with a file or folder of the library.

import {
  Answers,
  askFor,
  Button,
  daring,
  deleteLater,
  html,
  icon,
  itemsOf,
  joined,
  openView,
  t,
  useState,
} from "../../kit/kit.js";
import { folderOf, mayMove } from "../../model/assets.js";
import { shown } from "../../model/names.js";
import { moment, size } from "../../model/time.js";
import { chooseAsset } from "../../views/asset_node.js";
import { DRAGGED, Library, sourceOf } from "./library.js";

/** What an asset is called among the things that are about to be deleted. @param {string} id */
export const keyOf = (id) => `asset ${id}`;

/** @param {string} id */
const pathOf = (id) => `/assets/${encodeURIComponent(id)}`;

/** Let everybody read the library again. @param {Panel} panel */
const tellChanged = ({ feed }) => feed.tell("changed", { kind: "asset" });

/** The entries of an asset's menu. @param {Panel} panel @param {Asset} asset */
export function deedsOf(panel, asset) {
  const { id, name, is_folder: isFolder } = asset;
  return itemsOf(panel, [
    [t("asset.use"), "pi-plus-circle", () => use(panel, asset), !isFolder],
    [t("asset.open"), "pi-eye", () => show(panel, asset), !isFolder],
    [t("asset.save"), "pi-download", () => save(panel, asset), !isFolder],
    [t("asset.rename"), "pi-pencil", () => rename(panel, asset)],
    [t("asset.move"), "pi-folder-open", () => move(panel, asset)],
    [t("dialog.delete"), "pi-trash", () => deleteLater(panel, keyOf(id), name, pathOf(id))],
  ]);
}

/** @param {Panel} panel @param {string} path the folder that it comes into */
export const makeFolder = (panel, path) =>
  daring(panel, async () => {
    const name = await askFor({ title: t("asset.new_folder"), label: t("asset.name") });
    if (!name) return;
    await panel.routes.send("POST", "/assets/folders", { path, name });
    tellChanged(panel);
  });

/** @param {Panel} panel @param {Asset} asset */
async function rename(panel, { id, name }) {
  const text = await askFor({ title: t("asset.rename"), label: t("asset.name"), value: name });
  if (!text || text === name) return;
  await panel.routes.send("PATCH", pathOf(id), { name: text });
  tellChanged(panel);
}

/** Put an asset on the canvas, as the node that loads it. @param {Panel} panel @param {Asset} asset */
function use({ comfy, say }, asset) {
  const node = comfy.placeNode("OutpostLoadAsset", (made) => chooseAsset(made, asset));
  say(t(node ? "asset.used" : "asset.no_node", { name: shown(asset.name) }));
}

/** @param {Panel} panel @param {Asset} asset */
function save({ comfy }, { id, name }) {
  const link = document.createElement("a");
  link.href = comfy.addressOf(`/outpost${pathOf(id)}/file?save=true`);
  link.download = name;
  link.click();
}

/** @param {Panel} panel @param {Asset} asset @param {string} folder */
async function moveTo(panel, { id, name }, folder) {
  await panel.routes.send("PATCH", pathOf(id), { path: folder });
  panel.say(t("asset.moved", { name: shown(name), folder: folder || t("asset.library") }));
  tellChanged(panel);
}

/** @param {Panel} panel @param {Asset} asset */
async function move(panel, asset) {
  const view = (/** @type {(folder: string | null) => void} */ close) =>
    html`<${Folders} source=${sourceOf(panel)} asset=${asset} close=${close} />`;
  const folder = await openView(t("asset.move_title", { name: shown(asset.name) }), view);
  if (folder !== null) await moveTo(panel, asset, folder);
}

/** @param {{source: LibrarySource, asset: Asset, close: (folder: string | null) => void}} props */
function Folders({ source, asset, close }) {
  const [place, setPlace] = useState({ path: folderOf(asset), query: "" });
  return html`
    <${Library} source=${source} ...${place} onPlace=${setPlace} onPick=${() => {}}
      keep=${(/** @type {Asset} */ each) => each.is_folder && each.id !== asset.id} />
    <${Answers} close=${close} yes=${t("asset.move_here")} isOff=${!mayMove(asset, place.path)}
      onYes=${() => close(place.path)} />
  `;
}

/** What makes an element a place to drop an asset on, so that it comes into a folder. @param {Panel} panel */
export const dropOn = (panel) => (/** @type {string} */ folder) => {
  const marked = (/** @type {boolean} */ isOver, /** @type {(data: DataTransfer) => void} */ take = () => {}) => {
    return (/** @type {DragEvent} */ event) => {
      const data = event.dataTransfer;
      if (!data?.types.includes(DRAGGED)) return;
      event.preventDefault();
      /** @type {HTMLElement} */ (event.currentTarget).classList.toggle("outpost-over", isOver);
      take(data);
    };
  };
  const onDrop = marked(false, (data) => {
    const asset = JSON.parse(data.getData(DRAGGED));
    if (mayMove(asset, folder)) daring(panel, () => moveTo(panel, asset, folder))();
  });
  return { onDragOver: marked(true), onDragLeave: marked(false), onDrop };
};

/** @type {Record<string, (address: string, name: string) => unknown>} how files look, by their kind */
const LOOKS = {
  image: (address, name) => html`<img class="outpost-large" alt=${name} src=${address} />`,
  video: (address) => html`<video class="outpost-large" controls src=${address} />`,
  audio: (address) => html`<audio controls src=${address} />`,
};

/** Show a file as large as there is room. @param {Panel} panel @param {Asset} asset */
export function show(panel, asset) {
  const { id, kind = "", name } = asset;
  const look = LOOKS[kind]?.(panel.comfy.addressOf(`/outpost${pathOf(id)}/file`), name);
  const view = (/** @type {(none: null) => void} */ close) => html`
    <div class="outpost-dialog-body">
      ${look ?? html`<p class="outpost-hint">${t("asset.no_picture")}</p>`}
      <small>${joined(size(asset.size), moment(asset.updated_at))}</small>
      <footer class="outpost-answers">
        <${Button} label=${t("asset.save")} icon="pi-download" do=${() => save(panel, asset)} />
        <button type="button" class="outpost-primary" autofocus
          onClick=${() => {
            close(null);
            use(panel, asset);
          }}>${icon("pi-plus-circle")}${t("asset.use")}</button>
      </footer>
    </div>
  `;
  return openView(shown(name), view);
}
