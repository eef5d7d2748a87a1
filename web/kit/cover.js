// A thing at a glance: a picture of what it makes.

import { html, useEffect, useState } from "../view.js";
import { usePanel } from "./context.js";
import { icon } from "./icon.js";

const PAUSE_MS = 120; // of rows that fly past no pictures are asked for

/** @param {Event} event */
function loaded({ target }) {
  const image = /** @type {HTMLImageElement} */ (target);
  if (image.naturalWidth > 1) image.dataset.shown = ""; // one pixel: there is none
}

/**
 * The cover of what is at this path. An icon stands for it until it is there, and where there is none.
 * @param {{of: string, sign: string}} props `sign`: the icon
 */
export function Cover({ of, sign }) {
  const { comfy } = usePanel();
  const [isWanted, want] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => want(true), PAUSE_MS);
    return () => clearTimeout(timer);
  }, []);
  const address = comfy.addressOf(`/outpost${of}/cover`);
  return html`
    <span class="outpost-thumb outpost-cover">
      ${icon(sign)}
      ${isWanted && html`<img loading="lazy" decoding="async" alt="" src=${address} onLoad=${loaded} />`}
    </span>
  `;
}
