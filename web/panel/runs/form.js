// The form of a run, made from what its deployment takes.

import {
  Button,
  confirm,
  html,
  IconButton,
  icon,
  instead,
  Problem,
  t,
  useEffect,
  useLoaded,
  usePanel,
  useRef,
  useState,
  whenRead,
  withChecked,
  withValue,
} from "../../kit/kit.js";
import { deploymentPath } from "../../model/paths.js";
import { bodyOf, firstOf, isSeed, problemOf, randomOf, rawOf } from "../../model/run_values.js";
import { Starting } from "../../model/starting.js";
import { FileField } from "./files.js";

/** @import { Values } from "../../model/run_values.js" */
/** @typedef {{field: Field, value: any, about: object, onInput: (value: any) => void}} ControlProps */

const MOST_STEPS = 2000; // of a slider that can still be aimed
const MOST_OPEN = 20; // values of nodes that are shown without being asked for

/** @param {{deployment_id: string, values?: Record<string, unknown>}} props `values`: what stands in the form at first */
export function RunForm({ deployment_id: id, values = {} }) {
  const { routes } = usePanel();
  const loaded = useLoaded(() => routes.get(deploymentPath(id)), [id]);
  return whenRead(loaded, (form) => html`<${Filled} form=${form} first=${values} />`);
}

/** @param {{form: Shape & {deployment: DeploymentRow}, first: Record<string, unknown>}} props */
function Filled({ form: { id, name, environment, inputs, deployment }, first }) {
  const panel = usePanel();
  const [values, setValues] = useState(() => rawOf(inputs, first));
  const [isTried, setTried] = useState(false);
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const starting = startingOf(panel);
  const isThere = useLeaving(values);
  const place = useRef(/** @type {HTMLFormElement | null} */ (null));
  const body = { deployment_id: id, ...bodyOf(inputs, values) };
  const isUploading = filesOf(values).some((file) => file.share < 1);
  const isResting = deployment.is_active === false;
  const submit = async () => {
    setTried(true);
    const wrong = inputs.find((field) => problemOf(field, values.get(field.input_id)));
    if (wrong) return show(place.current, wrong.input_id);
    if (starting.isLost(body) && !(await isSure())) return;
    setBusy(true);
    setError("");
    try {
      const run = await starting.start(body);
      if (isThere.current) panel.go("runs", { run_id: run.id });
    } catch (problem) {
      setError(/** @type {Error} */ (problem).message);
    }
    setBusy(false);
  };
  const row = (/** @type {Field} */ field) => {
    const key = field.input_id;
    const value = values.get(key);
    const onInput = (/** @type {any} */ next) =>
      setValues((before) => new Map(before).set(key, typeof next === "function" ? next(before.get(key)) : next));
    const problem = (isTried || value !== undefined) && problemOf(field, value);
    return html`<${InputField} key=${key} field=${field} value=${value} problem=${problem} onInput=${onInput} />`;
  };
  const made = inputs.filter((field) => !field.is_open);
  const open = inputs.filter((field) => field.is_open);
  return html`
    <form class="outpost-page" onSubmit=${instead(submit)} noValidate ref=${place}>
      <header class="outpost-heading">
        <div class="outpost-texts outpost-grow"><h2 dir="auto" title=${name}>${t("run.title", { name })}</h2></div>
        <span class=${`outpost-chip outpost-is-${environment}`}>${environment}</span>
      </header>
      ${isResting && html`<p class="outpost-warning" role="status">${t("run.inactive")}</p>`}
      ${!inputs.length && html`<p class="outpost-hint">${t("run.no_inputs")}</p>`}
      ${made.map(row)}
      ${open.length > 0 && html`<${Open} fields=${open} row=${row} isFirst=${!made.length} />`}
      ${error && html`<${Problem} text=${error} />`}
      ${
        starting.isLost(body) &&
        html`<${Button} label=${t("deployment.runs")} do=${() => panel.go("runs", { deployment_id: id })} />`
      }
      <button class="outpost-primary" disabled=${isBusy || isUploading || isResting}>
        ${icon(isBusy ? "pi-spin pi-spinner" : "pi-play")} ${t(isUploading ? "run.uploading" : "deployment.run")}</button>
    </form>
  `;
}

/** Bring somebody to a field. @param {HTMLElement | null} form @param {string} inputId */
function show(form, inputId) {
  const field = form?.querySelector(`[data-input="${CSS.escape(inputId)}"]`);
  for (let box = field?.closest("details"); box; box = box.parentElement?.closest("details")) box.open = true;
  /** @type {HTMLElement | null | undefined} */ (field?.querySelector("input, textarea, select, button"))?.focus();
}

/** @param {Values} values @returns {import("./files.js").Given[]} */
const filesOf = (values) => [...values.values()].filter(Array.isArray).flat();

