// A place to drop files on.

import { html, useState } from "../view.js";

/**
 * @param {{onFiles: (files: File[]) => void, label: string, children?: unknown, after?: unknown, id?: string,
 *   accept?: string, isMany?: boolean}} props
 *   `label` is the name of the button that opens the browser's own choice of files
 */
export function DropPlace({ onFiles, label, children, after, id, accept = "", isMany = false }) {
  const [depth, setDepth] = useState(0); // how many of the elements inside the pointer is on
  const take = (/** @type {FileList | null} */ list) => {
    const files = [...(list ?? [])];
    if (files.length) onFiles(isMany ? files : files.slice(0, 1));
  };
  /** @param {(files: DataTransfer) => void} act */
  const dragged = (act) => (/** @type {DragEvent} */ event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    event.stopPropagation(); // the page would open it as a graph
    act(event.dataTransfer);
  };
  const dropped = dragged(({ files }) => {
    setDepth(0);
    take(files);
  });
  const chosen = (/** @type {Event} */ event) => {
    const field = /** @type {HTMLInputElement} */ (event.target);
    take(field.files);
    field.value = "";
  };
  return html`
    <div class=${`outpost-drop ${depth ? "outpost-over" : ""}`} onDrop=${dropped} onDragOver=${dragged(() => {})}
      onDragEnter=${dragged(() => setDepth((before) => before + 1))}
      onDragLeave=${dragged(() => setDepth((before) => Math.max(0, before - 1)))}>
      ${children}
      <label class="outpost-file">
        <span>${label}</span><input type="file" id=${id} accept=${accept} multiple=${isMany} onChange=${chosen} />
      </label>
      ${after}
    </div>
  `;
}
