// ComfyUI's icons.

import { html } from "../view.js";

/** @param {string} name such as `pi-play` */
export const icon = (name) => html`<span class=${`pi ${name}`} aria-hidden="true" />`;
