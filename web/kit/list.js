// A list of any length, of which only what is in sight is on the page.

import { Component, h, html, useCallback, useEffect, useLayoutEffect, useRef, useState } from "../view.js";

const AROUND = 6; // rows above and below what is in sight
const STEPS = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };

/**
 * A list whose rows are all equally high. The arrow keys move among the rows; each row has one element with the
 * attribute `data-main`, which gets the focus, and may have others, which Tab reaches.
 * @template {{id: string}} Row
 * @param {ListProps<Row>} props
 */
export function List({ rows, rowHeight, label, hasMore = false, isLoading = false, onSight, row }) {
  const scroller = useRef(/** @type {HTMLDivElement | null} */ (null));
  const [sight, setSight] = useState(() => [0, Math.ceil(window.innerHeight / rowHeight)]);
  // By its id: a row that comes in above moves it.
  const [activeId, setActive] = useState("");
  const place = useRef(0);
  const found = rows.findIndex(({ id }) => id === activeId);
  const active = found < 0 ? Math.min(place.current, Math.max(0, rows.length - 1)) : found;
  place.current = active;
  const wanted = useRef(/** @type {number | null} */ (null));

  const look = useCallback(() => {
    const { scrollTop: top, clientHeight: height } = /** @type {HTMLDivElement} */ (scroller.current);
    const next = [Math.max(0, Math.floor(top / rowHeight) - AROUND), Math.ceil((top + height) / rowHeight) + AROUND];
    setSight((before) => (next.every((place, index) => place === before[index]) ? before : next));
  }, [rowHeight]);
  useLayoutEffect(() => {
    // It looks for the first time when the browser has laid out the page anyway.
    const observer = new ResizeObserver(look);
    observer.observe(/** @type {HTMLDivElement} */ (scroller.current));
    return () => observer.disconnect();
  }, [look]);

  const [first, last] = sight.map((place) => Math.min(place, rows.length));
  useEffect(() => onSight?.(rows.slice(first, last), last >= rows.length));
  useLayoutEffect(() => {
    if (wanted.current === null) return;
    const main = scroller.current?.querySelector(`[data-index="${wanted.current}"] [data-main]`);
    wanted.current = null;
    if (main instanceof HTMLElement) main.focus({ preventScroll: true });
  });

  const move = (/** @type {KeyboardEvent} */ event) => {
    const step = STEPS[/** @type {keyof typeof STEPS} */ (event.key)];
    const target = /** @type {HTMLElement} */ (event.target);
    if (step === undefined || !target.matches("[data-main]")) return;
    event.preventDefault();
    const to = Math.max(0, Math.min(rows.length - 1, active + step));
    const box = /** @type {HTMLDivElement} */ (scroller.current);
    const [from, until] = [to * rowHeight, (to + 1) * rowHeight];
    if (from < box.scrollTop) box.scrollTop = from;
    else if (until > box.scrollTop + box.clientHeight) box.scrollTop = until - box.clientHeight;
    if (to !== active) wanted.current = to; // else nothing is rendered, and the focus would come later
    setActive(rows[to].id);
    look();
  };

  const shown = [];
  for (let index = first; index < last; index++) shown.push(index);
  // The row that has the focus stays on the page, so that the focus is not lost by scrolling.
  if (active < rows.length && (active < first || active >= last)) shown.push(active);
  return html`
    <div class="outpost-scroller" ref=${scroller} onScroll=${look}>
      <ul role="list" aria-label=${label} aria-busy=${isLoading} style=${{ height: `${rows.length * rowHeight}px` }}
        onKeyDown=${move}>
        ${shown.map(
          (index) => html`
            <li key=${rows[index].id} data-index=${index} class=${index === active ? "outpost-active" : ""}
              aria-setsize=${hasMore ? -1 : rows.length} aria-posinset=${index + 1} onFocusIn=${() => setActive(rows[index].id)}
              style=${{ height: `${rowHeight}px`, top: `${index * rowHeight}px` }}>
              ${row(rows[index], index)}
            </li>
          `,
        )}
      </ul>
    </div>
  `;
}

/**
 * A view that is not rendered again while its properties stay, such as a row while its list is scrolled.
 * @template {object} Props
 * @param {(props: Props) => any} view
 * @returns {any}
 */
export function memo(view) {
  return class extends Component {
    /** @param {Props} next */
    shouldComponentUpdate(next) {
      const before = /** @type {Props} */ (this.props);
      return Object.keys(next).some((name) => Reflect.get(next, name) !== Reflect.get(before, name));
    }

    /** @param {Props} props */
    render(props) {
      return h(view, props);
    }
  };
}
