// Files on their way to the library. They go on while other views are shown.

import {
  Button,
  html,
  IconButton,
  Problem,
  Progress,
  t,
  uploadFile,
  useLayoutEffect,
  useState,
} from "../../kit/kit.js";
import { RouteError } from "../../routes.js";

/**
 * @typedef {{file: File, folder: string, connection?: string | null, share: number, error: string, isSent: boolean,
 *   control: AbortController}} Upload
 */

const AT_ONCE = 2;

/** @param {Panel} panel @returns {Uploads} those to the platform that is used */
export function uploadsOf(panel) {
  const { kept } = panel;
  if (!kept.has("assets.uploads")) kept.set("assets.uploads", new Uploads(panel));
  return /** @type {Uploads} */ (kept.get("assets.uploads"));
}

class Uploads {
  /** @type {Upload[]} */
  list = [];
  #atWork = 0;
  /** @type {Set<() => void>} */
  #watching = new Set();

  /** @param {Panel} panel */
  constructor(panel) {
    this.panel = panel;
  }

  /** @param {File[]} files @param {string} folder */
  add(files, folder) {
    const { connection } = this.panel;
    const made = files.map((file) => ({
      file,
      folder,
      connection,
      share: 0,
      error: "",
      isSent: false,
      control: new AbortController(),
    }));
    this.#show([...this.list, ...made]);
    for (const each of made) this.#start(each);
  }

  /** @param {Upload} upload */
  leave(upload) {
    upload.control.abort();
    this.#show(this.list.filter((each) => each !== upload));
  }

  /** End all that is not there yet: it was meant for a platform that is not used any more. */
  end() {
    const [ended, count] = [this.list, this.list.filter(({ error }) => !error).length];
    this.#show([]);
    for (const { control } of ended) control.abort();
    if (count) this.panel.fail(new RouteError(t("asset.ended", { count }), 0));
  }

  /** @param {Upload} upload */
  again(upload) {
    this.leave(upload);
    this.add([upload.file], upload.folder);
  }

  /** @param {() => void} listener is told of every change */
  onChange(listener) {
    this.#watching.add(listener);
    return () => this.#watching.delete(listener);
  }

  /** @param {Upload} upload */
  async #start(upload) {
    const { file, folder: path, connection, control } = upload;
    if (this.#atWork >= AT_ONCE) return;
    this.#atWork += 1;
    upload.isSent = true;
    const asked = new URLSearchParams({ path, name: file.name, size: String(file.size) });
    const tell = (/** @type {Partial<Upload>} */ news) => {
      Object.assign(upload, news);
      this.#show(this.list);
    };
    try {
      const progress = (/** @type {number} */ share) => tell({ share });
      await uploadFile(this.panel, `/assets?${asked}`, file, progress, control.signal, connection);
      this.#show(this.list.filter((each) => each !== upload));
      this.panel.feed.tell("changed", { kind: "asset" });
    } catch (error) {
      tell({ error: /** @type {Error} */ (error).message });
    }
    this.#atWork -= 1;
    const next = this.list.find(({ isSent }) => !isSent);
    if (next) this.#start(next);
  }

  /** @param {Upload[]} list */
  #show(list) {
    this.list = list;
    for (const listener of this.#watching) listener();
  }
}

/** @param {{uploads: Uploads}} props */
export function UploadList({ uploads }) {
  const [, setCount] = useState(0);
  useLayoutEffect(() => uploads.onChange(() => setCount((count) => count + 1)), [uploads]);
  const line = (/** @type {Upload} */ upload) => {
    const {
      file: { name },
      share,
      error,
    } = upload;
    return html`
      <li class="outpost-section">
        <div class="outpost-heading">
          <span class="outpost-cut" dir="auto" title=${name}>${name}</span>
          ${error && html`<${Button} label=${t("panel.again")} do=${() => uploads.again(upload)} />`}
          <${IconButton} label=${t("asset.cancel", { name })} icon="pi-times" do=${() => uploads.leave(upload)} />
        </div>
        ${error ? html`<${Problem} text=${error} />` : html`<${Progress} label=${name} share=${share} />`}
      </li>
    `;
  };
  return (
    uploads.list.length > 0 &&
    html`<ul class="outpost-uploads" aria-label=${t("asset.uploads")}>${uploads.list.map(line)}</ul>`
  );
}
