// What is shown in place of a view that has failed.

import { t } from "../texts.js";
import { Component, html } from "../view.js";

/** Catches what a view throws. The page around it goes on. */
export class Boundary extends Component {
  state = { error: /** @type {Error | null} */ (null) };

  /** @param {Error} error */
  componentDidCatch(error) {
    console.error("ComfyUI-Outpost:", error);
    this.setState({ error });
  }

  render() {
    if (!this.state.error) return this.props.children;
    return html`
      <div class="outpost-state outpost-error" role="alert">
        <p><strong>${t("panel.failed")}</strong></p>
        <p>${t("panel.failed_hint")}</p>
        <p dir="auto"><code>${this.state.error.message}</code></p>
        <button type="button" onClick=${() => this.setState({ error: null })}>${t("panel.again")}</button>
      </div>
    `;
  }
}
