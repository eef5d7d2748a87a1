// Calls of a deployment, ready to be copied.

import { Button, copied, html, Loading, Section, t, useLoaded, usePanel, useState } from "../../kit/kit.js";
import { callsOf } from "../../model/calls.js";

/** @param {{form: Shape}} props */
export function Calls({ form }) {
  const panel = usePanel();
  const [chosen, choose] = useState(0);
  const { value, error } = useLoaded(() => panel.routes.get("/connections"), []);
  if (!value && !error) return html`<${Loading} />`;
  const found = value?.connections.find(({ id }) => id === value.current);
  const calls = callsOf(form, found?.base_url ?? "https://…");
  const [language, text] = calls[chosen];
  const button = html`<${Button} label=${t("calls.copy")} icon="pi-copy" class="outpost-quiet" do=${() => copied(panel, text)} />`;
  return html`
    <${Section} title=${t("calls.title")} items=${button}>
      <div class="outpost-chips" role="group" aria-label=${t("calls.languages")}>
        ${calls.map(
          ([name], index) => html`<button type="button" class="outpost-chip" aria-pressed=${index === chosen}
            onClick=${() => choose(index)}>${name}</button>`,
        )}
      </div>
      <pre class="outpost-code" tabindex="0" aria-label=${language}>${text}</pre>
      <small>${t("calls.key")}</small>
    <//>
  `;
}
