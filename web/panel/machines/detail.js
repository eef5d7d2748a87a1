// One machine: how it is, what it is made of, what uses it, what it lacks for the open graph, and what it has printed.

import {
  Ago,
  Button,
  daring,
  Facts,
  Failed,
  Heading,
  html,
  Row,
  Section,
  State,
  t,
  useEffect,
  useLayoutEffect,
  useLoaded,
  usePanel,
  useRef,
  useState,
  whenRead,
  withValue,
} from "../../kit/kit.js";
import { factsOf, kindOf, stateOf, workOf } from "../../model/machines.js";
import { machinePath } from "../../model/paths.js";
import { moment, span } from "../../model/time.js";
import { Lacks } from "../deploy/lacks.js";
import { deedsOf, keyOf } from "./deeds.js";
import { useMachineEvents } from "./live.js";

/** @param {{id: string}} props */
export function MachineView({ id }) {
  const panel = usePanel();
  const loaded = useLoaded(() => panel.routes.get(machinePath(id)), [id]);
  const asNow = useMachineEvents(loaded);
  const open = (/** @type {string} */ machine) => panel.go("machines", { machine_id: machine });
  const stated = (/** @type {MachineRow} */ each) => html`<${State} ...${stateOf(each)} />`;
  const done = () => (panel.deletions.has(keyOf(id)) ? panel.back() : loaded.again());
  return whenRead(loaded, (value) => {
    const machine = asNow(value);
    const { can, reason, members, pools, deployments } = machine;
    return html`
      <div class="outpost-page">
        <header class="outpost-section">
          <${Heading} title=${machine.name} items=${deedsOf(panel, machine, done).slice(1)} />
          <p><${State} ...${stateOf(machine)} about=${workOf(machine)} /></p>
          ${reason && html`<p class="outpost-box outpost-whole" dir="auto">${reason}</p>`}
        </header>
        <${Facts} facts=${factsAbout(machine).map(([key, fact]) => [t(`machine.${key}`), fact])} />
        ${can.includes("check") && html`<${Check} id=${id} />`}
        <${Linked} title=${t("machine.members")} rows=${members} about=${stated} open=${open} />
        <${Linked} title=${t("machine.pools")} rows=${pools} about=${stated} open=${open} />
        <${Linked} title=${t("view.deployments")} rows=${deployments} none=${t("machine.unused")}
          about=${(/** @type {DeploymentRow} */ each) => each.environment}
          open=${(/** @type {string} */ deployment) => panel.go("deployments", { deployment_id: deployment })} />
        ${can.includes("logs") && html`<${Logs} id=${id} processes=${machine.processes} />`}
      </div>
    `;
  });
}

/**
 * @param {MachineDetail} machine
 * @returns {[key: string, value: unknown][]}
 */
function factsAbout(machine) {
  const { kind, slots, endpoint, idle_timeout: idle, keep_warm: isWarm, created_at: time, can } = machine;
  return [
    ["kind", kindOf(kind)],
    ...factsOf(machine),
    ["field_concurrency_limit", slots],
    ["processes", machine.processes],
    ["queue_now", machine.queue],
    ["field_endpoint", endpoint],
    ["idle", can.includes("start") && idle != null && (isWarm ? t("machine.warm") : span(idle))],
    ["since", time && html`<${Ago} time=${time} />`],
  ];
}

/**
 * What belongs to it; nothing at all where there is none and nothing to say of that.
 * @param {{title: string, rows: {id: string, name: string}[], none?: string, about: (row: any) => unknown,
 *   open: (id: string) => void}} props
 */
const Linked = ({ title, rows, none, about, open }) =>
  (rows.length > 0 || none) &&
  html`
    <${Section} title=${title} hint=${!rows.length && none}>
      <ul class="outpost-rows">
        ${rows.map(
          (each) =>
            html`<li key=${each.id}><${Row} title=${each.name} about=${about(each)} open=${() => open(each.id)} /></li>`,
        )}
      </ul>
    <//>
  `;

/** @param {{id: string}} props */
function Check({ id }) {
  const panel = usePanel();
  const [verdict, setVerdict] = useState(/** @type {Verdict | null} */ (null));
  const [isBusy, setBusy] = useState(false);
  const ask = daring(panel, async () => {
    const { output } = await panel.comfy.readGraph();
    const isEmpty = !Object.keys(output).length;
    if (isEmpty) return setVerdict({ is_known: false, reason: t("lacks.no_graph"), lacks: [] });
    setVerdict(await panel.routes.send("POST", `${machinePath(id)}/check`, { workflow_api: output }));
  });
  const check = async () => {
    setBusy(true);
    await ask();
    setBusy(false);
  };
  const button = html`<${Button} label=${t(isBusy ? "lacks.checking" : "lacks.check")} do=${check} isOff=${isBusy} />`;
  return html`
    <${Section} title=${t("lacks.title")} items=${button} hint=${!verdict && t("lacks.hint")}>
      ${verdict && html`<${Lacks} verdict=${verdict} />`}
    <//>
  `;
}

/** @param {{id: string, processes?: number | null}} props the logs are read again when processes have come or gone */
function Logs({ id, processes }) {
  const { routes } = usePanel();
  const [chosen, setChosen] = useState("");
  const { value, error, isLoading, again } = useLoaded(() => routes.get(`${machinePath(id)}/logs`), [id]);
  useEffect(() => {
    if (value) again();
  }, [processes]);
  const logs = value?.logs ?? [];
  const log = logs.find(({ name }) => name === chosen) ?? logs[0];
  const end = useRef(/** @type {HTMLElement | null} */ (null));
  useLayoutEffect(() => end.current?.scrollTo(0, end.current.scrollHeight), [log?.text]);
  const look = `pi-refresh ${isLoading ? "pi-spin" : ""}`;
  const button = html`<${Button} label=${t("machine.log_again")} icon=${look} do=${again} isOff=${isLoading} />`;
  const process = (/** @type {MachineLog} */ { name, started_at: time, is_running: isRunning }) =>
    html`<option value=${name}>${moment(time)}${isRunning && ` · ${t("machine.log_running")}`}</option>`;
  return html`
    <${Section} title=${t("machine.log")} items=${button} hint=${value && !log && t("machine.log_none")}>
      ${error && html`<${Failed} error=${error} />`}
      ${
        logs.length > 1 &&
        html`<select aria-label=${t("machine.log_process")} value=${log.name} onChange=${withValue(setChosen)}>
          ${logs.map(process)}</select>`
      }
      ${log && html`<pre class="outpost-code" tabindex="0" role="log" aria-label=${t("machine.log")} ref=${end}>${log.text}</pre>`}
    <//>
  `;
}
