// Loads a module of the package. It has no package.json that would tell Node that its `.js` files are modules.

import { readFileSync } from "node:fs";

/** @param {string} path from the root of the repository; a module that imports nothing */
export function load(path) {
  const source = readFileSync(new URL(`../../${path}`, import.meta.url), "utf-8");
  return import(`data:text/javascript,${encodeURIComponent(source)}`);
}
