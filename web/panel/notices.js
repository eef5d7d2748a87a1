// What the panel says in passing, at its foot: what went wrong, what was done, and what can be undone.

import { IconButton } from "../kit/parts.js";
import { t } from "../texts.js";
import { html } from "../view.js";

/** @param {{state: import("./panel.js").PanelState}} props */
export const Notices = ({ state }) => html`
  <div class="outpost-notices" aria-live="polite">
    ${state.notices.map(
      (notice) => html`
        <div class=${`outpost-notice ${notice.isError ? "outpost-error" : ""}`} role=${notice.isError ? "alert" : null}>
          <span dir="auto">${notice.text}</span>
          <${IconButton} label=${t("dialog.close")} icon="pi-times" do=${() => state.dismiss(notice)} />
        </div>
      `,
    )}
    ${state.pending.map(
      ({ key, name, undo }) => html`
        <div class="outpost-notice" key=${key}>
          <span dir="auto">${t("undo.done", { name })}</span>
          <button type="button" onClick=${undo}>${t("undo.undo")}</button>
        </div>
      `,
    )}
  </div>
`;
