// What a run has put out: to look at, to save, and to be put on the canvas.

import { daring, html, IconButton, icon, Section, t, usePanel } from "../../kit/kit.js";
import { shown } from "../../model/names.js";
import { runPath } from "../../model/runs.js";
import { mayPlace, placeOutput } from "./canvas.js";

/** @param {{run: RunDetail}} props */
export const Outputs = ({ run: { id, outputs } }) => html`
  <${Section} title=${t("runs.outputs")} hint=${!outputs.length && t("runs.no_outputs")}>
    <div class="outpost-outputs">
      ${outputs.map((output) => html`<${Output} key=${output.number} id=${id} output=${output} />`)}
    </div>
  <//>
`;

/** @param {{id: string, output: RunOutput}} props */
function Output({ id, output }) {
  const panel = usePanel();
  const { kind, text, number } = output;
  const file = panel.comfy.addressOf(`/outpost${runPath(id)}/outputs/${number}`);
  const name = shown(output.output_id || output.name || t("runs.text"));
  const [put, save] = [t("runs.place", { name }), t("runs.save", { name })];
  const place = daring(panel, async () => {
    await placeOutput(panel, id, output);
    panel.say(t("runs.placed", { count: 1 }));
  });
  return html`
    <figure class=${`outpost-output ${text !== null || ["audio", "video"].includes(kind) ? "outpost-wide" : ""}`}>
      ${contentOf(output, name, file)}
      <figcaption class="outpost-heading">
        <small class="outpost-cut" dir="auto" title=${shown(output.name, 300)}>${name}</small>
        <span>
          ${mayPlace(output) && html`<${IconButton} label=${put} icon="pi-plus" do=${place} />`}
          ${
            text === null &&
            html`<a class="outpost-button outpost-icon" href=${`${file}?save=true`} download=${output.name}
              aria-label=${save} title=${save}>${icon("pi-download")}</a>`
          }
        </span>
      </figcaption>
    </figure>
  `;
}

/** @type {Record<string, (name: string, file: string) => unknown>} how files look, by their kind */
const LOOKS = {
  image: (name, file) => html`
    <a href=${file} target="_blank" rel="noopener" aria-label=${t("runs.open", { name })}>
      <img loading="lazy" decoding="async" alt=${name} src=${`${file}?small=true`} /></a>`,
  video: (name, file) => html`<video controls preload="none" src=${file} aria-label=${name} />`,
  audio: (name, file) => html`<audio controls preload="none" src=${file} aria-label=${name} />`,
};

/** @param {RunOutput} output @param {string} name @param {string} file */
function contentOf({ kind, text }, name, file) {
  if (text !== null) return html`<pre class="outpost-code" tabindex="0" dir="auto">${text}</pre>`;
  return LOOKS[kind]?.(name, file) ?? html`<span class="outpost-file-icon">${icon("pi-file")}</span>`;
}
