// Opens graphs. Newer pages have a tab for each; on the others one takes the place of the other.

import { viewOf } from "../model/sight.js";
import { app, nodesOf, shownGraph, tabs } from "./app.js";

/**
 * Open a graph in a tab of its own. On pages without tabs it takes the place of the open one.
 * @param {object} workflow the editor's graph
 * @param {string} name
 * @param {() => Promise<boolean>} mayReplace is asked for a graph with changes that are not saved
 * @returns {Promise<boolean>} whether it is open now
 */
export async function openGraph(workflow, name, mayReplace) {
  if (!(await isRoom(mayReplace))) return false;
  await app.loadGraphData(structuredClone(workflow), true, true, freeName(name));
  void bringIntoSight();
  return true;
}

/**
 * Open a graph of which only the executable form is kept; the page lays it out itself.
 * @param {object} workflowApi
 * @param {string} name
 * @param {() => Promise<boolean>} mayReplace
 * @returns {Promise<boolean | null>} whether it is open now; null where the page cannot do that
 */
export async function openApiGraph(workflowApi, name, mayReplace) {
  if (!app.loadApiJson) return null;
  if (!(await isRoom(mayReplace))) return false;
  await app.loadApiJson(structuredClone(workflowApi), freeName(name));
  void bringIntoSight();
  return true;
}

/** Let all of the open graph be beside the panel. */
async function bringIntoSight() {
  const [first] = nodesOf(shownGraph());
  // The page chooses a view, too, within some frames; out of sight it draws none.
  for (let frame = 0; frame < 3; frame++)
    await new Promise((go) => {
      requestAnimationFrame(go);
      setTimeout(go, 100);
    });
  const [{ canvas }, nodes] = [app, nodesOf(shownGraph())];
  const panel = document.querySelector("outpost-panel")?.getBoundingClientRect();
  if (!first || nodes[0] !== first) return; // another graph by now
  Object.assign(canvas.ds, viewOf(nodes, canvas.canvas.getBoundingClientRect(), panel));
  canvas.setDirty?.(true, true);
}

/** @param {() => Promise<boolean>} mayReplace */
const isRoom = async (mayReplace) =>
  !!tabs()?.openWorkflows || tabs()?.activeWorkflow?.isModified === false || mayReplace();

/**
 * A name for a tab, and for the file that it may become. One that is in use is not taken: the page would put the graph
 * in the place of the other one.
 * @param {string} name
 */
function freeName(name) {
  const clean = [...name.replace(/[\\/:*?"<>|\x00-\x1f]+/g, "_").replace(/^[.\s]+/, "")].slice(0, 80).join("").trim();
  const first = clean || "workflow";
  let free = first;
  const isTaken = () => tabs()?.getWorkflowByPath?.(`workflows/${free}.json`);
  for (let count = 2; isTaken(); count++) free = `${first} (${count})`;
  return free;
}
