// Deploying the open graph, or a version that is kept already.

import {
  html,
  icon,
  instead,
  Labelled,
  Section,
  TextField,
  TickField,
  t,
  useCalm,
  useChanges,
  useEvent,
  useKept,
  useLayoutEffect,
  useLoaded,
  usePanel,
  useRef,
  useState,
  whenRead,
} from "../../kit/kit.js";
import { signOf } from "../../model/canonical.js";
import { Deploying, environmentsOf, machineFor } from "../../model/deploying.js";
import { versionPath } from "../../model/paths.js";
import { outputLabel } from "../../model/ports.js";
import { Deployed, wordsOf } from "../deployments/deployed.js";
import { EnvironmentField, MachineField } from "../deployments/fields.js";
import { expose, likely } from "./expose.js";
import { Lacks } from "./lacks.js";
import { carryOut, originOf, Steps, verdictOf } from "./steps.js";

export function DeployButton() {
  const { go } = usePanel();
  const label = t("panel.deploy");
  return html`<button type="button" class="outpost-primary" aria-label=${label} title=${label} onClick=${() => go("deploy")}>
    ${icon("pi-cloud-upload")}<span>${label}</span></button>`;
}

/** @param {{workflow_id?: string, version?: number}} props a version that is kept; else the open graph is meant */
export function DeployView({ workflow_id, version }) {
  const panel = usePanel();
  const stored = useRef(version ? { workflow_id, version } : null).current;
  const source = useSource(panel, stored);
  const from = source.value && JSON.stringify(source.value.here);
  const place = useLoaded(async () => source.value && readPlace(panel.routes, source.value.here), [from]);
  useChanges(["machine", "deployment", "version", "workflow"], place.again);
  const known = useRef(place.value);
  known.current = place.value ?? known.current; // while that of another graph is read
  // Not while it is merely read again: a button that is off for a moment swallows the click that comes then.
  const isReady = JSON.stringify(place.value?.here) === from;
  return whenRead(source, (shown) =>
    whenRead(
      { ...place, value: known.current },
      (where) => html`
        <div class="outpost-page" onPointerEnter=${source.again} onFocusIn=${source.again}>
          <${Deploy} source=${shown} place=${where} stored=${stored} isReady=${isReady} again=${source.again}
            done=${place.again} />
        </div>
      `,
    ),
  );
}

/**
 * The graph and what it would be, read again when it changes.
 * @param {Panel} panel @param {ComfyUI.Remembered | null} stored
 */
function useSource(panel, stored) {
  const { comfy, routes } = panel;
  const known = useRef(/** @type {Source | null} */ (null));
  const loaded = useLoaded(async () => {
    const before = known.current;
    if (stored && before) return before;
    const opened = stored ? await keptOf(routes, stored) : await comfy.readOpened(panel.connection);
    const { output = {} } = opened.graph;
    const sign = signOf(output);
    /** @type {GraphForm} */
    const form =
      before?.sign === sign ? before.form : await routes.send("POST", "/graphs/form", { workflow_api: output });
    known.current = { ...opened, sign, form, widgets: stored ? [] : likely(panel) };
    return known.current;
  }, []);
  const again = useCalm(loaded.again);
  useLayoutEffect(() => (stored ? undefined : comfy.onGraphChange(again)), []);
  useEvent(panel.feed, "connection", again); // what the graph is depends on it
  return { ...loaded, again };
}

/** @param {Routes} routes @param {ComfyUI.Remembered} stored @returns {Promise<ComfyUI.Opened>} */
async function keptOf(routes, stored) {
  const { workflow, workflow_api } = await routes.get(versionPath(stored.workflow_id ?? "", stored.version ?? 0));
  return { graph: { workflow, output: workflow_api ?? {} }, here: stored, mark: null };
}

/** @param {Routes} routes @param {ComfyUI.Remembered} here @returns {Promise<DeployPlace>} */
async function readPlace(routes, here) {
  const [{ machines }, { deployments }, origin] = await Promise.all([
    routes.get("/machines"),
    routes.get("/deployments"),
    originOf(routes, here),
  ]);
  return { machines, deployments, origin, here };
}

/**
 * @param {{source: Source, place: DeployPlace, stored: ComfyUI.Remembered | null, isReady: boolean, again: () => void,
 *   done: () => void}} props `done` reads what is deployed again
 */
