// What can be done with a machine, wherever it is shown.

import { confirm, deleteLater, itemsOf, t } from "../../kit/kit.js";
import { machinePath } from "../../model/paths.js";
import { openForm } from "./form.js";

/** What a machine is called among the things that are about to be deleted. @param {string} id */
export const keyOf = (id) => `machine ${id}`;

/**
 * The entries of a machine's menu, the first of which shows it.
 * @param {Panel} panel
 * @param {MachineRow} machine
 * @param {() => void} again is called when it is different
 */
export function deedsOf(panel, machine, again) {
  const { id, can, processes, working } = machine;
  const done = (/** @type {(panel: Panel, machine: MachineRow) => Promise<void>} */ act) => async () => {
    await act(panel, machine);
    again();
  };
  return itemsOf(panel, [
    [t("machine.show"), "pi-info-circle", () => panel.go("machines", { machine_id: id })],
    [t("machine.start"), "pi-play", done(start), can.includes("start") && !processes],
    [t("machine.stop"), "pi-stop", done(stop), can.includes("stop") && processes !== 0],
    [t("machine.stop_now"), "pi-times-circle", done(stopNow), can.includes("stop") && !!working],
    [t("machine.edit"), "pi-pencil", done(change), can.includes("edit")],
    [t("dialog.delete"), "pi-trash", done(remove), can.includes("delete")],
  ]);
}

/**
 * @param {Panel} panel
 * @param {MachineOffers} offers
 * @param {() => void} again
 */
export async function addMachine({ routes, say }, offers, again) {
  const made = await openForm(t("machine.add"), offers, (wish) => routes.send("POST", "/machines", wish));
  if (!made) return;
  say(t("machine.added", { name: made.name }));
  again();
}

/** Start a process. That it is there, or the reason why not, is told by an event. @param {Panel} panel @param {MachineRow} machine */
async function start({ routes, say }, { id, name }) {
  await routes.send("POST", `${machinePath(id)}/start`);
  say(t("machine.starting", { name }));
}

/** Stop its processes when their runs have ended. @param {Panel} panel @param {MachineRow} machine */
async function stop({ routes, say }, { id, name, working }, force = false) {
  await routes.send("POST", `${machinePath(id)}/stop`, { force });
  say(t(working && !force ? "machine.stops_later" : "machine.stopped", { name }));
}

/** @param {Panel} panel @param {MachineRow} machine */
async function stopNow(panel, machine) {
  const { name, working } = machine;
  const [yes, text] = [t("machine.stop_now"), t("machine.stop_hint", { count: working ?? 0, name })];
  if (await confirm({ title: yes, text, yes, isDangerous: true })) await stop(panel, machine, true);
}

/** @param {Panel} panel @param {MachineRow} machine */
async function change({ routes }, { id }) {
  const path = machinePath(id);
  const [machine, offers] = await Promise.all([routes.get(path), routes.get("/machines")]);
  const its = { ...offers, offers: [machine.kind] };
  await openForm(t("machine.edit"), its, (wish) => routes.send("PATCH", path, wish), machine);
}

/** @param {Panel} panel @param {MachineRow} machine */
async function remove(panel, { id, name }) {
  const { deployments, pools } = await panel.routes.get(machinePath(id));
  const names = [...deployments.map((each) => `${each.name} · ${each.environment}`), ...pools.map((each) => each.name)];
  const force = names.length > 0;
  const text = t("machine.used", { count: names.length, names: names.slice(0, 10).join(", "), name });
  const sure = { title: t("machine.delete_used"), text, yes: t("dialog.delete"), isDangerous: true };
  if (!force || (await confirm(sure))) deleteLater(panel, keyOf(id), name, machinePath(id), { force });
}
