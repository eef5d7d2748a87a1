// What is chosen for a deployment: its machine and its environment.

import { ChoiceField, html, joined, TextField, t, useState } from "../../kit/kit.js";
import { stateOf } from "../../model/machines.js";

/** @param {{machines: MachineRow[], value: string, onInput: (id: string) => void}} props */
export function MachineField({ machines, value, onInput }) {
  const options = machines.map((each) => [each.id, joined(each.name, stateOf(each).text)]);
  return html`
    <${ChoiceField} label=${t("deploy.machine")} options=${options} value=${value} required onInput=${onInput} />
    ${!machines.length && html`<p class="outpost-warning">${t("deploy.no_machine")}</p>`}
  `;
}

/** @param {{names: string[], value: string, onInput: (name: string) => void}} props */
export function EnvironmentField({ names, value, onInput }) {
  const [isOwn, setOwn] = useState(!names.includes(value));
  const choose = (/** @type {string} */ name) => {
    setOwn(!name);
    if (name) onInput(name);
  };
  const options = [...names.map((name) => [name, name]), ["", t("deploy.own_word")]];
  const hint = t("deploy.word_hint");
  return html`
    <${ChoiceField} label=${t("deploy.environment")} options=${options} value=${isOwn ? "" : value} onInput=${choose} />
    ${
      isOwn &&
      html`<${TextField} label=${t("deploy.word")} hint=${hint} title=${hint} required pattern="[a-z][a-z\\-]{0,39}"
        value=${value} onInput=${onInput} />`
    }
  `;
}