function Deploy({ source, place: { origin, machines, deployments }, stored, isReady, again, done }) {
  const panel = usePanel();
  const [wish, setWish] = useState(/** @type {"new" | "same" | null} */ (null)); // null: nobody has chosen
  const typed = useRef({ name: "", comment: "" }).current; // while another graph is looked at, too
  const [environment, setEnvironment] = useKept(panel, "deploy.environment", "production");
  const [machineId, setMachineId] = useKept(panel, "deploy.machine", "");
  const [steps, setSteps] = useState(/** @type {Step[]} */ ([]));
  const [made, setMade] = useState(/** @type {DeploymentRow | null} */ (null));
  const [spent, setSpent] = useState(/** @type {Source | null} */ (null));
  // The graph that was deployed, what it is called, and the one that was open at the end.
  const [tried, setTried] = useState(
    /** @type {{mark: unknown, name: string, end?: unknown}} */ ({ mark: null, name: "" }),
  );
  const latest = useRef(source);
  latest.current = source;
  const isNew = wish ? wish === "new" : !origin;
  const target = isNew ? null : origin;
  const its = target ? deployments.filter((each) => each.workflow_id === target.id) : [];
  const replaced = its.find((each) => each.environment === environment);
  const machine = machineFor(machines, [machineId, replaced?.machine_id, ...its.map((each) => each.machine_id)]);
  const same = target?.versions.find(({ sign }) => sign === source.sign);
  const isEmpty = source.form.warnings.some(({ kind }) => kind === "empty");
  const is = (/** @type {Step["state"]} */ state) => steps.some((each) => each.state === state);
  const isOfThis = tried.mark === source.mark;
  const isTold = isOfThis || is("working") || tried.end === source.mark;
  const isOff = is("working") || !isReady || spent === source || !machine || isEmpty;
  const keep = (/** @type {Event} */ { currentTarget: form }) =>
    Object.assign(typed, Object.fromEntries(new FormData(/** @type {HTMLFormElement} */ (form))));
  const deploy = async () => {
    const name = typed.name.trim() || panel.comfy.graphName() || t("deploy.unnamed");
    const plan = { origin: target, name, comment: typed.comment.trim(), machine, environment, stored, source };
    const { mark } = source;
    setMade(null);
    setTried({ mark, name });
    const row = await carryOut(panel, deployingOf(panel), plan, setSteps, () => setWish(null));
    if (row) Object.assign(typed, { name: "", comment: "" });
    // What was opened meanwhile may not be shown yet: whoever looks at it is told how this ended.
    setTried({
      mark,
      name: row?.workflow ?? name,
      end: stored ? mark : (await panel.comfy.readOpened(panel.connection)).mark,
    });
    setMade(row);
    setSpent(stored ? null : latest.current); // by now the graph may remember something else
    again();
    done();
  };
  return html`
    <form class="outpost-section" onSubmit=${instead(deploy)} onInput=${keep}>
      <h2>${t(stored ? "deploy.title_version" : "panel.deploy", { number: stored?.version ?? 0 })}</h2>
      <${Target} origin=${origin} isNew=${isNew} isStored=${!!stored} same=${same?.version} name=${typed.name}
        choose=${setWish} />
      <${Ports} form=${source.form} />
      ${source.widgets.length > 0 && html`<${Expose} widgets=${source.widgets} again=${again} />`}
      <${MachineField} machines=${machines} value=${machine?.id ?? ""} onInput=${setMachineId} />
      ${machine && !isEmpty && html`<${Check} key=${machine.id} machine=${machine} source=${source} />`}
      <${EnvironmentField} names=${environmentsOf(deployments)} value=${environment} onInput=${setEnvironment} />
      ${replaced && html`<small>${t("deploy.replaces", wordsOf(replaced))}</small>`}
      ${
        !same &&
        html`<${Labelled} label=${t("deploy.comment")}>
          <textarea name="comment" rows="2" maxlength="10000" dir="auto" defaultValue=${typed.comment} />
        <//>`
      }
      <button class="outpost-primary" disabled=${isOff}>
        ${icon(is("working") ? "pi-spin pi-spinner" : "pi-cloud-upload")}
        ${t(is("failed") && isOfThis ? "panel.again" : "deploy.do")}</button>
      ${isTold && !isOfThis && steps.length > 0 && html`<p class="outpost-whole" dir="auto">${t("deploy.of", { name: tried.name })}</p>`}
      <${Steps} steps=${isTold ? steps : []} />
    </form>
    ${made && isTold && html`<${Deployed} key=${made.id} row=${made} />`}
  `;
}

/** What may have to be done again, as long as the platform is the same one. @param {Panel} panel @returns {Deploying} */
function deployingOf({ kept, routes }) {
  if (!kept.has("deploying")) kept.set("deploying", new Deploying(routes));
  return /** @type {Deploying} */ (kept.get("deploying"));
}

/**
 * @param {{origin: Origin | null, isNew: boolean, isStored: boolean, same?: number, name: string,
 *   choose: (wish: "new" | "same") => void}} props
 */
function Target({ origin, isNew, isStored, same, name, choose }) {
  const { comfy } = usePanel();
  const of = origin && { name: origin.name, number: same ?? origin.newest + 1 };
  const version = of && t(isStored || same ? "deploy.same_version" : "deploy.new_version", of);
  if (isStored) return html`<p class="outpost-whole" dir="auto">${version}</p>`;
  const choices = [version, t("deploy.new_workflow")].map(
    (text, index) => html`<${TickField} type="radio" name="target" checked=${isNew === !!index}
      onInput=${() => choose(index ? "new" : "same")} label=${html`<span class="outpost-whole" dir="auto">${text}</span>`} />`,
  );
  return html`
    ${of && html`<div class="outpost-section" role="radiogroup" aria-label=${t("deploy.target")}>${choices}</div>`}
    ${
      isNew &&
      html`<${TextField} label=${t("deploy.name")} name="name" value=${name} maxlength="200"
        placeholder=${comfy.graphName() || t("deploy.unnamed")} />`
    }
  `;
}

/** @param {{name: string, kind: string}} props */
const Chip = ({ name, kind }) => html`
  <li class="outpost-chip" title=${name}><span class="outpost-cut" dir="auto">${name}</span><small>${kind}</small></li>
