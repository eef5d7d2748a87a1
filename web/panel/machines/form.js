// The form of a machine that is added or changed.

import { ChoiceField, Form, html, openView, TextField, TickField, t, useState } from "../../kit/kit.js";
import { kindOf, wishOf } from "../../model/machines.js";

/** @typedef {{offers: MachineOffers, machine?: MachineDetail}} Known */

/** @type {Record<string, string[]>} the fields of each kind, besides its name */
const FIELDS = {
  comfyui: ["endpoint", "token", "slots"],
  classic: ["endpoint", "token", "slots"],
  managed: ["comfyui", "slots", "idle", "warmth"],
  serverless: ["gpu", "slots", "idle"],
  "comfy-deploy-serverless": ["slots", "idle"],
  pool: ["members"],
  builtin: ["slots"],
};
const MEMBERS = ["builtin", "comfyui", "managed"];

/**
 * Ask for what there is to say of a machine, until it is saved or the dialog is left.
 * @param {string} title
 * @param {MachineOffers} offers
 * @param {(wish: Record<string, unknown>) => Promise<any>} save
 * @param {MachineDetail} [machine] that is changed
 * @returns {Promise<any>} what the route answers; null when the dialog was left
 */
export function openForm(title, offers, save, machine) {
  const view = (/** @type {(made: any) => void} */ close) =>
    html`<${MachineForm} offers=${offers} machine=${machine} save=${save} close=${close} />`;
  return openView(title, view);
}

/** @param {Known & {save: (wish: Record<string, unknown>) => Promise<any>, close: (made: any) => void}} props */
function MachineForm({ offers, machine, save, close }) {
  const kinds = offers.offers;
  const [kind, setKind] = useState(kinds[0]);
  const send = (/** @type {FormData} */ data) => save(machine ? wishOf(data) : { ...wishOf(data), kind });
  return html`
    <${Form} save=${send} close=${close} yes=${t("dialog.save")} busy=${t("machine.asking")}>
      ${
        kinds.length > 1 &&
        html`<${ChoiceField} label=${t("machine.kind")} value=${kind} onInput=${setKind}
          options=${kinds.map((each) => [each, kindOf(each)])} />`
      }
      ${!machine && html`<p class="outpost-hint">${t(`machine.about_${kind}`)}</p>`}
      ${text("name", { required: true, maxlength: 200, value: machine?.name })}
      <div class="outpost-section" key=${kind}>${FIELDS[kind]?.map((field) => FORMS[field]({ offers, machine }))}</div>
    <//>
  `;
}

/** @param {string} name @param {Record<string, unknown>} attributes */
const text = (name, attributes) =>
  html`<${TextField} label=${t(`machine.field_${name}`)} name=${name} ...${attributes} />`;

const ADDRESS = {
  type: "url",
  required: true,
  dir: "ltr",
  placeholder: "http://127.0.0.1:8188",
  pattern: "https?://.+",
};
const IDLE = { type: "number", min: 0, max: 604800, placeholder: 60 }; // which counts where nothing is said
const SECRET = { type: "password", dir: "ltr", autocomplete: "new-password" };

/** @type {Record<string, (known: Known) => unknown>} */
const FORMS = {
  endpoint: ({ machine }) =>
    text("endpoint", { ...ADDRESS, value: machine?.endpoint, hint: t("machine.endpoint_hint") }),
  token: ({ machine }) => html`
    ${text("auth_token", { ...SECRET, hint: t(machine ? "machine.token_kept" : "machine.token_hint") })}
    ${machine && html`<${TickField} name="no_token" label=${t("machine.no_token")} />`}
  `,
  gpu: () => text("gpu", { required: true, placeholder: "T4" }),
  slots: ({ machine }) =>
    text("concurrency_limit", { type: "number", min: 1, max: 64, value: machine ? machine.slots : 1 }),
  idle: ({ machine }) => text("idle_timeout", { ...IDLE, value: machine ? machine.idle_timeout : IDLE.placeholder }),
  warmth: ({ machine }) => html`
    <input type="hidden" name="has_warmth" value="1" />
    <${TickField} name="keep_warm" defaultChecked=${!!machine?.keep_warm} label=${t("machine.field_keep_warm")} />
  `,
  comfyui: ({ machine, offers: { comfyuis } }) => {
    if (machine) return null; // another folder is another machine
    if (!comfyuis) return text("comfyui", {});
    if (!comfyuis.length) return html`<p class="outpost-warning">${t("machine.no_folders")}</p>`;
    const options = comfyuis.map((name) => [name, name]);
    return html`<${ChoiceField} label=${t("machine.field_comfyui")} name="comfyui" options=${options} />`;
  },
  members: ({ machine, offers: { machines } }) => {
    const rows = machines.filter(({ kind }) => MEMBERS.includes(kind));
    const tick = (/** @type {MachineRow} */ { id, name }) =>
      html`<${TickField} name="machine_ids" value=${id} defaultChecked=${machine?.machine_ids?.includes(id)}
        label=${html`<span class="outpost-cut" dir="auto">${name}</span>`} />`;
    return html`
      <fieldset class="outpost-section outpost-box"><legend>${t("machine.field_machine_ids")}</legend>
        <input type="hidden" name="machine_ids" />
        ${rows.length ? rows.map(tick) : html`<p>${t("machine.no_members")}</p>`}
      </fieldset>
    `;
  },
};