/** Whether a run is to be started although its like may be going on. */
const isSure = () =>
  confirm({ title: t("run.lost"), text: t("run.lost_hint"), yes: t("run.lost_yes"), isDangerous: true });

/** What is known of runs that are being started, as long as the platform is the same one. @param {Panel} panel */
function startingOf({ kept, routes }) {
  if (!kept.has("starting")) kept.set("starting", new Starting(routes));
  return /** @type {Starting} */ (kept.get("starting"));
}

/** Break off what is being uploaded when the form is left. @param {Values} values */
function useLeaving(values) {
  const last = useRef(values);
  last.current = values;
  const isThere = useRef(true);
  useEffect(
    () => () => {
      isThere.current = false;
      for (const each of filesOf(last.current)) each.control?.abort();
    },
    [],
  );
  return isThere;
}

/**
 * The values of nodes that are no inputs of their own: a graph has hundreds, so they are there when they are asked for.
 * @param {{fields: Field[], row: (field: Field) => unknown, isFirst: boolean}} props
 */
function Open({ fields, row, isFirst }) {
  const [isOpen, setOpen] = useState(isFirst && fields.length <= MOST_OPEN);
  const toggled = (/** @type {{currentTarget: HTMLDetailsElement}} */ event) => setOpen(event.currentTarget.open);
  return html`
    <details class="outpost-box" open=${isOpen} onToggle=${toggled}>
      <summary>${t("run.open", { count: fields.length })}</summary>
      <div class="outpost-section">${isOpen && fields.map(row)}</div>
    </details>
  `;
}

/** @param {Omit<ControlProps, "about"> & {problem: ReturnType<typeof problemOf> | false}} props */
function InputField({ field, value, problem, onInput }) {
  const { input_id: id, label, tooltip, widget, is_required: isRequired } = field;
  const [ident, hint] = [`outpost-in-${id}`, `outpost-of-${id}`];
  const about = {
    id: ident,
    "aria-describedby": hint,
    "aria-invalid": problem ? "true" : null,
    "aria-required": isRequired ? "true" : null,
  };
  const isDefault = !widget && !isRequired && !value?.length;
  const Control = widget && (CONTROLS[widget.type] ?? NumberField);
  return html`
    <div class="outpost-field" data-input=${id}>
      <label for=${ident} dir="auto" title=${label === id ? null : id}>${label}${isRequired && html` <span class="outpost-bad" title=${t("run.required")}>*</span>`}</label>
      ${
        Control
          ? html`<${Control} field=${field} value=${value ?? firstOf(widget)} about=${about} onInput=${onInput} />`
          : html`<${FileField} field=${field} given=${value ?? []} about=${about} onInput=${onInput} />`
      }
      <small id=${hint} class="outpost-whole" dir="auto">${problem && html`<span class="outpost-bad" role="alert">${t(...problem)} </span>`}${[tooltip, isDefault && t("run.default")].filter(Boolean).join(" ")}</small>
    </div>
  `;
}

/** @type {Record<string, (props: ControlProps) => unknown>} by the type of a widget; any other is a number */
const CONTROLS = {
  boolean: ({ value, about, onInput }) =>
    html`<input type="checkbox" ...${about} checked=${value === true} onChange=${withChecked(onInput)} />`,
  combo: ({ field, value, about, onInput }) => html`
    <select ...${about} value=${value} onChange=${withValue(onInput)}>
      ${[...new Set([...(field.widget?.options ?? []), value])].map((each) => html`<option value=${each}>${each}</option>`)}
    </select>`,
  multiline: ({ value, about, onInput }) =>
    html`<textarea ...${about} rows="4" dir="auto" value=${value} onInput=${withValue(onInput)} />`,
  text: ({ value, about, onInput }) =>
    html`<input type="text" ...${about} dir="auto" value=${value} onInput=${withValue(onInput)} />`,
};

/** @param {ControlProps} props */
function NumberField({ field, value, about, onInput }) {
  const { label: name, widget } = field;
  const { type, min, max, step, is_slider: isSlider } = /** @type {Widget} */ (widget);
  const one = step ?? (type === "float" ? 0.01 : 1);
  const hasSlider = isSlider && min != null && max != null && (max - min) / one <= MOST_STEPS;
  const typed = withValue(onInput);
  return html`
    <div class="outpost-bar">
      ${hasSlider && html`<input type="range" min=${min} max=${max} step=${one} value=${value} aria-label=${name} onInput=${typed} />`}
      <input type="text" inputmode=${type === "float" ? "decimal" : "numeric"} ...${about} value=${value} onInput=${typed} />
      ${
        isSeed(field) &&
        html`<${IconButton} label=${t("run.random", { name })} icon="pi-sync" do=${() => onInput(randomOf(/** @type {Widget} */ (widget)))} />`
      }
    </div>
  `;
}
