// Folders of the library, as paths.

/** The folders that lead to a path, beginning with the topmost, which has no name. @param {string} path */
export function trailOf(path) {
  const names = path.split("/").filter(Boolean);
  return ["", ...names].map((name, depth) => ({ name, path: names.slice(0, depth).join("/") }));
}

/** The folder that something is in. @param {{path: string}} asset */
export const folderOf = ({ path }) => path.split("/").slice(0, -1).join("/");

/**
 * Whether something may come into a folder: not where it is already, and no folder into itself.
 * @param {Pick<Asset, "path" | "is_folder">} asset
 * @param {string} folder
 */
export function mayMove(asset, folder) {
  const isInside = asset.is_folder && `${folder}/`.startsWith(`${asset.path}/`);
  return folder !== folderOf(asset) && !isInside;
}
