// The panel: what is at its top, and the view below.

import { Provider, TAB } from "../kit/context.js";
import { Deletions } from "../kit/undo.js";
import { cameBack, went } from "../model/places.js";
import { t } from "../texts.js";
import { html, render, useLayoutEffect, useRef, useState } from "../view.js";
import { Boundary } from "./failure.js";
import { Notices } from "./notices.js";
import { TOP, VIEWS } from "./views.js";

const SHOWN_MS = 6000; // what was done; what went wrong stays until it is read
const FIRST = { view: TOP[0], about: {} };

/** The panel's state, which outlives its being on the page: ComfyUI takes it away when another tab is shown. */
export class PanelState {
  /** @type {Place[]} */
  way = [FIRST];
  /** @type {Notice[]} */
  notices = [];
  /** @type {Pending[]} */
  pending = [];
  /** How often another connection was chosen: every view begins anew then. */
  turn = 0;
  /** @type {Set<() => void>} */
  #listeners = new Set();

  /** @param {Pick<Panel, "comfy" | "routes" | "feed">} parts */
  constructor(parts) {
    const show = (/** @type {Pending[]} */ pending) => this.#change({ pending });
    /** @type {Panel} */
    this.panel = {
      ...parts,
      deletions: new Deletions(show, (error) => this.panel.fail(error)),
      kept: new Map(),
      go: (view, about = {}) => this.#change({ way: went(this.way, { view, about }) }),
      back: () => this.#change({ way: cameBack(this.way) }),
      say: (text) => this.#tell({ text, isError: false }),
      fail: (error) => this.#tell({ text: said(error), isError: true }),
    };
    parts.feed.on("connection", (event) => {
      const { id } = event;
      this.panel.heard = event;
      const { connection } = this.panel;
      this.panel.connection = parts.routes.connection = id;
      if (connection !== undefined && connection !== id) this.beginAnew();
    });
  }

  /** Forget what was read from the platform, and end what works on it: another one is chosen. */
  beginAnew() {
    const { deletions, kept } = this.panel;
    const names = deletions.drop().join(", ");
    if (names) this.#tell({ text: t("undo.dropped", { names }), isError: true });
    const values = /** @type {{end?: () => void}[]} */ ([...kept.values()]);
    kept.clear();
    for (const value of values) value?.end?.();
    const { view } = /** @type {Place} */ (this.way.at(-1));
    this.#change({ way: [FIRST, ...(view === FIRST.view ? [] : [{ view, about: {} }])], turn: this.turn + 1 });
  }

  /** @param {() => void} listener */
  onChange(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** @param {Notice} notice */
  #tell(notice) {
    const { comfy } = this.panel;
    if (!comfy.isTabOpen(TAB)) return comfy.tell(notice.text, notice.isError ? "error" : "success");
    this.#change({ notices: [...this.notices.filter(({ text }) => text !== notice.text).slice(-2), notice] });
    if (!notice.isError) setTimeout(() => this.dismiss(notice), SHOWN_MS);
  }

  /** @param {Notice} notice */
  dismiss(notice) {
    this.#change({ notices: this.notices.filter((each) => each !== notice) });
  }

  /** @param {Partial<Pick<PanelState, "way" | "notices" | "pending" | "turn">>} change */
  #change(change) {
    Object.assign(this, change);
    for (const listener of this.#listeners) listener();
  }
}

/**
 * What is said of an error. One that nobody has expected is told to the console as well.
 * @param {unknown} error
 */
function said(error) {
  const { isExpected = false, message = String(error) } = /** @type {{isExpected?: boolean, message?: string}} */ (
    error
  );
  if (isExpected) return message;
  console.error("ComfyUI-Outpost:", error);
  return t("panel.wrong", { message });
}

/** @param {{state: PanelState}} props */
function Shell({ state }) {
  const [, setCount] = useState(0);
  useLayoutEffect(() => state.onChange(() => setCount((count) => count + 1)), [state]);
  const place = /** @type {Place} */ (state.way.at(-1));
  const View = (VIEWS[place.view] ?? VIEWS[FIRST.view]).component;
  const key = `${state.turn} ${place.view} ${JSON.stringify(place.about)}`;
  const main = useFocusAfter(key);
  return html`
    <${Provider} value=${state.panel}>
      <${Top} state=${state} place=${place} />
      <div class="outpost-view" id="outpost-view" data-view=${place.view} role="tabpanel" tabindex="-1" ref=${main}
        aria-label=${t(`view.${place.view}`)}>
        <${Boundary} key=${key}><${View} ...${place.about} /><//>
      </div>
      <${Notices} state=${state} />
    <//>
  `;
}

