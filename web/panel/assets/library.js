// What is in the library: folders, a search, and a tile or a row for each thing. The panel and dialogs show it.

import { moveByArrows } from "../../kit/arrows.js";
import {
  Empty,
  Failed,
  html,
  icon,
  joined,
  List,
  Loading,
  openView,
  Row,
  t,
  useCalm,
  useLater,
  useLayoutEffect,
  useLoaded,
  useRef,
  useState,
  withValue,
} from "../../kit/kit.js";
import { folderOf, trailOf } from "../../model/assets.js";
import { shown } from "../../model/names.js";
import { ago, size } from "../../model/time.js";
import { thumbnailPath } from "../../routes.js";

const ROW_HEIGHT = 52;
const TILES = 200; // of one folder, until more are asked for
/** @type {Record<string, string>} */
const ICONS = { image: "pi-image", video: "pi-video", audio: "pi-volume-up", "3d": "pi-box", text: "pi-align-left" };

/** The type of an asset that is dragged within the panel. */
export const DRAGGED = "application/x-outpost-asset";

/** @param {Panel} panel @returns {LibrarySource} */
export const sourceOf = ({ routes, feed, comfy: { addressOf } }) => ({ routes, feed, addressOf });

/**
 * Ask for a file of the library.
 * @param {LibrarySource} source
 * @param {string} title
 * @param {LibraryView["keep"]} [keep]
 * @returns {Promise<Asset | null>} null when the dialog was left
 */
export function pickAsset(source, title, keep) {
  return openView(title, (close) => html`<${Picker} source=${source} keep=${keep} onPick=${close} />`);
}

/** @param {Pick<LibraryView, "source" | "keep" | "onPick">} props */
function Picker(props) {
  const [place, setPlace] = useState({ path: "", query: "" });
  return html`<${Library} ...${props} ...${place} onPlace=${setPlace} />`;
}

/** @param {LibraryView} props */
export function Library({ source, path, query, onPlace, onPick, isTiled = true, keep, more, tools, drop, none }) {
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  const asked = useLater(query.trim());
  const { value, error, again } = useLoaded(() => source.routes.assets({ path, query: asked }), [path, asked]);
  const calm = useCalm(again);
  useLayoutEffect(() => source.feed?.on("changed", ({ kind }) => kind === "asset" && calm()), []);
  const enter = (/** @type {string} */ to) => {
    onPlace({ path: to, query: "" });
    field.current?.focus();
  };
  const pick = (/** @type {Asset} */ asset) => (asset.is_folder ? enter(asset.path) : onPick(asset));
  const nothing = asked
    ? { text: t("asset.not_found", { search: asked }), action: { label: t("asset.clear"), do: () => enter(path) } }
    : { text: t("asset.none"), hint: none };
  const found = () => {
    const assets = value?.filter(keep ?? Boolean);
    const part = { source, pick, more, drop, isFound: !!asked };
    if (!assets) return !error && html`<${Loading} />`;
    if (!assets.length) return html`<${Empty} ...${nothing} />`;
    if (isTiled) return html`<${Tiles} key=${`${path} ${asked}`} assets=${assets} field=${field} ...${part} />`;
    return html`<${List} rows=${assets} rowHeight=${ROW_HEIGHT} label=${t("view.assets")}
      row=${(/** @type {Asset} */ asset) => html`<${Line} asset=${asset} ...${part} />`} />`;
  };
  return html`
    <div class="outpost-bar">
      <input type="search" ref=${field} value=${query} placeholder=${t("asset.search")} aria-label=${t("asset.search")}
        dir="auto" maxlength="200" onInput=${withValue((text) => onPlace({ path, query: text }))} />
      ${tools}
    </div>
    <nav class="outpost-trail" aria-label=${t("asset.folder")}>
      ${trailOf(path).map(
        (step) => html`<button type="button" dir="auto" ...${drop?.(step.path)} onClick=${() => enter(step.path)}>
          ${shown(step.name) || t("asset.library")}</button>`,
      )}
    </nav>
    ${error && html`<${Failed} error=${error} again=${again} />`}
    ${found()}
  `;
}

/** @typedef {Pick<LibraryView, "source" | "more" | "drop"> & {pick: (asset: Asset) => void, isFound: boolean}} Part */

/** @param {Part & {assets: Asset[], field: {current: HTMLInputElement | null}}} props */
function Tiles({ assets, field, source, pick, more, drop }) {
  const [most, setMost] = useState(TILES);
  const grid = useRef(/** @type {HTMLElement | null} */ (null));
  useLayoutEffect(() => {
    if (grid.current && field.current) return moveByArrows(grid.current, field.current);
  }, []);
  const tile = (/** @type {Asset} */ asset) => html`
    <div key=${asset.id} class="outpost-cell" ...${dragOf(asset, drop)}>
      <button type="button" class="outpost-tile" title=${titleOf(asset)} onClick=${() => pick(asset)}>
        <${Picture} asset=${asset} source=${source} /><span dir="auto">${shown(asset.name || asset.path)}</span>
      </button>
      ${more?.(asset)}
    </div>
  `;
  return html`
    <div class="outpost-grid" ref=${grid}>
      ${assets.slice(0, most).map(tile)}
      ${
        assets.length > most &&
        html`<button type="button" class="outpost-tile" onClick=${() => setMost(most + TILES)}>
          ${t("asset.more", { count: assets.length - most })}</button>`
      }
    </div>
  `;
}

/** @param {Part & {asset: Asset}} props */
const Line = ({ asset, source, pick, more, drop, isFound }) => html`
  <${Row} title=${shown(asset.name)} full=${titleOf(asset)} open=${() => pick(asset)} ...${dragOf(asset, drop)}
    picture=${html`<span class="outpost-thumb"><${Picture} asset=${asset} source=${source} /></span>`}
    about=${joined(isFound && (folderOf(asset) || t("asset.library")), size(asset.size), ago(asset.updated_at))} />
  ${more?.(asset)}
`;

/** What lets an asset be dragged into a folder. @param {Asset} asset @param {LibraryView["drop"]} drop */
function dragOf(asset, drop) {
  const onDragStart = (/** @type {DragEvent} */ event) => event.dataTransfer?.setData(DRAGGED, JSON.stringify(asset));
  return drop && { draggable: true, onDragStart, ...(asset.is_folder && drop(asset.path)) };
}

/** @param {Asset} asset */
const titleOf = (asset) =>
  joined(shown([folderOf(asset), asset.name].filter(Boolean).join("/"), 300), size(asset.size));

/**
 * A small picture of an image. An icon stands for it until it is there, and for everything else.
 * @param {{asset: Asset, source: Pick<LibrarySource, "addressOf">}} props
 */
function Picture({ asset: { id, kind = "", is_folder: isFolder }, source }) {
  const [isLoaded, setLoaded] = useState(false);
  return html`
    <span class="outpost-picture" aria-hidden="true">
      ${!isLoaded && icon(isFolder ? "pi-folder" : (ICONS[kind] ?? "pi-file"))}
      ${
        kind === "image" &&
        html`<img loading="lazy" decoding="async" alt="" draggable=${false} src=${source.addressOf(thumbnailPath(id))}
          style=${isLoaded ? null : "visibility:hidden"} onLoad=${() => setLoaded(true)} />`
      }
    </span>
  `;
}
