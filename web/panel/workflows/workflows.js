// The workflows: a list of them, one of them, or how a version of one differs from the open graph.

import {
  Failed,
  html,
  List,
  Loading,
  memo,
  Row,
  SearchField,
  t,
  useCallback,
  useChanges,
  useKept,
  useLater,
  usePages,
  usePanel,
  useRef,
  useState,
  withValue,
} from "../../kit/kit.js";
import { Nothing } from "../deploy/nothing.js";
import { CompareView } from "./compare.js";
import { aboutOf, coverOf } from "./cover.js";
import { deedsOf, keyOf } from "./deeds.js";
import { WorkflowView } from "./detail.js";

const ROW_HEIGHT = 52;
const SORTS = ["updated", "created", "name"];

/** @param {{workflow_id?: string, compare?: number}} props */
export function WorkflowsView({ workflow_id: id, compare }) {
  if (!id) return html`<${WorkflowList} />`;
  return compare ? html`<${CompareView} id=${id} number=${compare} />` : html`<${WorkflowView} id=${id} />`;
}

function WorkflowList() {
  const panel = usePanel();
  const [search, setSearch] = useKept(panel, "workflows.search", "");
  const [sort, setSort] = useKept(panel, "workflows.sort", SORTS[0]);
  const asked = useLater(search.trim());
  const [canSort, setSortable] = useState(true);
  const pages = usePages(
    async (offset, signal) => {
      const answer = await panel.routes.get("/workflows", { search: asked, sort, offset }, { signal });
      setSortable(answer.can_sort);
      return { rows: answer.workflows, more: answer.more };
    },
    [asked, sort],
  );
  useChanges(["workflow"], pages.again);
  return html`
    <div class="outpost-bar">
      <${SearchField} label=${t("workflow.search")} value=${search} onInput=${setSearch} />
      ${
        canSort &&
        html`<select class="outpost-sort" aria-label=${t("workflow.sort")} value=${sort} onChange=${withValue(setSort)}>
          ${SORTS.map((each) => html`<option value=${each}>${t(`workflow.sort_${each}`)}</option>`)}
        </select>`
      }
    </div>
    <${Found} pages=${pages} search=${asked} showAll=${() => setSearch("")} />
  `;
}

/** @param {{pages: Pages<WorkflowRow>, search: string, showAll: () => void}} props */
function Found({ pages, search, showAll }) {
  const { deletions } = usePanel();
  const { change, again, error, isLoading, hasMore, seen } = pages;
  // While another question is being asked, what was found before stays in sight.
  const found = useRef(pages.rows);
  if (pages.rows.length || !isLoading) found.current = pages.rows;
  const done = useCallback(
    (/** @type {WorkflowRow | null} */ changed) =>
      changed ? change((all) => all.map((each) => (each.id === changed.id ? { ...each, ...changed } : each))) : again(),
    [change, again],
  );
  const rows = found.current.filter(({ id }) => !deletions.has(keyOf(id)));
  const failed = error && html`<${Failed} error=${error} again=${again} />`;
  if (failed && !pages.rows.length) return failed;
  if (!rows.length && (isLoading || hasMore)) return html`<${Loading} />`;
  if (!rows.length) return html`<${Nothing} kind="workflow" search=${search} clear=${showAll} />`;
  return html`
    <${List} rows=${rows} rowHeight=${ROW_HEIGHT} label=${t("view.workflows")} hasMore=${hasMore}
      isLoading=${isLoading} onSight=${seen}
      row=${(/** @type {WorkflowRow} */ each) => html`<${Line} workflow=${each} done=${done} />`} />
    ${failed}
  `;
}

const Line = memo(WorkflowLine);

/** @param {{workflow: WorkflowRow, done: (changed: WorkflowRow | null) => void}} props */
function WorkflowLine({ workflow, done }) {
  const panel = usePanel();
  const { id, name, pinned } = workflow;
  const pin = t("workflow.pinned");
  return html`
    <${Row} title=${name} about=${aboutOf(workflow)} picture=${coverOf(id)}
      state=${pinned && html`<span class="pi pi-thumbtack" role="img" aria-label=${pin} title=${pin} />`}
      open=${() => panel.go("workflows", { workflow_id: id })} items=${deedsOf(panel, workflow, done)} />
  `;
}
