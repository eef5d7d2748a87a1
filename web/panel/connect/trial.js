// The test of a connection: every step of the way, and at the end what is wrong.

import { Button, ChoiceField, html, IconButton, icon, instead, t, useState } from "../../kit/kit.js";
import { pathOf, stepsAfter } from "../../model/connections.js";
import { useSteps } from "./follow.js";

const END = "the end";
const ICONS = {
  begun: "pi-spin pi-spinner",
  ok: "pi-check outpost-good",
  failed: "pi-times outpost-bad",
  skipped: "pi-minus",
};

/** @param {{row: ConnectionRow, close: () => void}} props */
export function Trial({ row: { id, name }, close }) {
  const [steps, setSteps] = useState(/** @type {TrialStep[]} */ ([]));
  const [wish, setWish] = useState({ deployment_id: /** @type {string | null} */ (null) });
  const take = (/** @type {TrialStep} */ line) => setSteps((before) => stepsAfter(before, line));
  const fail = (/** @type {string} */ text) =>
    setSteps((before) => [...before.filter(({ state }) => state !== "begun"), { name: END, state: "failed", text }]);
  const isEnd = (/** @type {TrialStep} */ line) => line.name === END;
  useSteps(`${pathOf(id)}/test`, { body: wish, take, isEnd, fail, brokenOff: "connect.broken_off" }, [wish]);
  const again = (/** @type {string | null} */ deployment) => {
    setSteps([]);
    setWish({ deployment_id: deployment });
  };
  const end = steps.find(isEnd);
  const choices = steps.find((step) => step.choices?.length)?.choices;
  return html`
    <section class="outpost-section outpost-box" aria-label=${t("connect.tested", { name })}>
      <div class="outpost-heading">
        <h3 dir="auto" class="outpost-cut">${t(end ? "connect.tested" : "connect.testing", { name })}</h3>
        <${IconButton} label=${t("connect.close")} icon="pi-times" do=${close} />
      </div>
      <ol class="outpost-steps">${steps.filter((step) => step !== end).map((step) => html`<${Step} ...${step} />`)}</ol>
      <p role="status" dir="auto" class=${`outpost-whole ${end?.state === "failed" ? "outpost-bad" : ""}`}>
        ${end && html`<strong>${end.text}</strong>`}
      </p>
      ${end && choices && html`<${Choice} choices=${choices} run=${again} />`}
      ${end && html`<div><${Button} label=${t("panel.again")} do=${() => again(null)} /></div>`}
    </section>
  `;
}

/** @param {TrialStep} props */
function Step({ name, state, text }) {
  const isSaid = text && (state !== "failed" || name === "the machines"); // else the end says why
  return html`
    <li>${icon(ICONS[state])}
      <span class="outpost-texts"><span>${t(`connect.step_${name.replace("the ", "")}`)}: ${t(`connect.${state}`)}</span>
      ${isSaid && html`<small class="outpost-whole" dir="auto">${text}</small>`}</span></li>
  `;
}

/** @param {{choices: NonNullable<TrialStep["choices"]>, run: (id: string) => void}} props */
function Choice({ choices, run }) {
  const [id, choose] = useState(choices[0].id);
  const options = choices.map((each) => [each.id, each.environment ? `${each.name} (${each.environment})` : each.name]);
  return html`
    <form class="outpost-section" onSubmit=${instead(() => run(id))}>
      <${ChoiceField} label=${t("connect.costs")} aria-label=${t("connect.deployment")} value=${id} options=${options}
        onInput=${choose} />
      <div><button type="submit">${t("connect.run_it")}</button></div>
    </form>
  `;
}
