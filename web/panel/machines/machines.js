// The machines: a list of them, or one of them.

import {
  Button,
  Empty,
  html,
  icon,
  joined,
  List,
  Row,
  SearchField,
  State,
  t,
  useKept,
  useLoaded,
  usePanel,
  whenRead,
} from "../../kit/kit.js";
import { factsOf, iconOf, kindOf, stateOf, workOf } from "../../model/machines.js";
import { addMachine, deedsOf, keyOf } from "./deeds.js";
import { MachineView } from "./detail.js";
import { useMachineEvents } from "./live.js";

const ROW_HEIGHT = 72;
const PLAIN = ["gpu", "memory"]; // facts that say themselves what they are

/** @param {{machine_id?: string}} props */
export const MachinesView = ({ machine_id: id }) =>
  id ? html`<${MachineView} key=${id} id=${id} />` : html`<${MachineList} />`;

function MachineList() {
  const panel = usePanel();
  const [search, setSearch] = useKept(panel, "machines.search", "");
  const loaded = useLoaded(() => panel.routes.get("/machines"), []);
  const asNow = useMachineEvents(loaded);
  const words = search.toLowerCase().split(/\s+/);
  return whenRead(loaded, (offers) => {
    const machines = offers.machines.filter(({ id }) => !panel.deletions.has(keyOf(id))).map((each) => asNow(each));
    const rows = machines.filter(({ name, kind }) =>
      words.every((word) => `${name} ${kind}`.toLowerCase().includes(word)),
    );
    const add = {
      label: t("machine.add"),
      icon: "pi-plus",
      do: () => addMachine(panel, { ...offers, machines }, loaded.again),
    };
    const row = (/** @type {MachineRow} */ machine) => html`<${Machine} machine=${machine} again=${loaded.again} />`;
    const none = machines.length
      ? { text: t("machine.not_found", { search }), action: { label: t("machine.clear"), do: () => setSearch("") } }
      : { text: t("machine.none"), hint: t("machine.none_hint"), action: add };
    return html`
      ${
        machines.length > 0 &&
        html`<div class="outpost-bar">
          <${SearchField} label=${t("machine.search")} value=${search} onInput=${setSearch} /><${Button} ...${add} />
        </div>`
      }
      ${
        rows.length
          ? html`<${List} rows=${rows} rowHeight=${ROW_HEIGHT} label=${t("view.machines")} row=${row} />`
          : html`<${Empty} ...${none} />`
      }
    `;
  });
}

/** @param {{machine: MachineRow, again: () => void}} props */
function Machine({ machine, again }) {
  const panel = usePanel();
  const { id, name, kind, reason, slots } = machine;
  const facts = factsOf(machine).map(([key, value]) =>
    PLAIN.includes(key) ? value : `${t(`machine.${key}`)} ${value}`,
  );
  return html`
    <${Row} title=${name} full=${joined(name, reason)} open=${() => panel.go("machines", { machine_id: id })}
      items=${deedsOf(panel, machine, again)} picture=${html`<span class="outpost-thumb">${icon(iconOf(kind))}</span>`}
      about=${html`<${State} ...${stateOf(machine)} about=${reason ?? workOf(machine)} />`}>
      <small>${joined(kindOf(kind), ...facts, slots && t("machine.slots", { count: slots }))}</small>
    <//>
  `;
}
