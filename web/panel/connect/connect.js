// Connections: which platform is used, and what others there are.

import {
  askFor,
  Button,
  confirm,
  daring,
  html,
  icon,
  itemsOf,
  MenuButton,
  Problem,
  Section,
  t,
  useEvent,
  useLoaded,
  usePanel,
  useState,
  whenRead,
} from "../../kit/kit.js";
import { about, pathOf } from "../../model/connections.js";
import { openForm } from "./form.js";
import { Start } from "./start.js";
import { Trial } from "./trial.js";

/** Let everybody read the connections again. @param {Panel} panel */
const tellChanged = ({ feed }) => feed.tell("changed", { kind: "connection" });

/** The connections, read again when one of them changes. */
function useConnections() {
  const { routes, feed } = usePanel();
  const read = useLoaded(() => routes.get("/connections"), [routes]);
  useEvent(feed, "changed", ({ kind }) => kind === "connection" && read.again());
  useEvent(feed, "connection", () => read.again());
  return read;
}

export const ConnectView = () => whenRead(useConnections(), (known) => html`<${List} known=${known} />`);

/** @param {{known: Connections}} props */
function List({ known }) {
  const { deletions } = usePanel();
  const [tested, setTested] = useState(/** @type {ConnectionRow | null} */ (null));
  const [isStarting, setStarting] = useState(known.here?.state === "starting");
  const { connections: rows, problem } = known;
  const isFixed = rows.some(({ why_fixed: why }) => why);
  const ways = html`<${Ways} known=${known} start=${() => deletions.flush().then(() => setStarting(true))} />`;
  const row = (/** @type {ConnectionRow} */ each) =>
    html`<${Row} key=${each.id} row=${each} known=${known} isFixed=${isFixed} test=${() => setTested(each)} />`;
  const none = html`
    <div class="outpost-state"><p>${t("connect.none")}</p><p class="outpost-hint">${t("connect.none_hint")}</p>${ways}</div>`;
  return html`
    <div class="outpost-page outpost-connect">
      ${problem && html`<${Problem} text=${problem} />`}
      ${isStarting && html`<${Start} close=${() => setStarting(false)} />`}
      ${
        rows.length
          ? html`<fieldset class="outpost-choices"><legend>${t("connect.list")}</legend>
              <ul class="outpost-rows">${rows.map(row)}</ul></fieldset>`
          : !isStarting && none
      }
      ${tested && html`<${Trial} key=${tested.id} row=${tested} close=${() => setTested(null)} />`}
      ${rows.length > 0 && !isFixed && html`<${Section} title=${t("connect.add")}>${ways}<//>`}
    </div>
  `;
}

/** The three ways to a platform. @param {{known: Connections, start: () => void}} props */
function Ways({ known, start }) {
  const panel = usePanel();
  const hasHere = known.connections.some(({ kind }) => kind === "here");
  const add = (/** @type {"hosted" | "server"} */ kind) => async () => {
    if (await openForm(panel, kind)) tellChanged(panel);
  };
  return html`
    <div class="outpost-ways">
      ${known.here && !hasHere && html`<${Button} label=${t("connect.here")} icon="pi-desktop" do=${start} isMain />`}
      <${Button} label=${t("connect.hosted")} icon="pi-cloud" do=${add("hosted")} />
      <${Button} label=${t("connect.server")} icon="pi-server" do=${add("server")} />
    </div>
  `;
}

/** @param {{row: ConnectionRow, known: Connections, isFixed: boolean, test: () => void}} props */
function Row({ row, known, isFixed, test }) {
  const { id, name, kind, why_fixed: why } = row;
  const panel = usePanel();
  const { use, rename, edit, stop, remove } = deedsOf(panel, row);
  const isCurrent = known.current === id;
  const canStop = kind === "here" && known.here?.state === "ready" && !known.here.is_shared && !isCurrent;
  const items = itemsOf(panel, [
    [t("connect.test"), "pi-check-circle", test],
    [t("connect.rename"), "pi-pencil", rename, !isFixed],
    [t("connect.edit"), "pi-key", edit, !isFixed && kind !== "here"],
    [t("connect.stop"), "pi-stop", stop, !isFixed && canStop],
    [t("connect.remove"), "pi-trash", remove, !isFixed],
  ]);
  return html`
    <li>
      <label class="outpost-main">
        <input type="radio" name="outpost-connection" checked=${isCurrent} disabled=${isFixed} onChange=${daring(panel, use)} />
        <span class="outpost-texts"><span dir="auto">${name}</span><small dir="auto">${about(row)}</small></span>
      </label>
      <${MenuButton} label=${t("menu.more", { name })} items=${items} />
      ${why && html`<p class="outpost-hint outpost-whole">${why}</p>`}
    </li>
  `;
}

/**
 * What can be done with a connection.
 * @param {Panel} panel
 * @param {ConnectionRow} row
 */
function deedsOf(panel, row) {
  const { name } = row;
  const path = pathOf(row.id);
  const act = async (/** @type {Parameters<Routes["send"]>} */ asked, said = "", called = name) => {
    try {
      await panel.deletions.flush(); // what is deleted there is not asked of another platform
      await panel.routes.send(...asked);
      panel.say(t(said, { name: called }));
    } finally {
      tellChanged(panel);
    }
  };
  return {
    use: () => act(["POST", `${path}/use`], "connect.used"),
    rename: async () => {
      const text = await askFor({ title: t("connect.rename"), label: t("connect.name"), value: name });
      if (text) await act(["PATCH", path, { name: text }], "connect.saved", text);
    },
    edit: async () => {
      if (!(await openForm(panel, row.kind, row))) return;
      panel.say(t("connect.saved", { name }));
      tellChanged(panel);
    },
    stop: () => act(["POST", "/here/stop"], "connect.stopped"),
    remove: async () => {
      const yes = t("connect.remove");
      if (await confirm({ title: yes, text: t("connect.remove_hint", { name }), yes, isDangerous: true }))
        await act(["DELETE", path], "connect.removed");
    },
  };
}

const DOTS = {
  well: "pi-circle-fill outpost-good",
  away: "pi-exclamation-circle outpost-bad",
  none: "pi-circle outpost-warning",
  unknown: "pi-circle",
};

/** What is used at the moment, and how it is. */
export function ConnectButton() {
  const { go, feed, heard = {} } = usePanel();
  const { value } = useConnections();
  const [event, setEvent] = useState(/** @type {Partial<LiveEvents["connection"]>} */ (heard));
  useEvent(feed, "connection", setEvent);
  const current = value?.connections.find(({ id }) => id === value.current);
  const { state = "unknown" } = current ? event : value ? { state: "none" } : {};
  const name = current?.name ?? t("panel.not_connected");
  const said = state === "unknown" ? "" : t(`connect.state_${state}`);
  const label = t("connect.button", { name });
  return html`
    <button type="button" class="outpost-quiet outpost-connection" title=${[label, said, event.message].filter(Boolean).join("\n")}
      aria-label=${[label, current && said].filter(Boolean).join(", ")} onClick=${() => go("connect")}>
      ${icon(DOTS[state])}<span class="outpost-cut" dir="auto">${name}</span>
      ${state === "away" && html`<small class="outpost-bad">${said}</small>`}
    </button>
  `;
}
