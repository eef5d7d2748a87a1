// The runs: a list that follows what happens, or one of them.

import {
  Ago,
  Cover,
  Empty,
  Failed,
  html,
  icon,
  List,
  Loading,
  Row,
  State,
  t,
  useChanges,
  useEvent,
  useKept,
  useLoaded,
  usePages,
  usePanel,
  withValue,
} from "../../kit/kit.js";
import { aboutOf, FILTERS, isActive, merged, runPath, stateOf, titleOf } from "../../model/runs.js";
import { deedsOf } from "./deeds.js";
import { RunView } from "./detail.js";
import { RunProgress, useClock, usePreviews } from "./live.js";

const ROW_HEIGHT = 68;

/** @param {{run_id?: string, deployment_id?: string, workflow_id?: string}} props */
export const RunsView = ({ run_id: id, ...about }) =>
  id ? html`<${RunView} key=${id} id=${id} />` : html`<${RunList} ...${about} />`;

/** @param {{deployment_id?: string, workflow_id?: string}} props */
function RunList({ deployment_id: given, workflow_id: workflow }) {
  const panel = usePanel();
  const { feed, go, routes } = panel;
  const [status, setStatus] = useKept(panel, "runs.status", "");
  const [chosen, choose] = useKept(panel, "runs.deployment", "");
  const filter = { status, deployment_id: given ?? chosen, workflow_id: workflow };
  const { rows, error, isLoading, hasMore, change, again, seen } = usePages(async (offset, signal) => {
    const { runs, more } = await routes.get("/runs", { ...filter, offset }, { signal });
    return { rows: /** @type {RunRow[]} */ (runs), more };
  }, Object.values(filter));
  useEvent(feed, "run", (run) => change((before) => merged(before, run, filter, hasMore)));
  useChanges(["run"], again);
  const now = useClock(rows.some(isActive));
  const previewOf = usePreviews();
  const isOfOne = given || workflow;
  const clear = () => {
    setStatus("");
    choose("");
    if (isOfOne) go("runs");
  };
  const none = Object.values(filter).some(Boolean)
    ? { text: t("runs.not_found"), action: { label: t("runs.clear"), do: clear } }
    : {
        text: t("runs.none"),
        hint: t("runs.none_hint"),
        action: { label: t("runs.deployments"), do: () => go("deployments") },
      };
  const row = (/** @type {RunRow} */ run) => html`<${Run} run=${run} now=${now} preview=${previewOf(run)} />`;
  const shown = () => {
    if (rows.length)
      return html`<${List} rows=${rows} rowHeight=${ROW_HEIGHT} label=${t("view.runs")} hasMore=${hasMore}
        isLoading=${isLoading} onSight=${seen} row=${row} />`;
    if (error) return html`<${Failed} error=${error} again=${again} />`;
    return isLoading ? html`<${Loading} />` : html`<${Empty} ...${none} />`;
  };
  return html`
    <div class="outpost-bar">
      <div class="outpost-chips" role="group" aria-label=${t("runs.filter")}>
        ${FILTERS.map(
          (each) => html`<button type="button" class="outpost-chip" aria-pressed=${each === status}
            onClick=${() => setStatus(each)}>${t(`runs.filter_${each}`)}</button>`,
        )}
      </div>
      ${
        isOfOne
          ? html`<button type="button" class="outpost-quiet" onClick=${clear}>${t("runs.clear")}</button>`
          : html`<${Deployments} chosen=${chosen} choose=${choose} />`
      }
    </div>
    ${shown()}
    ${rows.length > 0 && error && html`<${Failed} error=${error} again=${again} />`}
  `;
}

/** @param {{chosen: string, choose: (id: string) => void}} props */
function Deployments({ chosen, choose }) {
  const { routes, feed } = usePanel();
  const { value, again } = useLoaded(() => routes.deployments(), []);
  useEvent(feed, "changed", ({ kind }) => kind === "deployment" && again());
  const rows = value ?? [];
  if (rows.length < 2 && !chosen) return null;
  return html`
    <select class="outpost-sort" aria-label=${t("runs.of_deployment")} value=${chosen} onChange=${withValue(choose)}>
      <option value="">${t("runs.every_deployment")}</option>
      ${rows.map((each) => html`<option value=${each.id}>${titleOf(each)}</option>`)}
    </select>
  `;
}

/** @param {{run: RunRow, now: number, preview?: string | null}} props */
function Run({ run, now, preview }) {
  const panel = usePanel();
  const sign = stateOf(run).icon;
  const seen = preview && isActive(run) ? html`<img alt="" src=${preview} />` : icon(sign);
  const picture =
    run.status === "success"
      ? html`<${Cover} key=${run.id} of=${runPath(run.id)} sign=${sign} />`
      : html`<span class="outpost-thumb">${seen}</span>`;
  return html`
    <${Row} title=${titleOf(run)} open=${() => panel.go("runs", { run_id: run.id })} items=${deedsOf(panel, run)}
      picture=${picture}
      about=${html`<${State} ...${stateOf(run)} about=${aboutOf(run, now)} />`}>
      ${
        isActive(run)
          ? html`<${RunProgress} run=${run} />`
          : html`<small><${Ago} time=${run.created_at} now=${now} /></small>`
      }
    <//>
  `;
}
