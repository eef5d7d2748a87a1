// Files for a run: dropped, chosen, or from the library.

import {
  DropPlace,
  html,
  IconButton,
  Progress,
  t,
  uploadFile,
  useEffect,
  usePanel,
  useRef,
  useState,
} from "../../kit/kit.js";
import { newKey } from "../../model/keys.js";
import { acceptOf } from "../../model/run_values.js";
import { size } from "../../model/time.js";
import { thumbnailPath } from "../../routes.js";
import { pickAsset, sourceOf } from "../assets/library.js";

/**
 * @typedef {{key: string, name: string, share: number, file?: File, file_id?: string, asset_id?: string,
 *   control?: AbortController}} Given `share`: how much of it has been sent
 */

const LARGEST_PICTURE = 64 * 1024 * 1024;
const PREVIEW = 160;

/**
 * @param {{field: Field, given: Given[], about: {id: string}, onInput: (change: (before?: Given[]) => Given[]) => void}} props
 */
export function FileField({ field, given, about, onInput }) {
  const panel = usePanel();
  const isMany = field.kind === "image batch";
  const change = (/** @type {string} */ key, /** @type {Partial<Given>} */ values) =>
    onInput((before = []) => before.map((each) => (each.key === key ? { ...each, ...values } : each)));
  const remove = (/** @type {Pick<Given, "key" | "control">} */ { key, control }) => {
    control?.abort();
    onInput((before = []) => before.filter((each) => each.key !== key));
  };
  const add = (/** @type {Given} */ one) => {
    if (!isMany) for (const each of given) each.control?.abort();
    onInput((before = []) => (isMany ? [...before, one] : [one]));
  };
  const send = async (/** @type {File} */ file) => {
    const [key, control] = [newKey(), new AbortController()];
    add({ key, name: file.name, share: 0, file, control });
    const path = `/files?${new URLSearchParams({ name: file.name, size: String(file.size) })}`;
    const progress = (/** @type {number} */ share) => change(key, { share: Math.min(share, 0.99) });
    try {
      const { file_id } = await uploadFile(panel, path, file, progress, control.signal);
      change(key, { share: 1, file_id });
    } catch (error) {
      if (control.signal.aborted) return;
      remove({ key });
      panel.fail(error);
    }
  };
  const pick = async () => {
    const keep = (/** @type {Asset} */ asset) => field.kind === "file" || asset.is_folder || asset.kind === "image";
    const asset = await pickAsset(sourceOf(panel), t("run.from_library"), keep);
    if (asset) add({ key: newKey(), name: asset.name, share: 1, asset_id: asset.id });
  };
  return html`
    <${DropPlace} label=${t(isMany ? "run.choose_many" : "run.choose")} accept=${acceptOf(field)} isMany=${isMany}
      id=${about.id} onFiles=${(/** @type {File[]} */ files) => files.forEach(send)}
      after=${html`<button type="button" class="outpost-quiet" onClick=${pick}>${t("run.from_library")}</button>`}>
      ${given.map((each) => html`<${Chosen} ...${each} key=${each.key} remove=${() => remove(each)} />`)}
    <//>
  `;
}

/** @param {Given & {remove: () => void}} props */
function Chosen({ name, file, asset_id: asset, share, remove }) {
  const { comfy } = usePanel();
  return html`
    <div class="outpost-bar">
      ${file && html`<${Preview} file=${file} />`}
      ${asset && html`<span class="outpost-thumb"><img alt="" src=${comfy.addressOf(thumbnailPath(asset))} /></span>`}
      <span class="outpost-texts outpost-grow"><span dir="auto" title=${name}>${name}</span>
        ${
          share < 1
            ? html`<${Progress} label=${name} share=${share} />`
            : html`<small>${file ? size(file.size) : t("run.of_library")}</small>`
        }</span>
      <${IconButton} label=${t("run.remove", { name })} icon="pi-times" do=${remove} />
    </div>
  `;
}

/** A small picture of a file on this computer. ComfyUI's page may forbid addresses of such files, but not a canvas. @param {{file: File}} props */
function Preview({ file }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const [isShown, setShown] = useState(false);
  useEffect(() => {
    const draw = async () => {
      const bitmap = await createImageBitmap(file, { resizeHeight: PREVIEW, resizeQuality: "medium" });
      const target = canvas.current; // gone with the view
      if (target) {
        const { width, height } = bitmap;
        Object.assign(target, { width, height });
        target.getContext("2d")?.drawImage(bitmap, 0, 0);
        setShown(true);
      }
      bitmap.close();
    };
    if (file.type.startsWith("image/") && file.size <= LARGEST_PICTURE) draw().catch(() => {}); // it is sent all the same
  }, []);
  return html`<canvas class="outpost-preview" ref=${canvas} hidden=${!isShown} aria-hidden="true" />`;
}
