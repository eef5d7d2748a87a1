// Loads a module of the package, with those that it imports. They know the package's texts.

import { readFileSync } from "node:fs";

/** @param {string} path from the root of the repository */
const addressOf = (path) => new URL(`../../${path}`, import.meta.url);

/** @param {string} path from the root of the repository */
export function load(path) {
  return import(addressOf(path).href);
}

const { learn } = await load("web/texts.js");
learn(JSON.parse(readFileSync(addressOf("web/texts.json"), "utf-8")));
