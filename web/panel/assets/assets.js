// The library of the account: its folders and files, and bringing more there.

import { DropPlace, html, IconButton, MenuButton, t, useKept, usePanel } from "../../kit/kit.js";
import { deedsOf, dropOn, keyOf, makeFolder, show } from "./deeds.js";
import { Library, sourceOf } from "./library.js";
import { UploadList, uploadsOf } from "./uploads.js";

/** @param {{path?: string}} props */
export function AssetsView({ path = "" }) {
  const panel = usePanel();
  const [query, setQuery] = useKept(panel, "assets.query", "");
  const [isTiled, setTiled] = useKept(panel, "assets.tiled", true);
  const uploads = uploadsOf(panel);
  const look = isTiled
    ? { label: t("asset.as_list"), icon: "pi-list" }
    : { label: t("asset.as_tiles"), icon: "pi-th-large" };
  const tools = html`
    <${IconButton} ...${look} do=${() => setTiled(!isTiled)} />
    <${IconButton} label=${t("asset.new_folder")} icon="pi-folder-plus" do=${makeFolder(panel, path)} />
  `;
  const onPlace = (/** @type {LibraryPlace} */ to) => {
    setQuery(to.query);
    if (to.path !== path) panel.go("assets", to.path ? { path: to.path } : {});
  };
  const menu = (/** @type {Asset} */ asset) =>
    html`<${MenuButton} label=${t("menu.more", { name: asset.name })} items=${deedsOf(panel, asset)} />`;
  return html`
    <div class="outpost-assets">
      <${DropPlace} isMany label=${t("asset.upload")} onFiles=${(/** @type {File[]} */ files) => uploads.add(files, path)}>
        <${Library} source=${sourceOf(panel)} path=${path} query=${query} isTiled=${isTiled} none=${t("asset.none_hint")}
          tools=${tools} more=${menu} drop=${dropOn(panel)} onPlace=${onPlace}
          onPick=${(/** @type {Asset} */ asset) => show(panel, asset)}
          keep=${(/** @type {Asset} */ { id }) => !panel.deletions.has(keyOf(id))} />
      <//>
      <${UploadList} uploads=${uploads} />
    </div>
  `;
}
