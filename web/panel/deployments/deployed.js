// A deployment that was made just now, and what is said of any.

import { Buttons, html, t, useLoaded, usePanel } from "../../kit/kit.js";
import { Calls } from "./calls.js";

/** What texts say of a deployment. @param {DeploymentRow} row */
export const wordsOf = ({ name, environment, version, machine }) => ({
  name,
  environment,
  version: version ?? "?",
  machine: machine ?? "?",
});

/** Put a node that runs a deployment on the canvas. @param {Panel} panel @param {{id: string}} deployment */
export function place({ comfy, say }, { id }) {
  const node = comfy.placeNode("OutpostRunDeployment", (made) => {
    const list = made.widgets.find((each) => each.name === "deployment_id");
    if (!list) return;
    list.value = id;
    list.callback?.(id);
  });
  say(t(node ? "deployment.placed" : "deployment.no_node"));
}

/** @param {{row: DeploymentRow}} props */
export function Deployed({ row }) {
  const panel = usePanel();
  const { id } = row;
  const { value: form } = useLoaded(() => panel.routes.form(id), [id]);
  const items = [
    { label: t("deployment.run"), icon: "pi-play", isMain: true, do: () => panel.go("run", { deployment_id: id }) },
    { label: t("deployment.node"), do: () => place(panel, row) },
    { label: t("deployment.show"), do: () => panel.go("deployments", { deployment_id: id }) },
  ];
  return html`
    <section class="outpost-section">
      <p class="outpost-good outpost-whole" role="status" dir="auto">${t("deploy.result", wordsOf(row))}</p>
      <${Buttons} items=${items} />
      ${form && html`<${Calls} form=${form} />`}
    </section>
  `;
}
