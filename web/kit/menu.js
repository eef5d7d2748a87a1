// A button that opens a menu.

import { html, useEffect, useElement, useLayoutEffect, useState } from "../view.js";
import { icon } from "./icon.js";

/**
 * @param {{label: string, items: Item[], children?: unknown, class?: string}} props `label` is the button's name; with
 *   children it shows those in place of an icon
 */
export function MenuButton({ label, items, children, class: name = "outpost-icon" }) {
  const [isOpen, setOpen] = useState(false);
  const button = useElement();
  const close = () => {
    setOpen(false);
    button.current?.focus();
  };
  const openDown = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "ArrowDown") return;
    event.preventDefault();
    event.stopPropagation();
    setOpen(true);
  };
  return html`
    <span class="outpost-menu-place">
      <button type="button" class=${name} ref=${button} aria-label=${children ? null : label} title=${label}
        aria-haspopup="menu" aria-expanded=${isOpen} onClick=${() => setOpen(!isOpen)} onKeyDown=${openDown}>
        ${children ?? icon("pi-ellipsis-v")}
      </button>
      ${isOpen && html`<${Menu} label=${label} items=${items} close=${close} leave=${() => setOpen(false)} />`}
    </span>
  `;
}

/** @param {{label: string, items: Item[], close: () => void, leave: () => void}} props */
function Menu({ label, items, close, leave }) {
  const menu = useElement();
  /** @returns {HTMLElement[]} */
  const buttons = () => [...menu.current.querySelectorAll("button")].filter((each) => !each.disabled);
  useLayoutEffect(() => {
    menu.current.showPopover?.();
    place(menu.current);
    buttons()[0]?.focus();
  }, []);
  useEffect(() => {
    const outside = (/** @type {Event} */ { target }) =>
      menu.current?.contains(/** @type {Node} */ (target)) || leave();
    document.addEventListener("pointerdown", outside, true);
    window.addEventListener("resize", leave);
    return () => {
      document.removeEventListener("pointerdown", outside, true);
      window.removeEventListener("resize", leave);
    };
  }, []);
  const move = (/** @type {KeyboardEvent} */ event) => {
    const all = buttons();
    const here = all.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const last = all.length - 1;
    const to = { ArrowDown: here + 1, ArrowUp: here + last, Home: 0, End: last }[event.key];
    event.stopPropagation(); // the page has keys of its own, and so has the list that this is in
    if (event.key === "Escape" || event.key === "Tab") close();
    if (event.key === "Escape" || to !== undefined) event.preventDefault();
    if (to !== undefined) all[to % all.length]?.focus();
  };
  // As they were when it was opened: another deed must not come under the pointer, such as "run again" for "cancel".
  const [shown] = useState(items);
  const chosen = (/** @type {Item} */ item) => () => {
    close();
    item.do();
  };
  return html`
    <div class="outpost-menu" role="menu" popover="manual" aria-label=${label} ref=${menu} onKeyDown=${move}>
      ${shown.map(
        (item) => html`
          <button type="button" role="menuitem" tabindex="-1" disabled=${item.isOff} onClick=${chosen(item)}
            class=${item.isDangerous ? "outpost-danger" : ""}>
            ${item.icon && icon(item.icon)} ${item.label}
          </button>
        `,
      )}
    </div>
  `;
}

/** Put a menu below its button, or above it where there is no room. It is fixed: no list cuts it off. @param {HTMLElement} menu */
function place(menu) {
  const anchor = /** @type {HTMLElement} */ (menu.parentElement).getBoundingClientRect();
  const { width, height } = menu.getBoundingClientRect();
  const left = Math.max(4, Math.min(anchor.right - width, window.innerWidth - width - 4));
  const isBelow = anchor.bottom + height < window.innerHeight || anchor.top < height;
  menu.style.left = `${left}px`;
  menu.style.top = `${isBelow ? anchor.bottom + 2 : anchor.top - height - 2}px`;
}