/**
 * When the place changes and what had the focus is gone, what is shown now has it.
 * @param {string} key of the place
 */
function useFocusAfter(key) {
  const main = useRef(/** @type {HTMLElement | null} */ (null));
  const isFirst = useRef(true);
  useLayoutEffect(() => {
    const isLost = !document.activeElement || document.activeElement === document.body;
    if (!isFirst.current && isLost) main.current?.focus({ preventScroll: true });
    isFirst.current = false;
  }, [key]);
  return main;
}

/** @param {{state: PanelState, place: Place}} props */
function Top({ state, place }) {
  const { go, back } = state.panel;
  const [Connection, DeployButton] = [VIEWS.connect.button, VIEWS.deploy.button];
  const isInside = !TOP.includes(place.view) || Object.keys(place.about).length > 0;
  const reached = TOP.includes(place.view) ? place.view : TOP[0];
  return html`
    <header class="outpost-top">
      <div class="outpost-bar"><${Connection} /><${DeployButton} /></div>
      <div class="outpost-bar">
        ${
          isInside &&
          state.way.length > 1 &&
          html`<button type="button" class="outpost-icon" aria-label=${t("panel.back")} title=${t("panel.back")}
            onClick=${back}><span class="pi pi-arrow-left" aria-hidden="true" /></button>`
        }
        <nav class="outpost-tabs" role="tablist" aria-label=${t("panel.views")} onKeyDown=${moveAmongTabs}>
          ${TOP.map(
            (name) => html`
              <button type="button" role="tab" aria-selected=${place.view === name} aria-controls="outpost-view"
                aria-label=${t(`view.${name}`)} tabindex=${reached === name ? 0 : -1} title=${t(`view.${name}`)}
                onClick=${() => go(name)}>
                <span class=${`pi ${VIEWS[name].icon}`} aria-hidden="true" /><span>${t(`view.${name}`)}</span>
              </button>
            `,
          )}
        </nav>
      </div>
    </header>
  `;
}

/** @param {KeyboardEvent} event */
function moveAmongTabs(event) {
  const tabs = /** @type {HTMLElement[]} */ ([.../** @type {HTMLElement} */ (event.currentTarget).children]);
  const here = tabs.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  const to = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: -1 }[event.key];
  if (to === undefined || here < 0) return;
  event.preventDefault();
  tabs.at(to % tabs.length)?.focus();
}

const KEYS = ["keydown", "keyup", "keypress", "paste", "copy", "cut"];

/** The panel as an element. It works while it is on the page, and costs nothing while it is not. */
export class PanelElement extends HTMLElement {
  /** @type {PanelState | null} */
  state = null;

  connectedCallback() {
    this.className = "outpost-panel";
    // The page has keys of its own, such as Delete for the nodes that are selected. Those with Ctrl or Alt stay its own.
    for (const type of KEYS) this.addEventListener(type, keepFromPage);
    if (this.state) render(html`<${Boundary}><${Shell} state=${this.state} /><//>`, this);
  }

  disconnectedCallback() {
    for (const type of KEYS) this.removeEventListener(type, keepFromPage);
    render(null, this);
  }
}

/** @param {Event} event */
function keepFromPage(event) {
  const isCommand = event instanceof KeyboardEvent && (event.ctrlKey || event.altKey || event.metaKey);
  const isTyping =
    event.target instanceof Element && event.target.matches("input, textarea, select, [contenteditable]");
  if (!isCommand || isTyping) event.stopPropagation();
}

/**
 * Show the panel in an element of the page. Doing so again changes nothing.
 * @param {HTMLElement} place
 * @param {PanelState} state
 */
export function showPanel(place, state) {
  if (!customElements.get("outpost-panel")) customElements.define("outpost-panel", PanelElement);
  if (place.querySelector(":scope > outpost-panel")) return;
  const element = /** @type {PanelElement} */ (document.createElement("outpost-panel"));
  element.state = state;
  place.classList.add("outpost-place");
  place.replaceChildren(element);
}