`;

/** @param {{form: GraphForm}} props */
function Ports({ form: { inputs, outputs, open, warnings } }) {
  const taken = inputs.map(({ input_id, kind }) => html`<${Chip} name=${input_id} kind=${kind} />`);
  const given = outputs.map((output) => html`<${Chip} name=${outputLabel(output)} kind=${output.kind} />`);
  const chipsOr = (/** @type {string} */ none, /** @type {unknown[]} */ chips) =>
    chips.length ? html`<ul class="outpost-chips">${chips}</ul>` : html`<small>${none}</small>`;
  const noInputs = t(open ? "deploy.open" : "deploy.no_inputs", { count: open });
  return html`
    <${Section} title=${t("deploy.inputs")}>${chipsOr(noInputs, taken)}<//>
    <${Section} title=${t("deploy.outputs")}>${chipsOr(t("deploy.no_outputs"), given)}<//>
    ${warnings.map(
      ({ kind, name }) => html`<p class="outpost-warning" role="status" dir="auto">
        ${icon("pi-exclamation-triangle")} ${t(`deploy.warn_${kind}`, { name })}</p>`,
    )}
  `;
}

/** @param {{widgets: Exposable[], again: () => void}} props */
function Expose({ widgets, again }) {
  const panel = usePanel();
  const act = (/** @type {Exposable} */ each) => {
    expose(panel, each);
    again();
  };
  return html`
    <details class="outpost-box"><summary>${t("expose.title")}</summary>
      <ul class="outpost-rows">
        ${widgets.map(
          (each) => html`<li>
            <span class="outpost-texts outpost-grow"><span dir="auto">${each.title} · ${each.name}</span>
              <small dir="auto">${String(each.value ?? "").slice(0, 200)}</small></span>
            <button type="button" aria-label=${t("expose.one", { name: each.name, title: each.title })}
              onClick=${() => act(each)}>${t("expose.do")}</button></li>`,
        )}
      </ul>
    </details>
  `;
}

/** @param {{machine: MachineRow, source: Source}} props */
function Check({ machine, source: { graph, sign } }) {
  const { routes } = usePanel();
  const isAsleep = machine.processes === 0;
  const read = async () => (isAsleep ? null : verdictOf(routes, machine, graph)); // asking would start it
  const { value, error, isLoading } = useLoaded(read, [machine.id, machine.status, isAsleep, sign]);
  const last = useRef(value);
  last.current = value ?? last.current; // while it is asked again
  if (isAsleep) return html`<p class="outpost-hint" role="status">${t("lacks.asleep")}</p>`;
  if (isLoading && !last.current) return html`<p class="outpost-hint" role="status">${t("lacks.checking")}</p>`;
  if (error) return html`<p class="outpost-warning" role="status" dir="auto">${error.message}</p>`;
  return last.current && html`<${Lacks} verdict=${last.current} />`;
}
